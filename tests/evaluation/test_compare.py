"""Families and their correction by hand; one target; the smallest difference that could have been found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from attacks.arrays import Float64Array
from attacks.interface import AttackResult
from attacks.intervals import Sample, difference
from attacks.metrics import Metric
from evaluation.accuracy import accuracy_difference
from evaluation.compare import compare, correct
from evaluation.estimates import Measured
from evaluation.pairing import Pair
from tests.evaluation.asked_cells import asked


def row(
    kind: str = "against_dense", attack: str = "lira", metric: str = "auc", p: float | None = 0.5, **more: Any
) -> Any:
    where = {"experiment_a": "a", "experiment_b": "b", "difference": p, "ci_low": 0.0, "ci_high": 1.0}
    return {"kind": kind, "attack": attack, "metric": metric, "p_value": p, **where, **more}


def test_the_planned_tests_are_corrected_alone() -> None:
    """DPF 95 - DPF 80 had p = 0.00005 and lost it to 1,000 rows that nobody had planned."""
    planned = [row("against_dense", p=0.00005), row("same_sparsity", p=0.02), row(metric="tpr_at_fpr_0.01", p=0.04)]
    others = [row("neighbouring_sparsity", p=0.001, experiment_a=str(i)) for i in range(100)]
    others += [
        row(attack="loss", p=0.001),
        row(metric="accuracy", p=0.001),
        row("other_recipe", p=0.001, experiment_b="c"),
    ]
    rows = [*others, *planned]
    correct(rows, "lira")
    assert [one["family"] for one in planned] == ["primary"] * 3
    assert [one["p_holm"] for one in planned] == pytest.approx([0.00015, 0.04, 0.04])
    assert {one["family"] for one in others} == {"exploratory"}
    assert [one["p_holm"] for one in others] == pytest.approx([0.103] * 103)


def test_the_same_number_is_tested_once() -> None:
    """lira stands for a variant; advantage is 2 x accuracy - 1; a replicate is no claim."""
    rows = [
        row(p=0.02),
        row(attack="lira_online_fixed", p=0.02),
        row(metric="accuracy", attack="loss", p=0.03),
        row(metric="advantage", attack="loss", p=0.03),
        row("replicate", p=0.9, experiment_b="c"),
    ]
    correct(rows, "lira")
    assert [one["family"] for one in rows] == ["primary", None, "exploratory", None, None]
    assert [one.get("p_holm") for one in rows] == [0.02, None, 0.03, None, None]


def measured_targets(values: Float64Array, seed: int = 0) -> dict[int, Measured]:
    drawn = values[:, None] + np.random.default_rng(seed).normal(0.0, 0.01, (len(values), 200))
    result, inside, weights = AttackResult(np.zeros(50)), np.arange(50) < 25, np.ones((200, 50), dtype=np.uint8)
    return {
        target: Measured(result, inside, weights, {}, {"auc": Metric(float(value), None, None)}, {"auc": drawn[target]})
        for target, value in enumerate(values)
    }


@pytest.mark.parametrize("targets", [1, 2])
def test_one_target_has_an_interval_and_no_p_value(targets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.compare.METRICS", ("auc",))
    pair = Pair("against_dense", asked("static", 0.8, models=9), asked("dense", models=7))
    found = [measured_targets(np.full(targets, mean), seed) for seed, mean in enumerate((0.9, 0.6))]
    (one,) = compare(pair, "lira", *found)
    assert one["difference"] == pytest.approx(0.3)
    assert one["ci_low"] < 0.3 < one["ci_high"]
    assert (one["p_value"] is None, one["detectable"] is None) == (targets == 1, targets == 1)
    assert (one["num_targets"], one["num_models"]) == (targets, 7)


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    """Of true differences of just that size, 80 % have p < 0.05 (drawn with a known standard error)."""
    rng, error = np.random.default_rng(4), 0.02
    resampled = np.tile(rng.normal(0.0, error, 4000), (3, 1))
    zero = Sample(np.zeros(3), np.zeros_like(resampled))
    size = difference(Sample(np.full(3, 0.5), resampled), zero).detectable
    assert size == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error, rel=0.03)
    p_values = [
        difference(Sample(np.full(3, size + shift), resampled), zero).p_value for shift in rng.normal(0.0, error, 400)
    ]
    assert np.mean([p is not None and p < 0.05 for p in p_values]) == pytest.approx(0.8, abs=0.06)


def test_accuracy_difference_by_hand() -> None:
    """Two targets each, 0.9 and 0.8 correct of 100: binomial 0.0009 + 0.0016; differences 0.12 and 0.08: 0.0008 / 2."""
    ours = [{"test_accuracy": value, "num_test": 100} for value in (0.91, 0.89)]
    theirs = [{"test_accuracy": value, "num_test": 100} for value in (0.79, 0.81)]
    found = accuracy_difference(ours, theirs)
    assert found is not None
    binomial = (0.91 * 0.09 + 0.89 * 0.11 + 0.79 * 0.21 + 0.81 * 0.19) / 200
    half = 1.959964 * np.sqrt(binomial + 0.0008 / 2)
    assert (found.difference, found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))
    assert (found.cannot_be_told_apart(0.2), found.cannot_be_told_apart(0.09)) == (True, False)
    unknown = accuracy_difference(ours, [{**one, "num_test": None} for one in theirs])
    assert unknown is not None
    assert unknown.ci_low is None


def test_the_accuracy_interval_covers() -> None:
    """Networks that differ, tested on pictures that some find harder: 95 % of intervals hold the true difference."""
    rng, covered, runs = np.random.default_rng(5), 0, 300
    for _ in range(runs):
        hard = rng.normal(2.5, 1.5, 300)  # how easy each picture is, for all networks
        cells = []
        for _ in range(2):
            skill = rng.normal(0.0, 0.1, (4, 1))
            right = rng.random((4, 300)) < 1 / (1 + np.exp(-hard - skill))
            cells.append([{"test_accuracy": float(one.mean()), "num_test": 300} for one in right])
        found = accuracy_difference(*cells)
        assert found is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        covered += found.ci_low <= 0.0 <= found.ci_high
    assert covered / runs >= 0.95
