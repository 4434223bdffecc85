"""Chains: a sweep's pruned models start from its own finished dense ones, whoever trains them and however often."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import train
from artifacts.checkpoint import load_model
from artifacts.forks import Forks
from artifacts.run_dir import RunDir, inspect_run
from configs.errors import RunError, UsageError
from configs.experiment import ExperimentConfig
from configs.machine import EngineOptions
from configs.sweep import SweepOptions
from evaluation.cells import find_cells
from pruning.registry import BASELINE
from sweep.engine import Ledger, Rules
from sweep.forks import ForkPlan
from sweep.plan import PlannedRun, of_shard, plan_cells, plan_runs
from sweep.planned import remembered
from sweep.status import survey
from sweep.worker import Job, Outcome
from tests.repository import REPOSITORY
from tests.sweep.engine_jobs import ignore_done, job_of
from training.start import what_starts

Make = Callable[..., ExperimentConfig]
FLAGS = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "2", "--pool-size", "60", "--augment", "none"),
    *("--batch-size", "64", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--num-threads", "1"),
    *("--methods", "static", "dense", "--sparsities", "0.6", "--num-shadows", "1", "--no-mia", "--quiet"),
    *("--prune-epoch", "0", "--pretrained", "dense", "--jobs", "1", "--runs-dir", "runs"),
]
GRID: dict[str, Any] = {"methods": ("static", "dense", "dpf"), "sparsities": (0.6,)}
REPLICATED: dict[str, Any] = {**GRID, "replicates": 1, "replicate_cells": ("dense", "static")}


def planned(template: ExperimentConfig, runs_dir: Path, **sweep: Any) -> list[PlannedRun]:
    return plan_runs(plan_cells(template, SweepOptions(**sweep), "datasets"), runs_dir)


def origin(one: PlannedRun) -> Path:
    return Path(str(one.config.pretrained)).parent


@pytest.fixture
def runs(make_config: Make, tmp_path: Path) -> list[PlannedRun]:
    """Of a dense and a static cell, trained twice each, and a DPF cell."""
    return planned(make_config(pretrained="dense"), tmp_path, **REPLICATED)


def test_every_pruned_model_starts_from_the_dense_one_of_its_number_and_training(runs: list[PlannedRun]) -> None:
    dense = {one.run.path: one.config for one in runs if one.config.method == BASELINE}
    assert len(dense) == 8
    pruned = [one for one in runs if one.run.path not in dense]
    assert len(pruned) == 12
    for one in pruned:
        start = dense[origin(one)]
        assert (start.model_index, start.train_seed) == (one.config.model_index, one.config.train_seed)
        assert one.config.pretrained_run == start.fingerprint()
    order = [one.run.path for one in runs]
    assert all(order.index(origin(one)) < order.index(one.run.path) for one in pruned)


def test_the_dense_runs_are_those_of_a_sweep_without_a_chain(
    runs: list[PlannedRun], make_config: Make, tmp_path: Path
) -> None:
    without = {one.config.fingerprint() for one in planned(make_config(), tmp_path, **REPLICATED)}
    common = [one for one in runs if one.config.fingerprint() in without]
    assert {one.config.method for one in common} == {BASELINE}
    assert len(common) == 8
    assert all(ForkPlan(runs).of_run(one.run) == Forks() for one in runs)  # a chain is no dense run at first


def test_models_of_a_chain_are_one_cell_and_not_that_from_scratch(
    runs: list[PlannedRun], make_config: Make, tmp_path: Path
) -> None:
    static = [one.config for one in runs if one.config.method == "static" and one.config.train_seed == 0]
    assert len({config.cell_fingerprint() for config in static}) == 1
    scratch = make_config(method="static", sparsity=0.6)
    assert static[0].cell_fingerprint() != scratch.cell_fingerprint()
    assert static[0].described()["pretrained"] == "yes"
    assert Job.from_json(job_of(static[1], tmp_path, "static").to_json()).config == static[1]


def test_a_run_waits_until_the_one_it_starts_from_has_ended(runs: list[PlannedRun], tmp_path: Path) -> None:
    chosen = [one for one in runs if one.config.model_index == 0 and one.config.train_seed == 0]
    jobs = [job_of(one.config, one.run.path.parent, one.run.path.name) for one in chosen]
    assert [job.config.method for job in jobs] == ["dense", "static", "dpf"]
    ledger = Ledger(jobs, Rules(retries=1), ignore_done)
    assert [ledger.take(), ledger.take()] == [jobs[0], None]
    ledger.vanished(jobs[0], "its process was killed by SIGKILL")
    assert [ledger.take(), ledger.take()] == [jobs[0], None]  # it is tried again
    ledger.close(Outcome(jobs[0].folder, "failed"))  # those that wait will say what they miss
    assert [ledger.take(), ledger.take()] == [jobs[1], jobs[2]]
    assert Ledger(jobs[1:], Rules(), ignore_done).take() == jobs[1]  # of another command, or finished before


def test_shards_part_a_chain_between_its_dense_runs(runs: list[PlannedRun]) -> None:
    shares = [of_shard(runs, EngineOptions(shard=f"{i}/3")) for i in (1, 2, 3)]
    assert sorted(one.run.path for share in shares for one in share) == sorted(one.run.path for one in runs)
    for share in shares:
        folders = [one.run.path for one in share]
        assert all(origin(one) in folders for one in share if one.config.pretrained_run)
    scratch = [dataclasses.replace(one, config=dataclasses.replace(one.config, pretrained_run=None)) for one in runs]
    assert of_shard(scratch, EngineOptions(shard="2/3")) == scratch[1::3]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished chain of two cells of two models. A test that changes it puts back what was there."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main(FLAGS) == 0
    return folder


def cell(home: Path, method: str) -> RunDir:
    return RunDir(home / "runs" / {"static": "static/sparsity_0.6"}.get(method, method) / "synthetic")


def test_a_finished_chain_says_where_it_started_and_what_it_took(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    dense, static = cell(home, "dense").read_summary(), cell(home, "static").read_summary()
    assert static["pretrained_hash"] == dense["hashes"]["best_model.pth"]
    assert (dense["optimizer_steps"], static["optimizer_steps"], static["pretrained_steps"]) == (2, 4, 2)
    kept = load_model(cell(home, "static").model).masks
    weights = load_model(cell(home, "dense").model).weights
    small = max(float(weights[name][mask == 0].abs().max()) for name, mask in kept.items())
    large = min(float(weights[name][mask == 1].abs().min()) for name, mask in kept.items())
    assert small <= large  # pruned at once, by the size of the finished dense weights
    assert {(one.folder.parts[1], one.count("finished"), one.left) for one in survey(Path("runs"))} == {
        ("dense", 2, 0),
        ("static", 2, 0),
    }
    assert [one.pretrained for one in remembered(Path("runs"))] == ["dense", None]
    found = {one.names["method"]: one for one in find_cells(Path("runs"))}
    assert [len(one.models) for one in found.values()] == [2, 2]
    assert {name: one.names["pretrained"] for name, one in found.items()} == {"dense": "no", "static": "yes"}


def test_a_chain_goes_on_where_it_was_and_to_the_same_bytes(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    files = [path for path in Path("runs").rglob("*") if path.name in ("best_model.pth", "signals.npz", "config.json")]
    before = {path: path.read_bytes() for path in files}
    assert len(before) == 12
    for method in ("static", "dense"):  # lost with the run that it starts from: both are trained again, in order
        RunDir(cell(home, method).path / "shadow_000").clear()
    assert train.main([*FLAGS, "--dry-run", "--skip-existing"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "4 runs: 2 finished, 2 new",
        "2 runs start from the finished dense run of their number",
    ]
    assert train.main([*FLAGS, "--skip-existing"]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_from_other_weights_than_are_there_is_not_finished_and_does_not_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    run, start = cell(home, "static"), cell(home, "dense")
    config, kept = run.read_config(), start.summary.read_bytes()
    assert inspect_run(run, config).kind == "finished"
    summary = start.read_summary()
    start.model.rename("kept")
    try:
        start.model.write_bytes(b"other weights")
        start.write_summary({name: value for name, value in summary.items() if name != "hashes"})
        status = inspect_run(run, config)
        assert (status.kind, "it started from other weights than" in status.detail) == ("damaged", True)
        run.summary.rename("summary")  # as if it had been stopped after its last checkpoint
        assert train.main([*FLAGS, "--skip-existing"]) == 3
        assert "checkpoint.pth began with other weights than" in capfd.readouterr().err
        Path("summary").rename(run.summary)
        start.write_summary({"fingerprint": "other"})
        with pytest.raises(RunError, match="holds another experiment than the one to start from"):
            what_starts(config)
        start.summary.unlink()
        assert inspect_run(run, config).kind == "finished"  # nothing to compare with
        with pytest.raises(RunError, match="holds no finished run to start from"):
            what_starts(config)
    finally:
        Path("kept").rename(start.model)
        start.summary.write_bytes(kept)


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"methods": ("static",)}, "dense is this sweep's own dense cell; add dense to --methods, or give"),
        ({"methods": ("dense",)}, "dense is where pruned models start, and --methods has none; leave the flag out"),
        (
            {**GRID, "replicates": 1, "replicate_cells": ("dpf",)},
            "the dpf models of train seed 1 start from dense ones of that train seed; add dense to --replicate-cells",
        ),
    ],
)
def test_a_chain_without_its_dense_cell_is_refused(sweep: dict[str, Any], words: str, make_config: Make) -> None:
    with pytest.raises(UsageError, match=words):
        plan_cells(make_config(pretrained="dense"), SweepOptions(**{"sparsities": (0.6,), **sweep}), "datasets")


def test_the_readmes_quote_the_recorded_chain() -> None:
    with (REPOSITORY / "benchmarks/results/chain/releases.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["experiments"]: row for row in csv.DictReader(file) if row["metric"] == "auc"}
    static = {part: rows[f"dense_digits + static_{part}_digits"] for part in ("0.8", "0.95")}
    assert float(static["0.95"]["p_holm"]) < 0.05 < float(static["0.8"]["p_holm"])
    gains = [
        f"{float(row['gain']):.3f} [{float(row['gain_low']):.3f}, {float(row['gain_high']):.3f}]"
        for row in static.values()
    ]
    low, high = -float(static["0.95"]["beyond_null_high"]), -float(static["0.95"]["beyond_null_low"])
    less = f"{-float(static['0.95']['beyond_null']):.3f} [{low:.3f}, {high:.3f}]"
    for name in ("README.md", "README.ko.md"):
        (line,) = [
            line
            for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
            if "--preset chain`)" in line and "RMIA" in line
        ]
        assert all(figure in line for figure in (*gains, less)), name
