"""Runs and results that were made before there were replicates (tests/fixtures) stay what they are."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir, inspect_run
from configs.experiment import FIRST_FIELDS, FIRST_KNOBS, ExperimentConfig
from configs.knobs import MethodKnobs, knob, later_fields
from evaluation.cells import find_cells
from pruning.registry import METHODS, stored_config
from reporting.inputs import read_inputs
from reporting.tables import EVIDENCE_TABLES
from run_experiment import main as run_experiment
from sweep.plan import resolve

OLD = Path(__file__).parents[1] / "fixtures" / "before_replicates"
TARGETS = ("dense/synthetic", "static/sparsity_0.8/synthetic", "dpf/sparsity_0.8/synthetic")


@pytest.mark.parametrize("folder", TARGETS)
def test_an_old_run_is_finished_under_the_fingerprint_that_it_wrote(folder: str) -> None:
    run = RunDir(OLD / "runs" / folder)
    config = run.read_config()
    written = json.loads(run.config.read_text(encoding="utf-8"))
    assert "train_seed" not in written
    assert config.fingerprint() == written["fingerprint"]
    assert inspect_run(run, config).kind == "finished"


def test_another_train_seed_is_another_model() -> None:
    first = RunDir(OLD / "runs" / TARGETS[0]).read_config()
    again = stored_config({**json.loads(first.to_json()), "train_seed": 1})
    assert again.fingerprint() != first.fingerprint()
    assert again.cell_fingerprint() != first.cell_fingerprint()
    assert RunDir.of(again, Path("runs")).path == Path("runs/dense/synthetic/train_seed_1")


@dataclasses.dataclass(frozen=True)
class Later(ExperimentConfig):
    """A later version's: one field more, and other defaults of two fields there were."""

    label_noise: float = knob(0.1, "share of wrong labels", kind=float, absent=0.0)
    split: str = knob("disjoint", "who trains on what", choices=("balanced", "disjoint"), absent="balanced")
    epochs: int = knob(100, "passes over the members", kind=int, low=1)


def later_knobs(method: str) -> type[MethodKnobs]:
    """A later version's: each method has one knob more."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class LaterKnobs(METHODS[method].Knobs):  # type: ignore[misc]
        rounds: int = knob(5, "steps to the sparsity", kind=int, low=1, absent=1)

    return LaterKnobs


@pytest.mark.parametrize("folder", TARGETS)
def test_what_is_added_leaves_old_runs_alone(folder: str) -> None:
    run = RunDir(OLD / "runs" / folder)
    written = json.loads(run.config.read_text(encoding="utf-8"))
    own = later_knobs(written["method"])
    config = Later.from_dict(written, own)
    assert isinstance(config, Later)
    assert (config.label_noise, config.knobs, config.split, config.epochs) == (
        0.0,
        own(**vars(run.read_config().knobs), rounds=1),  # type: ignore[call-arg]
        "balanced",
        2,
    )
    assert config.fingerprint() == written["fingerprint"]
    assert config.cell_fingerprint() == run.read_config().cell_fingerprint()
    assert inspect_run(run, config).kind == "finished"
    others = [dataclasses.replace(config, **change) for change in ({"label_noise": 0.1}, {"split": "disjoint"})]
    more = dataclasses.replace(config.knobs, rounds=2)  # type: ignore[call-arg]
    for other in (*others, dataclasses.replace(config, knobs=more)):
        (name,) = set(other.identity()) - set(config.identity())
        assert other.identity() == {**config.identity(), name: other.flat()[name]}
        assert inspect_run(run, other).kind == "stale"
        assert Later.from_dict(json.loads(other.to_json()), own) == other


def test_a_method_that_gains_a_knob_keeps_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(OLD / "runs" / "static/sparsity_0.8/synthetic")
    first = run.read_config()
    own = later_knobs("static")
    monkeypatch.setattr(METHODS["static"], "Knobs", own)
    template = dataclasses.replace(first, knobs=MethodKnobs())
    given = {**vars(first.knobs), "rounds": 1}
    assert inspect_run(run, resolve(template, "", given)).kind == "finished"
    status = inspect_run(run, resolve(template, "", {**given, "rounds": None}))  # today's default is another value
    assert (status.kind, status.detail) == ("stale", "rounds: None -> 5")


def test_every_field_and_knob_added_since_says_what_its_absence_means() -> None:
    later = later_fields(ExperimentConfig)
    fields = {field.name for field in dataclasses.fields(ExperimentConfig)} - {"knobs"}
    assert fields | set(FIRST_KNOBS) == FIRST_FIELDS | set(later)
    assert not FIRST_FIELDS & set(later)
    own = dict.fromkeys(("method_file", "method_hash", "arch_file", "arch_hash", "dataset_hash", "control", "channels"))
    own["pretrained_run"] = None
    assert later == {"split": "balanced", "train_seed": 0, "prune_layers": "conv", **own}
    first = {"dense": set[str](), "static": {"prune_epoch"}, "dpf": {"prune_freq", "target_epoch", "freeze_epoch"}}
    assert set.union(*first.values()) == set(FIRST_KNOBS)
    for method, names in first.items():
        assert set(METHODS[method].Knobs.names()) == names | set(later_fields(METHODS[method].Knobs))


def test_skip_existing_keeps_old_runs_byte_for_byte(tmp_path: Path) -> None:
    shutil.copytree(OLD / "runs", tmp_path / "runs")
    run = tmp_path / "runs" / "dense" / "synthetic"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert sum(path.name == "best_model.pth" for path in before) == 4
    flags = "--dataset synthetic --layers 8 --epochs 2 --batch-size 32 --pool-size 40 --precision float32"
    flags += f" --num-shadows 3 --train-shadows --skip-existing --jobs 1 --runs-dir {tmp_path / 'runs'}"
    assert run_experiment(flags.split()) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_old_runs_are_found_as_cells_that_say_how_they_were_trained() -> None:
    cells = find_cells(OLD / "runs")
    assert [cell.experiment for cell in cells] == ["dense_synthetic", "static_0.8_synthetic", "dpf_0.8_synthetic"]
    assert [len(cell.models) for cell in cells] == [4, 1, 1]
    names = cells[1].names
    assert (names["epochs"], names["batch_size"], names["precision"], names["train_seed"]) == (2, 32, "float32", 0)
    assert (names["prune_epoch"], names["pretrained"]) == (1, "no")


def test_old_tables_are_read_with_the_new_columns_empty() -> None:
    with (OLD / "results" / "cells.csv").open(encoding="utf-8") as stream:
        assert "epochs" not in next(csv.reader(stream))
    inputs = read_inputs(OLD / "results")
    assert tuple(inputs.cells.columns) == EVIDENCE_TABLES["cells"]
    assert inputs.cells["epochs"].isna().all()
    assert inputs.cells["precision"].isna().all()
    assert list(inputs.cells["experiment"]) == ["dense_synthetic", "static_0.8_synthetic", "dpf_0.8_synthetic"]
