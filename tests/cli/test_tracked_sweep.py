"""A whole sweep with --wandb and --tensorboard, read back from what they wrote without a service."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from artifacts.heartbeat import FILE
from tests.cli.scripts import TINY, TRAIN, call, read
from tests.wandb_reader import Logged, read_all
from training import tracking

DRAWN = True  # W&B reads the pictures
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)
FLAGS = [*TINY, "--num-shadows", "3", "--methods", "dense", "static", "--sparsities", "0.5", "--num-threads", "1"]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of two cells."""
    folder = tmp_path_factory.mktemp("tracked")
    tracking._installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
            patch.delenv(name, raising=False)
        flags = ["--attacks", "loss", "confidence", "--wandb", "--wandb-tags", "a", "--tensorboard"]
        assert call(TRAIN, [*FLAGS, *flags]) == 0
        patch.setattr(tracking, "CLOSE_SECONDS", 60)  # of a busy machine
        tracking.close()
    return folder


@pytest.fixture(scope="module")
def logged(tracked: Path) -> dict[str, Logged]:
    """By name, everything that was logged."""
    found = [*read_all(tracked / "runs"), *read_all(tracked / "results" / "mia")]
    assert len({one.name for one in found}) == len({one.identity for one in found}) == len(found)
    return {one.name: one for one in found}


@needs_wandb
def test_every_model_has_a_run_with_its_history(tracked: Path, logged: dict[str, Logged]) -> None:
    for folder in ("runs/dense/synthetic", "runs/static/sparsity_0.5/synthetic/shadow_002"):
        one, rows = logged[folder], read(tracked / folder / "history.csv")
        assert one.kind == ("target" if "shadow" not in folder else "shadow")
        assert (one.tags, one.group, one.exit_code) == (("a",), "sweep-synthetic-resnet", 0)
        assert one.config["method"] == folder.split("/")[1]
        assert [one.history[int(row["epoch"])]["train_loss"] for row in rows] == [
            pytest.approx(float(row["train_loss"]), abs=1e-12) for row in rows
        ]
    assert sum(one.kind == "shadow" for one in logged.values()) == 6


@needs_wandb
def test_every_cell_has_its_figures_and_a_table_of_attacks(tracked: Path, logged: dict[str, Logged]) -> None:
    for row in read(tracked / "comprehensive_mia_results.csv"):
        one = logged[row["experiment"]]
        assert one.kind == "attack"
        for name in ("loss_auc", "confidence_auc", "confidence_accuracy", "test_accuracy"):
            assert one.summary[name] == pytest.approx(float(row[name]), abs=1e-12)
        table = {(line["attack"], line["metric"]): line for line in one.table("attacks")}
        assert table["loss", "auc"]["mean"] == pytest.approx(float(row["loss_auc"]))
        assert table["loss", "auc"]["ci_low"] == pytest.approx(float(row["loss_auc_ci_low"]))


@needs_wandb
def test_the_report_is_an_artifact_with_its_figures_shown(tracked: Path, logged: dict[str, Logged]) -> None:
    report = logged["report"]
    assert {"report.html", "tidy.csv", "comparisons.csv", "figures/roc_methods.png"} <= set(report.artifacts["report"])
    assert [line["experiment"] for line in report.table("cells")] == ["dense_synthetic", "static_0.5_synthetic"]
    compared = read(tracked / "results" / "mia" / "comparisons.csv")
    assert len(report.table("comparisons")) == len(compared) > 0
    pictures = {key for row in report.history.values() for key in row if key.endswith("/_type")}
    assert {f"{path.stem}/_type" for path in (tracked / "results/mia/figures").glob("*.png")} <= pictures


@needs_tensorboard
def test_tensorboard_holds_the_same_scalars(tracked: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = EventAccumulator(str(tracked / "runs/dense/synthetic/tensorboard"))
    run.Reload()
    rows = read(tracked / "runs/dense/synthetic/history.csv")
    assert [event.value for event in run.Scalars("train_loss")] == [
        pytest.approx(float(row["train_loss"]), rel=1e-6) for row in rows
    ]
    cell = EventAccumulator(str(tracked / "results/mia/tensorboard/dense_synthetic"))
    cell.Reload()
    row = read(tracked / "comprehensive_mia_results.csv")[0]
    (event,) = cell.Scalars("summary/loss_auc")
    assert event.value == pytest.approx(float(row["loss_auc"]), rel=1e-6)


def test_no_sign_of_life_outlives_its_run(tracked: Path) -> None:
    assert list(tracked.rglob(FILE)) == []
