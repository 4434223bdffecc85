"""Damaged, foreign and forged files: a checkpoint is never loaded as good, a cache or table is made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.sweeps import SWEEP, model_argv, sweep, undisturbed, undisturbed_model, verdict
from tests.faults.trials import Tally, Trial

EPOCHS = ("--epochs", "3")
OTHER_SEED = ("--seed", "1")
RUN = Path("runs/dpf/sparsity_0.6/synthetic")
BLOCK = 512
Damage = Callable[[Path, np.random.Generator], None]


def truncate(path: Path, rng: np.random.Generator) -> None:
    """Cut off at least the last byte."""
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(1, len(content)))])


def flip_bit(path: Path, rng: np.random.Generator) -> None:
    """Turn over one bit."""
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def zero_block(path: Path, rng: np.random.Generator) -> None:
    """Zero a block (or what a short file has of one) that was not zero before."""
    before = path.read_bytes()
    content = bytearray(before)
    while content == before:
        start = int(rng.integers(-(-len(content) // BLOCK))) * BLOCK
        content[start : start + BLOCK] = bytes(len(content[start : start + BLOCK]))
    path.write_bytes(content)


def empty(path: Path, rng: np.random.Generator) -> None:
    """Leave no byte."""
    path.write_bytes(b"")


def damaged_checkpoint(damage: Damage) -> Callable[[Trial], Tally]:
    """Two tries of three damage a training state (the newest, or both), the third the final weights."""

    def run(trial: Trial) -> Tally:
        def spoil(path: Path) -> None:
            damage(path, trial.rng)

        return _spoiled(trial, spoil)

    return run


def foreign_checkpoint(trial: Trial) -> Tally:
    """The same file of another experiment in its place: sound, and not this run's."""

    def spoil(path: Path) -> None:
        source = _interrupted(trial, OTHER_SEED) if path.name.startswith("checkpoint") else None
        if source is None:
            source = undisturbed_model(trial, *EPOCHS, *OTHER_SEED)[1]
        shutil.copy(source / RUN / "seed_1" / path.name, path)

    return _spoiled(trial, spoil)


def checkpoint_without_a_key(trial: Trial) -> Tally:
    """Well-formed and sealed, but one part is missing."""

    def spoil(path: Path) -> None:
        import torch

        from artifacts.checkpoint import save_state

        content = torch.load(path, map_location="cpu", weights_only=True)
        gone = str(trial.rng.choice(sorted(content)))
        left = {name: value for name, value in content.items() if name != gone}
        if path.name.startswith("checkpoint"):
            if gone == "format":
                left["format"] = -1
            save_state(path, left, keep=path.with_name("unwanted"))
            path.with_name("unwanted").unlink()
        else:
            torch.save(left, path)

    return _spoiled(trial, spoil)


def _interrupted(trial: Trial, flags: tuple[str, ...] = ()) -> Path:
    """A run killed before its last checkpoint took its name: two generations are there, an epoch is to be trained."""

    def make(folder: Path) -> Path:
        hook = ("die_before_rename", ("checkpoint_previous.pth", 2))
        end = trial.server.run("run_experiment", model_argv(*EPOCHS, *flags), folder, hooks=[hook])
        assert end.signal == 9, end.err
        return folder

    return trial.shared.once("interrupted" + "".join(flags), make)


def _spoiled(trial: Trial, spoil: Callable[[Path], None]) -> Tally:
    expected, finished = undisturbed_model(trial, *EPOCHS)
    if trial.number % 3 == 2:
        names, source = ["best_model.pth"], finished
    else:
        names, source = ["checkpoint.pth", "checkpoint_previous.pth"][: 1 + trial.number % 3], _interrupted(trial)
    folder = trial.folder / "work"
    shutil.copytree(source, folder)
    for name in names:
        path = folder / RUN / name
        before = path.read_bytes()
        spoil(path)
        if path.read_bytes() == before:
            return Tally(False, False, f"{name} is as it was")
    end = trial.server.run("run_experiment", model_argv(*EPOCHS, "--skip-existing"), folder)
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    unsaid = [name for name in names if name not in end.err]
    wrong = wrong or (f"no word on {unsaid[0]}: {end.err[-300:]}" if unsaid else "")
    wrong = wrong or verdict(folder, expected)
    return Tally(True, not wrong, wrong or " and ".join(names))


KINDS: tuple[Damage, ...] = (truncate, flip_bit, zero_block, empty)
# Of a sweep: what a cache, a summary, and the tables are.
PATTERNS = (
    "runs/**/signals.npz",
    "runs/**/experiment_summary.json",
    "*.csv",
    "runs/**/history.csv",
    "results/mia/*.csv",
)


def damaged_results(trial: Trial) -> Tally:
    """A file of a finished and evaluated sweep is damaged; the same command with --skip-existing puts it right."""
    expected, _, finished = undisturbed(trial, "sweep", SWEEP)
    folder = trial.folder / "work"
    shutil.copytree(finished, folder)
    there = sorted(folder.glob(PATTERNS[trial.number % len(PATTERNS)]))
    path = there[int(trial.rng.integers(len(there)))]
    before = path.read_bytes()
    KINDS[trial.number // len(PATTERNS) % len(KINDS)](path, trial.rng)
    name = path.relative_to(folder).as_posix()
    if path.read_bytes() == before:
        return Tally(False, False, f"{name} is as it was")
    end = sweep(trial, SWEEP, folder)
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    said = any(path.name in line or path.parent.name in line for line in end.err.splitlines())
    wrong = wrong or ("" if said else f"no word: {end.err[-300:]}")
    wrong = wrong or verdict(folder, expected)
    return Tally(True, not wrong, f"{name} {KINDS[trial.number // len(PATTERNS) % len(KINDS)].__name__}: {wrong}")
