"""Cells that were asked for nothing but their names, for tests of what is compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from configs.experiment import ExperimentConfig
from evaluation.attack import Targets
from pruning.registry import all_knobs
from sweep.plan import resolve


def asked(method: str, sparsity: float = 0.0, models: int = 9, **changes: Any) -> Targets:
    """A cell that this project would train; changes: of its configuration, and `accuracy`, `num_test`, `name`."""
    accuracy, num_test, name = (changes.pop(key, None) for key in ("accuracy", "num_test", "name"))
    knobs = {key: changes.pop(key) for key in all_knobs() if key in changes}
    config = resolve(ExperimentConfig(method=method, sparsity=sparsity, **changes), "", knobs)
    names = {**dict.fromkeys(all_knobs()), **config.described()}
    return with_names(names, name or config.fingerprint()[:8], models, accuracy, num_test, True)


def with_names(
    names: dict[str, Any],
    name: str,
    models: int = 9,
    accuracy: float | None = None,
    num_test: int | None = None,
    trained_here: bool = False,
) -> Targets:
    """A cell with these names; all its models play the target."""
    indices = range(models)
    known = {"experiment": name, "names": {"experiment": name, **names}, "trained_here": trained_here, "seed": 0}
    cell: Any = SimpleNamespace(**known, models=dict.fromkeys(indices))
    summaries: list[dict[str, Any]] = [{"test_accuracy": accuracy, "num_test": num_test} for _ in indices]
    none = np.empty(0, dtype=np.int64)
    membership = np.zeros((models, 0), dtype=np.bool_)
    return Targets(cell, tuple(indices), none, none, membership, ("data", "split"), summaries, (10, 1, 0, False))
