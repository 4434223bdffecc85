"""The scripts as functions, and flags of a run that takes a second."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

TRAIN, EXPERIMENT, CHECK = "train", "run_experiment", "test_mia"
UNIFIED, ADVANCED = "mia.unified_mia_evaluation", "mia.mia_advanced"
WEMEM, ONE_CELL = "mia.mia_wemem", "mia.run_mia_evaluation"
SCRIPTS = (TRAIN, EXPERIMENT, CHECK, UNIFIED, ADVANCED, WEMEM, ONE_CELL)
TINY = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "2", "--pool-size", "60", "--augment", "none"),
    *("--batch-size", "32", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--jobs", "1"),
]


def call(script: str, argv: Sequence[str]) -> int:
    """Run a script's main; the exit code."""
    module = importlib.import_module(script)
    code: int = module.main([str(word) for word in argv])
    return code


def path_of(script: str) -> str:
    """`mia.mia_wemem` -> `mia/mia_wemem.py`."""
    return script.replace(".", "/") + ".py"
