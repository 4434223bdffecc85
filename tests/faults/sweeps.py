"""The commands that faults are injected into, and what they leave behind when nothing disturbs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.faults.children import Ended, Hook
from tests.faults.same import content, differences, temporaries
from tests.faults.trials import Trial

TINY = (
    *("--dataset", "synthetic", "--layers", "8", "--pool-size", "40", "--batch-size", "20", "--epochs", "2"),
    *("--augment", "none", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--num-threads", "1"),
    *("--checkpoint-seconds", "0"),
)
# Three cells of six models each, attacked; every model is trained in this many steps.
SWEEP = (
    *("--methods", "dense", "static", "dpf", "--sparsities", "0.6", "--num-shadows", "5"),
    *("--attacks", "lira", "confidence"),
)
# The least sweep that has everything: one cell, a target and a shadow model, an attack.
LEAST = ("--methods", "dpf", "--sparsities", "0.6", "--num-shadows", "1", "--attacks", "loss")
# One model.
MODEL = ("--prune", "--prune-method", "dpf", "--sparsity", "0.6", "--num-shadows", "1")
ONE_PROCESS = ("--jobs", "1")
PICTURES: tuple[Hook, ...] = (("plain_pictures", ()),)


def sweep(trial: Trial, flags: Sequence[object], cwd: Path, hooks: Sequence[Hook] = ()) -> Ended:
    """`train.py` to its end, going on with what is there; figures are written but not rasterised."""
    argv = [*TINY, *ONE_PROCESS, *flags, "--skip-existing"]
    return trial.server.run("train", argv, cwd, hooks=[*PICTURES, *hooks])


def undisturbed(trial: Trial, name: str, flags: Sequence[object]) -> tuple[dict[str, str], float, Path]:
    """Contents of an undisturbed sweep's folder, the seconds that it took, and the folder, which nobody may change."""

    def make(folder: Path) -> tuple[dict[str, str], float, Path]:
        end = sweep(trial, flags, folder)
        assert end.code == 0, end.err
        return content(folder), end.seconds, folder

    return trial.shared.once(name, make)


def model_argv(*flags: object) -> list[object]:
    """The command line of one model."""
    return [*TINY, *ONE_PROCESS, *MODEL, *flags]


def undisturbed_model(trial: Trial, *flags: object) -> tuple[dict[str, str], Path]:
    """The same of one model trained by `run_experiment.py`."""

    def make(folder: Path) -> tuple[dict[str, str], Path]:
        end = trial.server.run("run_experiment", model_argv(*flags), folder)
        assert end.code == 0, end.err
        return content(folder), folder

    return trial.shared.once("model" + "".join(str(flag) for flag in flags), make)


def verdict(folder: Path, expected: dict[str, str]) -> str:
    """What is wrong with a folder that should be as if nothing had happened; empty when nothing is."""
    left = temporaries(folder)
    if left:
        return f"{len(left)} temporaries left: {left[0]}"
    return differences(content(folder), expected)
