"""Finding cells: by configuration, under unique names, without trusting what a file says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evaluation.cells import find_cell, find_cells
from tests.cli.scripts import EXPERIMENT, TINY, UNIFIED, call


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs directory with one dense target."""
    folder = tmp_path_factory.mktemp("cells") / "runs"
    assert call(EXPERIMENT, [*TINY, "--epochs", "1", "--runs-dir", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def runs(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "runs")
    return tmp_path / "runs"


def edit(run: Path, **fields: object) -> None:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_names_stay_unique(runs: Path) -> None:
    argv = [*TINY, "--epochs", "2", "--runs-dir", str(runs / "more"), "--quiet"]
    assert call(EXPERIMENT, argv) == 0
    assert {cell.experiment for cell in find_cells(runs)} == {"dense_synthetic", "more_dense_synthetic"} or {
        cell.experiment for cell in find_cells(runs)
    } == {"dense_synthetic_1", "more_dense_synthetic"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "../../etc"),
        ("method", 3),
        ("arch", "vgg"),
        ("dataset", "none"),
        ("dataset_name", "../up"),
        ("sparsity", 2.0),
        ("sparsity", None),
        ("epochs", "many"),
        ("model_index", 99),
        ("colour", "red"),
    ],
)
def test_a_strangers_configuration_is_named_and_left_out(
    field: str, value: object, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = runs / "good"
    shutil.copytree(runs / "dense" / "synthetic", good)
    bad = runs / "dense" / "synthetic"
    edit(bad, **{field: value})
    capfd.readouterr()
    places = ["--results-dir", str(tmp_path / "out"), "--summary-dir", str(tmp_path / "out"), "--attacks", "loss"]
    assert call(UNIFIED, ["--runs-dir", str(runs), *places]) == 3
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert str(bad) in err
    assert "good" in out or "Dense" in out
    rows = (tmp_path / "out" / "comprehensive_mia_results.csv").read_text().splitlines()
    assert rows[1].startswith("good,dense,0.0,")
    assert rows[2].startswith("synthetic,,,")
    assert "config.json cannot be used" in rows[2]
    assert not (tmp_path / "etc").exists()


def test_one_cell_of_several_seeds(runs: Path) -> None:
    assert call(EXPERIMENT, [*TINY, "--epochs", "1", "--seed", "1", "--runs-dir", str(runs), "--quiet"]) == 0
    cell = find_cell(runs / "dense" / "synthetic")
    assert cell.config.seed == 0
    assert find_cell(runs / "dense" / "synthetic" / "seed_1").experiment == "dense_synthetic_seed_1"
    assert [cell.config.seed for cell in find_cells(runs)] == [0, 1]
