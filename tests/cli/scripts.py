"""The scripts as functions, and flags of a run that takes a second."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Sequence
from pathlib import Path

TRAIN, EXPERIMENT, CHECK = "train", "run_experiment", "test_mia"
UNIFIED, ADVANCED = "mia.unified_mia_evaluation", "mia.mia_advanced"
WEMEM, ONE_CELL, CLASSIC = "mia.mia_wemem", "mia.run_mia_evaluation", "mia.mia_classic"
SCRIPTS = (TRAIN, EXPERIMENT, CHECK, UNIFIED, ADVANCED, WEMEM, CLASSIC, ONE_CELL)
TINY = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "2", "--pool-size", "60", "--augment", "none"),
    *("--batch-size", "32", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--jobs", "1"),
]
# A sweep that memorises its examples in a minute.
FLAGS = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "16", "--pool-size", "160", "--augment", "none"),
    *("--batch-size", "16", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--num-shadows", "8"),
    *("--num-threads", "1"),
]
SWEEP = [*FLAGS, "--attack-recipe", "fast", "--methods", "dense", "static", "dpf", "--sparsities", "0.6", "--jobs", "2"]


def read(path: Path) -> list[dict[str, str]]:
    """A CSV file, a dict a line."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def call(script: str, argv: Sequence[object]) -> int:
    """Run a script's main; the exit code."""
    module = importlib.import_module(script)
    code: int = module.main([str(word) for word in argv])
    return code


def path_of(script: str) -> str:
    """`mia.mia_wemem` -> `mia/mia_wemem.py`."""
    return script.replace(".", "/") + ".py"
