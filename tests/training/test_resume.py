"""A finished run: its files, its resume after an interruption, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.run_dir import RunDir, inspect_run
from artifacts.signals import QuerySettings, load_signals
from configs.config import ExperimentConfig, Machine, Places
from configs.errors import RunError
from training.ask import ensure_signals
from training.checkpoint import load_model, load_torch
from training.run import run_one

Make = Callable[..., ExperimentConfig]
MACHINE = Machine(device="cpu", checkpoint_seconds=0.0)
QUERIES = QuerySettings(2, samia=True)


def train(config: ExperimentConfig, path: Path, on_epoch: Any = None) -> RunDir:
    run = RunDir(path)
    run_one(config, run, Places(), MACHINE, QUERIES, on_epoch)
    return run


class Interruption(BaseException):
    """Stands for a killed process: nothing below may catch it."""


def interrupted_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def hook(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise Interruption

    return hook


@pytest.mark.parametrize("augment", ["standard", "none"])
@pytest.mark.parametrize(("method", "sparsity"), [("dense", 0.0), ("static", 0.5), ("dpf", 0.6)])
def test_resume_gives_bit_identical_weights_masks_and_signals(
    method: str, sparsity: float, augment: str, make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method=method, sparsity=sparsity, augment=augment, prune_freq=3 if method == "dpf" else None)
    straight = train(config, tmp_path / "straight")
    broken = RunDir(tmp_path / "broken")
    for epoch in (2, 4):
        with pytest.raises(Interruption):
            train(config, broken.path, interrupted_after(epoch))
        assert inspect_run(broken, config).kind == "resume"
    train(config, broken.path)
    assert broken.model.read_bytes() == straight.model.read_bytes()
    assert broken.signals.read_bytes() == straight.signals.read_bytes()
    assert [row.split(",")[:9] for row in broken.history.read_text().splitlines()] == [
        row.split(",")[:9] for row in straight.history.read_text().splitlines()
    ]


def test_the_method_changes_neither_start_nor_batches(make_config: Make, tmp_path: Path) -> None:
    """Cells are paired: before the mask is taken, a static run is the dense run."""
    dense = train(make_config(method="dense", epochs=2), tmp_path / "dense")
    static = train(make_config(method="static", sparsity=0.5, epochs=2, prune_epoch=2), tmp_path / "static")
    dense_model, static_model = load_model(dense.model), load_model(static.model)
    for name, mask in static_model.masks.items():
        assert torch.equal(static_model.weights[name], dense_model.weights[name] * mask)


@pytest.mark.parametrize(("method", "sparsity"), [("static", 0.8), ("dpf", 0.8)])
def test_export_is_exactly_zero_where_masked(method: str, sparsity: float, make_config: Make, tmp_path: Path) -> None:
    run = train(make_config(method=method, sparsity=sparsity, momentum=0.95), tmp_path / "run")
    model, summary = load_model(run.model), run.read_summary()
    masked = sum(int((~mask).sum()) for mask in model.masks.values())
    total = sum(mask.numel() for mask in model.masks.values())
    assert masked == round(sparsity * total)
    for name, mask in model.masks.items():
        assert torch.count_nonzero(model.weights[name][~mask]) == 0
    assert summary["measured_sparsity"] == pytest.approx(sparsity, abs=1 / total)
    assert summary["flops"] < summary["flops_dense"]
    state = load_torch(run.checkpoint, ("pruner",))
    if method == "dpf":  # dense weights live in the checkpoint, and nowhere else
        assert torch.count_nonzero(state["pruner"]["leaf"][~state["pruner"]["mask"]]) > 0


def test_summary_figures_are_those_of_the_signals(make_config: Make, tmp_path: Path) -> None:
    run = train(make_config(), tmp_path / "run")
    summary, signals = run.read_summary(), load_signals(run.signals)
    hits = signals.logits.argmax(1) == signals.labels
    assert summary["train_accuracy"] == pytest.approx(hits[signals.membership].mean())
    assert summary["heldout_accuracy"] == pytest.approx(hits[~signals.membership].mean())
    assert summary["num_members"] == signals.membership.sum()


def test_select_best_never_takes_an_epoch_below_the_target_sparsity(make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="dpf", sparsity=0.8, epochs=6, target_epoch=4, prune_freq=2, select="best")
    run = train(config, tmp_path / "run")
    summary = run.read_summary()
    assert summary["selected_epoch"] >= 5
    assert summary["measured_sparsity"] == pytest.approx(0.8, abs=1e-3)
    rows = [line.split(",") for line in run.history.read_text().splitlines()]
    column = rows[0].index("test_accuracy")
    late = {int(row[0]): float(row[column]) for row in rows[1:] if int(row[0]) >= 5}
    assert late[summary["selected_epoch"]] == max(late.values())
    assert summary["test_accuracy"] == pytest.approx(max(late.values()))


def test_signals_are_asked_for_again_only_when_the_cache_does_not_serve(make_config: Make, tmp_path: Path) -> None:
    config = make_config(epochs=1)
    run = train(config, tmp_path / "run")
    before = run.signals.read_bytes()
    stamp = run.signals.stat().st_mtime_ns
    ensure_signals(run, config, Places(), "cpu", QuerySettings(2, samia=False))
    assert run.signals.stat().st_mtime_ns == stamp
    more = ensure_signals(run, config, Places(), "cpu", QuerySettings(3, samia=False))
    assert more.phi.shape[1] == 3
    run.signals.write_bytes(before[: len(before) // 2])
    ensure_signals(run, config, Places(), "cpu", QUERIES)
    assert run.signals.read_bytes() == before
    assert run.damage() is None


def test_a_damaged_or_foreign_run_is_never_taken_for_finished(make_config: Make, tmp_path: Path) -> None:
    config = make_config(epochs=1)
    run = train(config, tmp_path / "run")
    assert inspect_run(run, config).kind == "finished"
    other = inspect_run(run, make_config(epochs=2))
    assert (other.kind, other.detail) == ("stale", "epochs: 1 -> 2")
    content = bytearray(run.model.read_bytes())
    content[len(content) // 2] ^= 1
    run.model.write_bytes(content)
    assert inspect_run(run, config).kind == "damaged"
    run.summary.write_text(json.dumps({}))
    assert inspect_run(run, config).kind == "damaged"


def test_a_loss_that_is_not_finite_ends_the_run(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is not finite in epoch"):
        train(make_config(lr=1e30, epochs=4), tmp_path / "run")
    assert not (tmp_path / "run" / "experiment_summary.json").exists()


def test_a_locked_folder_is_refused(make_config: Make, tmp_path: Path) -> None:
    from filelock import FileLock

    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    with FileLock(run.lock), pytest.raises(RunError, match="in use by another process"):
        train(make_config(epochs=1), run.path)
