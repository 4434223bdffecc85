"""`--trace-losses`: each member's loss at every epoch, and nothing else changes."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from artifacts import stopping
from artifacts.checkpoint import load_state
from artifacts.forks import Forks
from artifacts.loss_traces import LossTraces, load_traces, save_traces
from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, load_signals
from configs.errors import RunError, StopRequested
from configs.experiment import ExperimentConfig
from configs.machine import Places, Tracking
from data.inputs import open_data, open_split
from sweep.forks import dense_of, fork_epoch
from sweep.space import run_bytes
from sweep.worker import Job
from tests.training.interruptions import MACHINE, Make
from tests.training.recording import TapeRecorder
from training import graphs
from training.loop import Trainer
from training.run import run_one
from training.step import Step
from training.tracking import Tracker

TRACED = dataclasses.replace(MACHINE, trace_losses=True)
CPU = torch.device("cpu")


def run(config: ExperimentConfig, path: Path, machine: Any = TRACED, forks: Forks | None = None) -> RunDir:
    run_one(config, RunDir(path), Places(), machine, QuerySettings(1, samia=False), None, Tracker(), forks)
    return RunDir(path)


def traces_of(folder: RunDir) -> LossTraces:
    return load_traces(folder.traces, folder.read_summary()["hashes"]["best_model.pth"])


def trainer_of(config: ExperimentConfig, recorder: Any = None, trace_losses: bool = True) -> Trainer:
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    return Trainer(config, data, split.pool[split.members(0)], CPU, recorder, trace_losses)


def trained(trainer: Trainer, epochs: int) -> Trainer:
    for _ in range(epochs):
        trainer.run_epoch()
        trainer.close_epoch()
    return trainer


def test_a_trace_is_the_loss_before_the_step_on_the_picture_of_the_step(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for again with the weights and the augmented pictures of each step, in a forward pass of its own."""
    config = make_config(epochs=2, augment="standard")
    trainer = trainer_of(config)
    expected = np.full((2, len(trainer.members)), np.nan)
    inner = Step.run

    def asked(step: Step, pictures: Tensor, labels: Tensor, draws: Tensor, rate: float) -> Any:
        kept = {name: value.clone() for name, value in step.model.state_dict().items()}
        with torch.no_grad():
            logits = step.model(step.augmenter.apply(pictures, draws))
        step.model.load_state_dict(kept)  # BatchNorm's statistics moved
        batch = torch.cat(batches)[-len(labels) :]
        expected[len(trainer.history), batch] = functional.cross_entropy(logits, labels, reduction="none")
        return inner(step, pictures, labels, draws, rate)

    batches: list[Tensor] = []
    call = Step.__call__

    def noted(step: Step, *args: Any) -> Any:
        batches.append(args[2])
        return call(step, *args)

    monkeypatch.setattr(Step, "run", asked)
    monkeypatch.setattr(Step, "__call__", noted)
    trained(trainer, 2)
    assert trainer.traces is not None
    assert trainer.traces.dtype == torch.float16
    np.testing.assert_allclose(trainer.traces.float().numpy(), expected, rtol=1e-3, atol=1e-6)
    means = [row["train_loss"] for row in trainer.history]
    assert means == pytest.approx(trainer.traces.float().mean(dim=1).tolist(), rel=1e-3)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a traced dense run is trained once, which keeps its state after epoch 2."""
    return tmp_path_factory.mktemp("dense") / "traced"


def dense_run(config: ExperimentConfig, path: Path) -> RunDir:
    folder = RunDir(path)
    return folder if folder.summary.is_file() else run(dense_of(config), path, TRACED, Forks(keep=(2,)))


def test_weights_and_signals_are_those_of_a_run_without(dense: Path, make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="static", sparsity=0.6)
    traced, plain = dense_run(config, dense), run(dense_of(config), tmp_path / "plain", MACHINE)
    assert (traced.model.read_bytes(), traced.signals.read_bytes()) == (
        plain.model.read_bytes(),
        plain.signals.read_bytes(),
    )
    assert not plain.traces.exists()
    traces, signals = traces_of(traced), load_signals(traced.signals)
    assert np.array_equal(traces.index, signals.pool[signals.membership])
    assert traces.losses.shape == (4, signals.membership.sum())
    plain.traces.write_bytes(b"of an earlier run")
    plain.clear()
    assert not plain.traces.exists()


def test_a_run_stopped_after_any_step_has_the_traces_of_one_that_was_not(
    dense: Path, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(method="static", sparsity=0.6)
    straight, broken = dense_run(config, dense), RunDir(tmp_path / "broken")
    inner = Trainer.train_step

    def train_step(trainer: Trainer, *args: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return inner(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        for step in range(1, 9):
            with stopping.installed(), pytest.raises(StopRequested):
                run(dense_of(config), broken.path)
            assert load_state(broken.checkpoint, ("step",))["step"] == step
    run(dense_of(config), broken.path)
    assert broken.traces.read_bytes() == straight.traces.read_bytes()


def test_a_forked_run_takes_the_dense_run_s_traces(
    dense: Path, make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(method="static", sparsity=0.6)
    source = dense_run(config, dense)
    forks = Forks(source=str(source.path), epoch=fork_epoch(config), fingerprint=dense_of(config).fingerprint())
    straight, forked = run(config, tmp_path / "straight"), run(config, tmp_path / "forked", TRACED, forks)
    assert forked.read_summary()["shared_epochs"] == 2
    assert forked.traces.read_bytes() == straight.traces.read_bytes()
    assert np.array_equal(traces_of(forked).losses[:2], traces_of(source).losses[:2])
    without = run(dense_of(config), tmp_path / "without", MACHINE, Forks(keep=(2,)))
    own = run(config, tmp_path / "own", TRACED, dataclasses.replace(forks, source=str(without.path)))
    assert own.read_summary()["shared_epochs"] == 0
    assert "it has no loss traces, which --trace-losses asks for here" in caplog.text
    assert own.traces.read_bytes() == straight.traces.read_bytes()


def test_a_training_that_began_without_traces_gets_none_and_says_so(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, folder, inner = make_config(epochs=2), RunDir(tmp_path / "run"), Trainer.train_step

    def train_step(trainer: Trainer, *args: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return inner(trainer, *args)

    with monkeypatch.context() as patch, stopping.installed():
        patch.setattr(Trainer, "train_step", train_step)
        with pytest.raises(StopRequested):
            run(config, folder.path, MACHINE)
    run(config, folder.path)
    assert folder.summary.is_file()
    assert not folder.traces.exists()
    assert "gets no loss traces: it was begun without --trace-losses" in caplog.text


def test_recorded_steps_give_the_same_traces(make_config: Make) -> None:
    """The losses come out of the recording's memory, of each batch size and phase."""
    config = make_config(
        method="static", sparsity=0.5, prune_epoch=5, epochs=12, augment="standard", batch_size=8, pool_size=24
    )
    graphs.forget()
    recorded, plain = trained(trainer_of(config, TapeRecorder), 12), trained(trainer_of(config), 12)
    assert isinstance(recorded.step, graphs.RecordedStep)
    assert recorded.step.trusted
    assert all(one.compared == graphs.COMPARED for one in recorded.step.recordings.values())
    assert recorded.traces is not None
    assert plain.traces is not None
    assert torch.equal(recorded.traces, plain.traces)
    step = recorded.step
    del recorded
    assert trainer_of(config, TapeRecorder, trace_losses=False).step is not step  # another recording
    graphs.forget()


