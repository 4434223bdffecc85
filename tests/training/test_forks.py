"""Runs that start from their dense run's state: the same weights, signals and history as without, on a CPU.

One file, longer than others: its dense runs are trained once for all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.checkpoint import load_state, save_state
from artifacts.forks import Forks
from artifacts.heartbeat import Beat, read_beat
from artifacts.run_dir import RunDir, inspect_run
from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from configs.machine import Places
from data.inputs import open_data, open_split
from pruning.registry import METHODS
from pruning.static import StaticPruner
from sweep.forks import dense_of, fork_epoch
from tests.training.interruptions import MACHINE, Interruption, Make, interrupted_after
from tests.training.test_resume import damaged, figures
from training.forks import FORK_KEYS, take_state
from training.loop import Trainer
from training.run import epochs_between_tests, run_one
from training.tracking import Tracker

METHODS_THAT_FORK: dict[str, dict[str, Any]] = {
    "static": {"sparsity": 0.6},
    "two_four": {},
    "random": {"sparsity": 0.6},
    "gmp": {"sparsity": 0.6, "begin_epoch": 2, "target_epoch": 3},
    "channel": {"sparsity": 0.6},
}
# One model is tested at epochs 3 and 4; with `--select best` a dense one is tested at each.
THIRD = dataclasses.replace(MACHINE, eval_every=3)


def run(config: ExperimentConfig, path: Path, forks: Forks | None = None, on_epoch: Any = None) -> RunDir:
    run_one(config, RunDir(path), Places(), THIRD, QuerySettings(1, samia=False), on_epoch, Tracker(), forks)
    return RunDir(path)


def forks_of(config: ExperimentConfig, dense: Path) -> Forks:
    """As a plan with that dense run has them."""
    return Forks(source=str(dense), epoch=fork_epoch(config), fingerprint=dense_of(config).fingerprint())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The optimiser steps that are taken."""
    taken: list[int] = []
    inner = Trainer.train_step

    def train_step(trainer: Trainer, *args: Any) -> Any:
        taken.append(trainer.step_count)
        return inner(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    return taken


def same(one: RunDir, other: RunDir) -> bool:
    """Weights, signals, and the history but for its seconds."""
    files = [(run.model.read_bytes(), run.signals.read_bytes(), figures(run)) for run in (one, other)]
    return files[0] == files[1]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of dense runs that kept their state after epoch 2, by how a model of them is selected."""
    return {select: tmp_path_factory.mktemp(select) / "dense" for select in ("last", "best")}


def dense_run(config: ExperimentConfig, folders: dict[str, Path]) -> Path:
    """The dense run of a configuration, trained once."""
    path = folders[config.select]
    if not RunDir(path).summary.is_file():
        run(dense_of(config), path, Forks(keep=(2,)))
    return path


@pytest.mark.parametrize(
    ("method", "select"), [*((method, "last") for method in METHODS_THAT_FORK), ("static", "best")]
)
def test_a_forked_run_is_the_run_that_trained_all_itself(
    method: str, select: str, dense: dict[str, Path], steps: list[int], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method=method, select=select, augment="standard", **METHODS_THAT_FORK[method])
    source = dense_run(config, dense)
    straight = run(config, tmp_path / "straight", forks_of(config, tmp_path / "nothing"))
    assert steps[-8:] == list(range(8))  # without the state it trains all itself
    steps.clear()
    forked = run(config, tmp_path / "forked", forks_of(config, source))
    assert steps == [4, 5, 6, 7]
    assert same(forked, straight)
    rows = [line.split(",") for line in forked.history.read_text(encoding="utf-8").splitlines()]
    tested = [row[rows[0].index("test_accuracy")] != "" for row in rows[1:]]
    assert tested == [False, False, True, True]
    summary, whole = forked.read_summary(), straight.read_summary()
    assert (summary["shared_epochs"], whole["shared_epochs"], whole["shared_seconds"]) == (2, 0, 0.0)
    assert 0 < summary["shared_seconds"] < summary["seconds"]
    assert [row[-1] for row in rows[1:3]] == [
        line.split(",")[-1] for line in RunDir(source).history.read_text(encoding="utf-8").splitlines()[1:3]
    ]
    differing = {name for name in summary if summary[name] != whole[name]}
    assert differing <= {"shared_epochs", "shared_seconds", "seconds", "hashes", "experiment"}


@pytest.mark.parametrize("rewind", ["none", "weights"])
def test_imp_starts_from_the_whole_dense_run_or_from_where_it_goes_back_to(
    rewind: str, steps: list[int], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method="imp", sparsity=0.6, epochs=2, rounds=1, round_epochs=1, rewind=rewind)
    epoch = 2 if rewind == "none" else 1
    source = run(dense_of(config), tmp_path / "dense", Forks(keep=(epoch,)))
    straight = run(config, tmp_path / "straight")
    steps.clear()
    forked = run(config, tmp_path / "forked", forks_of(config, source.path))
    assert steps == list(range(2 * epoch, 6))
    assert same(forked, straight)


def test_a_method_that_trains_longer_is_tested_when_its_dense_run_is(make_config: Make) -> None:
    config = make_config(method="imp", sparsity=0.6, epochs=40)
    assert config.total_epochs == 100
    assert epochs_between_tests(config, MACHINE) == epochs_between_tests(dense_of(config), MACHINE) == 4
    # a shadow model is tested at its end alone, whatever the dense history has
    shadow = dataclasses.replace(config, model_index=1)
    assert epochs_between_tests(shadow, MACHINE) == 100


def test_a_mask_that_is_taken_after_the_last_epoch_leaves_that_epoch_to_the_run(
    steps: list[int], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method="static", sparsity=0.6, epochs=2, prune_epoch=2)
    source = run(dense_of(config), tmp_path / "dense", Forks(keep=(1,)))
    straight = run(config, tmp_path / "straight")
    steps.clear()
    assert same(run(config, tmp_path / "forked", forks_of(config, source.path)), straight)
    assert steps == [2, 3]


def test_a_start_from_given_weights_is_shared_as_well(make_config: Make, tmp_path: Path) -> None:
    first = run(make_config(epochs=1), tmp_path / "first")
    fields = {
        "epochs": 2,
        "pretrained": str(first.model),
        "pretrained_hash": first.read_summary()["hashes"]["best_model.pth"],
    }
    config = dataclasses.replace(make_config(method="static", sparsity=0.6, epochs=2), **fields)
    source = run(dense_of(config), tmp_path / "dense", Forks(keep=(1,)))
    forked = run(config, tmp_path / "forked", forks_of(config, source.path))
    assert forked.read_summary()["shared_epochs"] == 1
    assert same(forked, run(config, tmp_path / "straight"))


def trainer_of(config: ExperimentConfig) -> tuple[Trainer, dict[str, str]]:
    """A new run's trainer, and the hashes of its data."""
    data, data_hash = open_data(config, "datasets")
    split = open_split(config, data)
    trainer = Trainer(config, data, split.pool[split.members(0)], torch.device("cpu"))
    return trainer, {"data_hash": data_hash, "split_hash": split.split_hash()}


@pytest.mark.parametrize("how", ["missing", "flipped", "empty", "other experiment", "other data", "untested", "later"])
def test_a_state_that_does_not_serve_is_not_taken(
    how: str, dense: dict[str, Path], make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(method="static", sparsity=0.6, augment="standard")
    content = load_state(RunDir(dense_run(config, dense)).fork_state(2), FORK_KEYS)
    forks, path = forks_of(config, tmp_path), RunDir(tmp_path).fork_state(2)
    trainer, keys = trainer_of(config)
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    if how == "other data":
        content["data_hash"] = "0" * 64
    elif how == "other experiment":
        content["fingerprint"] = "0" * 64
    elif how == "later":
        trainer.pruner.dense_steps -= 1
    if how != "missing":
        save_state(path, content)
    if how in ("flipped", "empty"):
        damaged(path, how)
    # every second epoch: the dense run, by a command with another --eval-every, was not tested at the first
    assert take_state(trainer, forks, keys, every=2 if how == "untested" else 3) is None
    assert (trainer.step_count, trainer.history) == (0, [])
    assert all(torch.equal(value, start[name]) for name, value in trainer.model.state_dict().items())
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (how != "missing")
    assert all("does not serve" in line and "every epoch is trained here" in line for line in said)


def test_a_dense_run_that_is_killed_around_its_state_keeps_it_after_all(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, forks = make_config(), Forks(keep=(2, 4))
    straight, broken = run(config, tmp_path / "straight", forks), RunDir(tmp_path / "broken")

    def killed(path: Path, content: Any) -> None:
        (path.parent / f".writing-{path.name}-1").write_bytes(b"half of it")
        raise Interruption

    with pytest.raises(Interruption):  # before the state, with a checkpoint of the epoch before it
        run(config, broken.path, forks, interrupted_after(2))
    with monkeypatch.context() as patch:
        patch.setattr("training.forks.save_state", killed)
        with pytest.raises(Interruption):
            run(config, broken.path, forks)
    assert broken.fork_states == []
    with pytest.raises(Interruption):  # after it
        run(config, broken.path, forks, interrupted_after(3))
    for path in (broken.checkpoint, broken.older_checkpoint):
        path.unlink(missing_ok=True)
    assert inspect_run(broken, config).kind == "new"  # the state is no checkpoint
    run(config, broken.path, forks)
    assert same(broken, straight)
    states = [load_state(one.fork_state(2), FORK_KEYS) for one in (broken, straight)]
    assert all(torch.equal(states[0]["model"][name], value) for name, value in states[1]["model"].items())
    assert load_state(broken.fork_state(4), FORK_KEYS)["step"] == 8  # a whole training may be shared
    assert not list(broken.path.glob(".writing-*"))


def test_a_full_disk_leaves_others_without_the_state_and_nothing_else(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr("training.forks.save_state", full)
    assert run(make_config(epochs=2), tmp_path / "run", Forks(keep=(1,))).summary.is_file()
    assert "fork_1.pth is not kept for others: no room" in caplog.text


def test_a_forked_run_that_is_killed_goes_on_from_its_own_state(
    dense: dict[str, Path], steps: list[int], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method="static", sparsity=0.6, augment="standard")
    forks = forks_of(config, dense_run(config, dense))
    straight, broken = run(config, tmp_path / "straight"), RunDir(tmp_path / "broken")
    steps.clear()
    with pytest.raises(Interruption):  # before it has a checkpoint
        run(config, broken.path, forks, interrupted_after(3))
    assert not broken.has_state
    with pytest.raises(Interruption):
        run(config, broken.path, forks, interrupted_after(4))
    assert broken.has_state
    run(config, broken.path)  # the dense run's state is not needed any more
    assert steps == [4, 5, 4, 5, 6, 7, 6, 7]
    assert same(broken, straight)
    assert broken.read_summary()["shared_epochs"] == 2


class Listening(Tracker):
    """Notes what a service would be told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []
        self.summaries: list[Any] = []

    def _sinks(self, *_: Any) -> Iterator[Any]:
        yield self

    def log(self, row: Any, step: int) -> None:
        self.told.append(step)

    def summary(self, values: Any) -> None:
        self.summaries.append(values)

    def finish(self, code: int) -> None:
        """Nothing to end."""


def test_services_are_told_of_shared_epochs_and_progress_counts_from_there(
    dense: dict[str, Path], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(method="static", sparsity=0.6, augment="standard")
    forks, listening = forks_of(config, dense_run(config, dense)), Listening()
    seen: list[int] = []
    beats: list[Beat | None] = []

    def epoch(row: dict[str, Any]) -> None:
        seen.append(row["epoch"])
        beats.append(read_beat(tmp_path / "run"))

    queries = QuerySettings(1, samia=False)
    run_one(config, RunDir(tmp_path / "run"), Places(), THIRD, queries, epoch, listening, forks)
    assert (listening.told, seen) == ([1, 2, 3, 4], [3, 4])
    assert [beat and beat.first for beat in beats] == [2, 2]
    assert listening.summaries[0]["shared_epochs"] == 2


class OwnPruner(StaticPruner):
    """A stranger's: which weights it drops it draws from torch's global generator."""

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        self.dense_steps = self.prune_step

    def choose(self) -> torch.Tensor:
        return torch.rand(self.mask.shape) < 0.4


class Longer(OwnPruner):
    """A stranger's that goes on for two epochs after a whole dense training."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Knobs(StaticPruner.Knobs):
        def total_epochs(self, epochs: int) -> int:
            return epochs + 2

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        self.dense_steps = self.total_steps


class Silent(StaticPruner):
    """A stranger's that does not say for how long it is the dense run."""


class Broken(StaticPruner):
    """A stranger's that cannot be made."""

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        raise ValueError("no")


class InSteps(OwnPruner):
    """A stranger's that counts steps, not epochs."""

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        self.dense_steps = 100


def test_methods_of_the_users_own_share_only_what_they_say(
    dense: dict[str, Path], make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(method="static", sparsity=0.6, augment="standard")
    source = dense_run(config, dense)
    own = dataclasses.replace(config, method="own", method_hash="0" * 64)
    for cls, epoch in ((Silent, 0), (Broken, 0), (InSteps, 0), (Longer, 4), (OwnPruner, 2)):
        monkeypatch.setitem(METHODS, "own", cls)
        knobs = Longer.Knobs(prune_epoch=2) if cls is Longer else own.knobs
        assert fork_epoch(dataclasses.replace(own, knobs=knobs)) == epoch
    forked = run(own, tmp_path / "forked", forks_of(own, source))
    assert forked.read_summary()["shared_epochs"] == 2
    assert same(forked, run(own, tmp_path / "straight"))


def test_a_best_epoch_before_pruning_is_not_lost(
    dense: dict[str, Path], make_config: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """GMP to a sparsity of nothing is at its target from the start."""
    config = make_config(method="gmp", sparsity=0.0, select="best", augment="standard", begin_epoch=2, target_epoch=3)
    trainer, keys = trainer_of(config)
    assert take_state(trainer, forks_of(config, dense_run(config, dense)), keys, every=3) is None
    assert "holds no best epoch" in caplog.text
