"""`--dataset FILE.npz`: a table through a sweep to the report, pictures, a file that changes, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artifacts.run_dir import RunDir
from artifacts.sparse import load_sparse
from cli.parser import parse
from tests.cli.scripts import EXPERIMENT, ONE_CELL, TRAIN, call, read
from tests.cli.test_bad_input import refused, tree
from train import build_parser

TINY = [
    *("--epochs", "6", "--batch-size", "20", "--lr", "0.05", "--precision", "float32", "--device", "cpu"),
    *("--jobs", "1", "--num-threads", "1"),
]
MLP = ["--arch", "mlp", "--layers", "3"]
SWEEP = [*TINY, *MLP, "--methods", "dense", "static", "--sparsities", "0.8", "--num-shadows", "3"]
TABLE = ["--dataset", "my table.npz"]


def write(path: Path, x: np.ndarray, **others: Any) -> None:
    labels = np.arange(len(x)) % 2
    cut = len(x) * 3 // 4
    arrays: dict[str, Any] = {"train_x": x[:cut], "train_y": labels[:cut], "test_x": x[cut:], "test_y": labels[cut:]}
    np.savez(path, **arrays, **others)


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 10, (80, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table in it, and a sweep over it."""
    here = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        write(here / "my table.npz", rows())
        attacks = ["--attacks", "confidence", "loss", "--shadows-from", "own", "--export"]
        assert call(TRAIN, [*TABLE, *SWEEP, *attacks]) == 0
    return here