def test_their_room_on_the_disk_is_counted(make_config: Make) -> None:
    """Two bytes a member and epoch, in the file, in three checkpoints and in what is kept for others."""
    config = make_config()
    data, asked = open_data(config, "datasets")[0], QuerySettings()
    for kept in (0, 2):
        more = run_bytes(config, data, asked, kept, traced=True) - run_bytes(config, data, asked, kept)
        assert more == 2 * 4 * 60 * (4 + kept)


def test_the_flag_travels_with_a_job(make_config: Make) -> None:
    job = Job(make_config(), "runs/x", Places(), TRACED, QuerySettings(), Tracking(), "group")
    assert Job.from_json(job.to_json()).machine.trace_losses


def test_what_is_no_trace_of_these_weights_is_one_line(tmp_path: Path) -> None:
    path, index = tmp_path / "loss_traces.npz", np.arange(3)
    losses = np.array([[1.0, 2.0, np.inf], [0.5, 0.25, 0.125]], dtype=np.float16)
    save_traces(path, LossTraces(index, losses, "a" * 64))
    found = load_traces(path, "a" * 64)
    assert found.losses[0, 2] == np.finfo(np.float16).max
    with pytest.raises(RunError, match="of another training"):
        load_traces(path, "b" * 64)
    save_traces(path, LossTraces(index, losses * np.float16("nan"), "a" * 64))
    with pytest.raises(RunError, match="does not hold a finite loss"):
        load_traces(path, "a" * 64)
    save_traces(path, LossTraces(index[:2], losses, "a" * 64))
    with pytest.raises(RunError, match="does not hold a finite loss"):
        load_traces(path, "a" * 64)
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError):
        load_traces(path, "a" * 64)
