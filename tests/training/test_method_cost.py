"""benchmarks/training.py --cost-only: what is measured between what, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import training
from pruning.registry import always_there

CASE = training.Case("resnet", 8, 1, "dense", "cpu", "float32")


def test_epochs_of_a_method_stand_between_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    costs, clock, order = {"dense": 1.0, "static": 1.02, "rigl": 1.5}, [0.0], []

    def project(case: training.Case) -> Iterator[int]:
        while True:
            order.append(case.method)
            # a machine that gets slower and slower
            clock[0] += costs[case.method] * (1 + 0.01 * len(order))
            yield 1

    monkeypatch.setattr(training, "project", project)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ratios = training.epoch_ratios(CASE, ["static", "rigl"], 1, 20.0)
    assert order[3:8] == ["dense", "static", "dense", "rigl", "dense"]  # after one of each to warm up
    assert len(ratios["static"]) == len(ratios["rigl"]) > 2
    assert np.allclose(ratios["static"], 1.02)
    assert np.allclose(ratios["rigl"], 1.5)


def test_the_cost_is_the_median_with_its_interval() -> None:
    found = training.cost_of([1.5, 1.0, *[1.01] * 3, *[1.02] * 5, *[1.03] * 3])
    assert found == {"method_cost": 0.02, "method_cost_low": 0.01, "method_cost_high": 0.03}
    assert training.cost_of([1.1]) == {"method_cost": 0.1, "method_cost_low": 0.1, "method_cost_high": 0.1}


def test_an_epoch_holds_a_mask_update_of_each_kind() -> None:
    steps = CASE.members // training.BATCH
    assert steps == training.MASK_EVERY
    for method in ("dpf", "gmp", "set", "rigl"):
        knobs = vars(training.Case("resnet", 8, 1, method, "cpu", "float32").config.knobs)
        assert knobs.get("prune_freq", knobs.get("update_freq")) == steps


def test_what_is_above_the_bar_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {name: 0.06 if name in ("static", "rigl") else 0.01 for name in always_there() if name != "dense"}

    def method_costs(_case: training.Case, methods: list[str], *_: object) -> dict[str, dict[str, float]]:
        return {name: training.cost_of([1 + costs[name]] * 9) for name in methods}

    monkeypatch.setattr(training, "method_costs", method_costs)
    assert training.main(["--cost-only", "--models", "resnet:8:1", "--output", str(tmp_path / "cost.csv")]) == 0
    said = capsys.readouterr().out
    assert "cost per step beside dense above 5%: resnet-8 static 6.0% [6.0%, 6.0%]; of the methods" in said
    assert "resnet-8 rigl 6.0% [6.0%, 6.0%], resnet-8 snip 1.0%" in said
    table = pd.read_csv(tmp_path / "cost.csv")
    assert list(table["method"]) == list(costs)
    assert list(table["method_cost"]) == list(costs.values())


def test_traces_are_measured_as_a_method_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, bool]] = []

    def project(case: training.Case, trace_losses: bool = False) -> Iterator[int]:
        made.append((case.method, trace_losses))
        while True:
            yield 1

    monkeypatch.setattr(training, "project", project)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    assert list(training.epoch_ratios(CASE, ["traced"], 1, 0.0)) == ["traced"]
    assert made == [("dense", False), ("dense", True)]
    with pytest.raises(SystemExit):
        training.main(["--methods", "traced"])
    assert "traced needs --cost-only" in capsys.readouterr().err


def test_dense_has_no_cost(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        training.main(["--cost-only", "--methods", "dense"])
    assert "the cost of dense is 0" in capsys.readouterr().err
