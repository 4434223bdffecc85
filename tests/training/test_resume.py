"""A finished run: its files, its resume after an interruption, and what it refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts import stopping
from artifacts.checkpoint import load_model, load_state
from artifacts.run_dir import RunDir, inspect_run
from artifacts.signals import QuerySettings, load_signals
from configs.errors import RunError, StopRequested
from configs.machine import Places
from data.inputs import open_data
from tests.training.interruptions import QUERIES, Interruption, Make, interrupted_after, train
from training.ask import ensure_signals
from training.device import describe_machine
from training.loop import Trainer


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


class Steps:
    """Asks the process to stop after the given optimiser steps, one a run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: list[int]) -> None:
        self.left = steps
        self.seen: list[int] = []
        inner = Trainer.train_step

        def train_step(trainer: Trainer, *args: Any) -> Any:
            found = inner(trainer, *args)
            if self.left and trainer.step_count + 1 == self.left[0]:
                self.seen.append(self.left.pop(0))
                signal.raise_signal(signal.SIGTERM)
            return found

        monkeypatch.setattr(Trainer, "train_step", train_step)


@pytest.mark.parametrize(
    ("method", "sparsity"),
    [("dense", 0.0), ("static", 0.5), ("dpf", 0.6), ("rigl", 0.6), ("imp", 0.6), ("channel", 0.5)],
)
def test_a_run_stopped_after_any_step_goes_on_bit_by_bit(
    method: str, sparsity: float, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs: dict[str, dict[str, Any]] = {
        "dpf": {"prune_freq": 3},
        "rigl": {"update_freq": 1},
        "channel": {"epochs": 2},
        "imp": {"epochs": 2, "rounds": 2, "round_epochs": 1, "rewind": "weights"},
    }
    config = make_config(
        **{"method": method, "epochs": 3, **knobs.get(method, {})}, sparsity=sparsity, augment="standard"
    )
    straight = train(config, tmp_path / "straight")
    every = range(1, 2 * config.total_epochs + 1)
    steps = Steps(monkeypatch, list(every))
    broken = RunDir(tmp_path / "broken")
    for step in every:
        with stopping.installed(), pytest.raises(StopRequested) as stopped:
            train(config, broken.path)
        assert stopped.value.signum == signal.SIGTERM
        assert steps.seen[-1] == step
        assert load_state(broken.checkpoint, ("step",))["step"] == step
    train(config, broken.path)
    assert broken.model.read_bytes() == straight.model.read_bytes()
    assert broken.signals.read_bytes() == straight.signals.read_bytes()
    assert figures(broken) == figures(straight)


def figures(run: RunDir) -> list[list[str]]:
    """The history without the last column, which is seconds."""
    return [row.split(",")[:9] for row in run.history.read_text().splitlines()]


def test_a_stop_in_the_test_of_an_epoch_is_taken_up_there(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(epochs=2, method="dpf", sparsity=0.8, target_epoch=2, freeze_epoch=-1, select="best")
    straight = train(config, tmp_path / "straight")
    inner = Trainer.test
    asked: list[int] = []

    def test(trainer: Trainer) -> tuple[float, float]:
        if not asked:
            asked.append(trainer.epoch)
            signal.raise_signal(signal.SIGINT)
        return inner(trainer)

    monkeypatch.setattr(Trainer, "test", test)
    broken = RunDir(tmp_path / "broken")
    with stopping.installed(), pytest.raises(StopRequested):
        train(config, broken.path)
    state = load_state(broken.checkpoint, ("row", "history"))
    assert state["row"]["epoch"] == asked[0] == len(state["history"]) + 1
    train(config, broken.path)
    assert broken.model.read_bytes() == straight.model.read_bytes()
    assert figures(broken) == figures(straight)


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "zeroed":
        start = len(content) // 3
        content[start : start + 4096] = bytes(4096)
    path.write_bytes({"empty": b"", "truncated": bytes(content[:-1])}.get(how, bytes(content)))


@pytest.mark.parametrize("how", ["flipped", "zeroed", "empty", "truncated"])
def test_a_bad_checkpoint_falls_back_to_the_older_one_and_says_so(
    how: str, make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(epochs=4)
    straight = train(config, tmp_path / "straight")
    broken = RunDir(tmp_path / "broken")
    with pytest.raises(Interruption):
        train(config, broken.path, interrupted_after(4))
    assert load_state(broken.checkpoint, ("step",))["step"] == 6
    assert load_state(broken.older_checkpoint, ("step",))["step"] == 4
    damaged(broken.checkpoint, how)
    train(config, broken.path)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "going back to checkpoint_previous.pth" in said[0]
    assert broken.model.read_bytes() == straight.model.read_bytes()


def test_two_bad_checkpoints_start_the_run_again(
    make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(epochs=3)
    straight = train(config, tmp_path / "straight")
    broken = RunDir(tmp_path / "broken")
    with pytest.raises(Interruption):
        train(config, broken.path, interrupted_after(3))
    other = RunDir(tmp_path / "other")
    train(make_config(epochs=3, seed=1), other.path)
    # of another experiment, and of an earlier version without a digest
    broken.checkpoint.write_bytes(other.checkpoint.read_bytes())
    broken.older_checkpoint.write_bytes(straight.model.read_bytes())
    train(config, broken.path)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert ["another experiment" in line for line in said] == [True, False]
    assert "training starts again" in said[1]
    assert broken.model.read_bytes() == straight.model.read_bytes()


def test_the_method_changes_neither_start_nor_batches(make_config: Make, tmp_path: Path) -> None:
    """Cells are paired: before the mask is taken, a static run is the dense run."""
    dense = train(make_config(method="dense", epochs=2), tmp_path / "dense")
    static = train(make_config(method="static", sparsity=0.5, epochs=2, prune_epoch=2), tmp_path / "static")
    dense_model, static_model = load_model(dense.model), load_model(static.model)
    for name, mask in static_model.masks.items():
        assert torch.equal(static_model.weights[name], dense_model.weights[name] * mask)


@pytest.mark.parametrize(("method", "sparsity"), [("static", 0.8), ("dpf", 0.8), ("rigl", 0.8)])
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
    state = load_state(run.checkpoint, ("pruner",))
    if method == "dpf":  # dense weights live in the checkpoint, and nowhere else
        assert torch.count_nonzero(state["pruner"]["leaf"][~state["pruner"]["mask"]]) > 0


def test_summary_figures_are_those_of_the_signals(make_config: Make, tmp_path: Path) -> None:
    run = train(make_config(), tmp_path / "run")
    summary, signals = run.read_summary(), load_signals(run.signals)
    assert signals.logits is not None
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


def test_another_machine_is_named_on_resume(
    make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = make_config(epochs=2), RunDir(tmp_path / "run")
    with pytest.raises(Interruption):
        train(config, run.path, interrupted_after(2))
    here = describe_machine(torch.device("cpu"))
    monkeypatch.setattr("training.run.describe_machine", lambda device: {**here, "torch": "1.0", "threads": 99})
    train(config, run.path)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert f"torch {here['torch']} -> 1.0, threads {here['threads']} -> 99" in said[0]


def test_other_data_below_a_checkpoint_is_refused(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = make_config(epochs=2), RunDir(tmp_path / "run")
    with pytest.raises(Interruption):
        train(config, run.path, interrupted_after(2))
    data, _ = open_data(config, "datasets")
    monkeypatch.setattr("training.run.open_data", lambda *args: (data, "0" * 64))
    with pytest.raises(RunError, match=r"other data \(data_hash differs\); --overwrite starts again"):
        train(config, run.path)


def test_a_locked_folder_is_refused(make_config: Make, tmp_path: Path) -> None:
    from artifacts.locks import locked

    run = RunDir(tmp_path / "run")
    with locked(run.path), pytest.raises(RunError, match="in use by another process"):
        train(make_config(epochs=1), run.path)