@pytest.fixture
def here(swept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(swept)
    return swept


def test_a_table_goes_through_a_sweep_to_the_report(here: Path) -> None:
    cells = {row["method"]: row for row in read(here / "results/mia/cells.csv")}
    assert {row["dataset"] for row in cells.values()} == {"my-table"}
    assert {row["prune_layers"] for row in cells.values()} == {"all"}
    assert {row["reason"] for row in cells.values()} == {""}
    kinds = {row["kind"] for row in read(here / "results/mia/comparisons.csv")}
    assert kinds == {"against_dense"}
    trained = {row["method"]: row for row in read(here / "training_results.csv")}
    assert (trained["static"]["augment"], trained["static"]["prune_layers"]) == ("none", "all")
    prunable, dense = 6 * 256 + 256 * 128, 6 * 256 + 256 * 128 + 128 * 2
    assert int(trained["dense"]["prunable_parameters"]) == prunable
    kept = prunable - round(0.8 * prunable)
    assert float(trained["static"]["measured_sparsity"]) == pytest.approx(1 - kept / prunable)
    assert int(trained["dense"]["flops"]) == dense
    assert int(trained["static"]["flops"]) == kept + 128 * 2
    assert not list((here / "results/mia/figures").glob("exposed.*"))  # a row is no picture
    assert "my-table" in (here / "results/mia/report.html").read_text(encoding="utf-8")


def test_its_network_is_exported_with_what_its_inputs_need(here: Path) -> None:
    run = RunDir(here / "runs/static/sparsity_0.8/my-table")
    about = load_sparse(run.export / "sparse.safetensors").about
    test = rows()[60:]
    assert about["example_shape"] == [6]
    assert about["mean"] == pytest.approx(test.min(0))
    assert about["std"] == pytest.approx(np.ptp(test, axis=0))
    card = (run.export / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "A classifier of rows of a table: mlp-3, width 1, pruned (Static) to 80.00 % zeros among the weights" in card
    assert "| prune\\_layers | all |" in card
    code = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[0]
    assert "build(layers=3, width_mult=1, in_features=6, num_classes=2)" in code
    names: dict[str, Any] = {}
    exec(code.replace("state_dict.pth", str(run.export / "state_dict.pth")), names)
    assert names["model"](torch.zeros(1, 6)).shape == (1, 2)


def test_it_goes_on_and_is_evaluated_again_from_the_file(here: Path) -> None:
    assert call(TRAIN, [*TABLE, *SWEEP, "--skip-existing", "--no-mia"]) == 0
    run = here / "runs/dense/my-table"
    (run / "signals.npz").unlink()
    argv = ["--run-dir", str(run), "--data-dir", "my table.npz", "--attacks", "loss", "--results-dir", "again"]
    assert call(ONE_CELL, [*argv, "--device", "cpu", "--num-queries", "2"]) == 0  # a row has one query all the same
    assert [row["attack"] for row in read(here / "again/summary.csv") if row["metric"] == "auc"] == ["loss"]


def test_settings_are_printed_in_a_form_that_is_taken_back(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(TRAIN, [*TABLE, *SWEEP, "--print-config", "json"]) == 0
    settings = json.loads(capfd.readouterr().out)
    assert (settings["dataset"], settings["data_dir"]) == ("npz_table", "my table.npz")
    assert (settings["prune_layers"], settings["augment"]) == ("all", "none")
    (here / "settings.json").write_text(json.dumps(settings))
    assert call(TRAIN, ["--config", "settings.json", "--dry-run"]) == 0
    assert "8 runs: 8 finished" in capfd.readouterr().out
    stored = ["--config", "runs/static/sparsity_0.8/my-table/config.json", "--data-dir", "my table.npz", "--dry-run"]
    assert call(EXPERIMENT, [*stored, "--device", "cpu"]) == 0
    assert "1 runs: 1 finished" in capfd.readouterr().out


def test_a_changed_file_makes_runs_stale_and_says_so(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (here / "my table.npz").read_bytes()
    try:
        write(here / "my table.npz", rows(seed=1))
        assert call(TRAIN, [*TABLE, *SWEEP, "--dry-run"]) == 0
        said = capfd.readouterr().out
        assert "8 runs: 8 stale" in said
        assert "(dataset_hash: " in said
        refused(TRAIN, [*TABLE, *SWEEP, "--skip-existing"], capfd, "holds another experiment (dataset_hash: ")
    finally:
        (here / "my table.npz").write_bytes(before)
    assert call(TRAIN, [*TABLE, *SWEEP, "--dry-run"]) == 0
    assert "8 runs: 8 finished" in capfd.readouterr().out


def test_pictures_and_masks_on_linear_layers_of_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "faces.npz", np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8))
    pruned = ["--prune", "--prune-method", "dpf", "--sparsity", "0.5", "--dataset", "faces.npz", *TINY]
    assert call(EXPERIMENT, [*pruned, "--layers", "8"]) == 0
    assert call(EXPERIMENT, [*pruned, *MLP, "--name", "mlp"]) == 0
    run = RunDir(tmp_path / "runs/dpf/sparsity_0.5/faces")
    config = run.read_config()
    assert (config.dataset, config.augment, config.prune_layers) == ("npz", "standard", "conv")
    assert "prune_layers" not in config.identity()
    masks = RunDir(tmp_path / "runs/mlp").read_summary()["layer_sparsities"]
    assert list(masks) == ["hidden.1.weight", "hidden.3.weight"]


REFUSED = [
    (["--dataset", "digits_table"], ["--arch: resnet takes pictures", "digits_table is a table; give mlp"]),
    (["--dataset", "digits_table", "--arch", "mlp", "--augment", "flip"], ["--augment: flip needs pictures"]),
    (["--dataset", "digits_table", "--arch", "mlp", "--num-queries", "2"], ["--num-queries: 2 needs pictures"]),
    (
        ["--dataset", "digits_table", "--arch", "mlp", "--prune-layers", "conv"],
        ["--prune-layers", "no convolution, so there is nothing to prune; give all"],
    ),
    (["--dataset", "digits_table", "--arch", "mlp", "--prune-layers", "linear"], ["--prune-layers", "conv, all"]),
    (["--dataset", "none.npz"], ["--dataset none.npz: does not exist"]),
    (["--dataset", "none.npy"], ["argument --dataset: 'none.npy' is unknown"]),
    (["--dataset", "npz"], ["--data-dir datasets: no such file; --dataset npz needs one"]),
]


@pytest.mark.parametrize(("argv", "words"), REFUSED, ids=[" ".join(argv) for argv, _ in REFUSED])
def test_what_does_not_go_together(
    argv: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(TRAIN, [*argv, "--device", "cpu"], capfd, *words)
    assert tree(tmp_path) == []


def test_a_file_is_named_once(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(TRAIN, [*TABLE, *MLP, "--data-dir", "elsewhere"], capfd, "--data-dir", "says itself where the data are")


def test_a_preset_leaves_another_network_and_a_table_their_own() -> None:
    args = parse(build_parser(), ["--preset", "quick", "--arch", "resnet18"])
    assert (args.layers, args.epochs) == (None, 40)
    assert parse(build_parser(), ["--preset", "quick", "--arch", "resnet"]).layers == 8
    assert parse(build_parser(), ["--preset", "quick", "--arch", "wideresnet", "--layers", "10"]).layers == 10
    args = parse(build_parser(), ["--preset", "paper", "--arch", "mlp", "--dataset", "digits_table"])
    assert (args.layers, args.num_queries, args.epochs) == (None, None, 200)
    assert parse(build_parser(), ["--preset", "paper", "--arch", "mlp"]).num_queries == 18
