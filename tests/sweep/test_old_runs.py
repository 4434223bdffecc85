"""Runs and results that were made before there were replicates (tests/fixtures) stay what they are."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir, inspect_run
from configs.config import ExperimentConfig
from reporting.inputs import read_inputs
from reporting.tables import EVIDENCE_TABLES
from run_experiment import main as run_experiment
from sweep.cells import find_cells

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
    again = ExperimentConfig.from_dict({**json.loads(first.to_json()), "train_seed": 1})
    assert again.fingerprint() != first.fingerprint()
    assert again.cell_fingerprint() != first.cell_fingerprint()
    assert RunDir.of(again, Path("runs")).path == Path("runs/dense/synthetic/train_seed_1")


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
