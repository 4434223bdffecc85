"""Runs that fail for good, or for want of room: numbers that are not finite, a full disk."""

from __future__ import annotations

import errno
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.checkpoint import _Sink, load_state
from artifacts.run_dir import RunDir, inspect_run
from configs.errors import BadNumbers, DiskFull
from tests.training.interruptions import Interruption, Make, interrupted_after, train
from training.loop import Trainer


def test_a_loss_that_is_not_finite_ends_the_run_for_good(make_config: Make, tmp_path: Path) -> None:
    config, run = make_config(lr=1e30, epochs=4), RunDir(tmp_path / "run")
    with pytest.raises(BadNumbers, match=r"not finite in epoch 1 \((by )?step 2\)"):
        train(config, run.path)
    assert not run.summary.exists()
    status = inspect_run(run, config)
    assert status.kind == "failed"
    assert "lower --lr" in status.detail
    assert inspect_run(run, make_config(epochs=4)).kind == "stale"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["loss", "weights", "statistics", "momentum"])
def test_numbers_that_stop_being_finite_are_found_wherever_they_are(
    place: str, value: float, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, calls = Trainer.train_step, []

    def train_step(trainer: Trainer, *args: Any) -> Any:
        loss, hits = inner(trainer, *args)
        calls.append(trainer.step_count + 1)
        if calls[-1] == 4:  # the last step of the second epoch
            with torch.no_grad():
                if place == "loss":
                    loss.fill_(value)
                elif place == "weights":
                    trainer.pruner.leaf[7] = value
                elif place == "statistics":
                    next(b for b in trainer.model.buffers() if b.is_floating_point())[0] = value
                else:
                    next(iter(trainer.optimizer.state.values()))["momentum_buffer"][0] = value
        return loss, hits

    monkeypatch.setattr(Trainer, "train_step", train_step)
    config, run = make_config(), RunDir(tmp_path / "run")
    with pytest.raises(BadNumbers, match=r"in epoch 2 \((by )?step 4\)"):
        train(config, run.path)
    assert load_state(run.checkpoint, ("step",))["step"] == 2  # no state with such numbers is ever saved
    with pytest.raises(BadNumbers, match="step 4"):
        train(config, run.path)
    assert len(calls) == 4  # and no step was tried again


class Full(io.RawIOBase):
    """A disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(content)


def test_a_full_disk_is_known_behind_the_error_that_torch_makes_of_it(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = make_config(epochs=3), RunDir(tmp_path / "run")
    with pytest.raises(Interruption):
        train(config, run.path, interrupted_after(2))
    before = {path.name: path.read_bytes() for path in run.path.glob("*.pth")}
    size = len(before["checkpoint.pth"])
    for room in range(0, size, size // 7):
        with monkeypatch.context() as patch:
            patch.setattr("artifacts.checkpoint._Sink", lambda stream, room=room, real=_Sink: real(Full(room)))
            with pytest.raises(DiskFull, match=r"the disk is full: .*checkpoint\.pth was not written"):
                train(config, run.path)
        assert {path.name: path.read_bytes() for path in run.path.glob("*.pth")} == before
    assert not list(run.path.glob(".writing-*"))
    train(config, run.path)
    assert inspect_run(run, config).kind == "finished"
    assert not run.older_checkpoint.exists()
