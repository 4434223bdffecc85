"""Pruning methods by name. A new one is a file with a subclass of `Pruner`, and one line here.

Light to import, for `--help` reads the declarations: a method's file imports torch where it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from pruning.base import Pruner

_CLASSES = {
    "dense": "pruning.base:Pruner",
    "static": "pruning.static:StaticPruner",
    "dpf": "pruning.dpf:DPFPruner",
    "random": "pruning.random:RandomPruner",
    "gmp": "pruning.gmp:GMPPruner",
    "set": "pruning.set:SETPruner",
    "rigl": "pruning.rigl:RigLPruner",
    "snip": "pruning.snip:SNIPPruner",
    "two_four": "pruning.two_four:TwoFourPruner",
}
METHODS: dict[str, type[Pruner]] = {name: resolve_name(where) for name, where in _CLASSES.items()}


def all_knobs() -> tuple[str, ...]:
    """The names of all methods' own knobs, each once: columns of the tables."""
    return tuple(dict.fromkeys(name for method in METHODS.values() for name in method.Knobs.names()))


def prunes(method: str | None) -> bool:
    """Whether a method has a sparsity, hence a cell for each one of the grid; a method of that name here unknown does,
    where no method is known (None) there is none."""
    return method is not None and (method not in METHODS or METHODS[method].prunes)


def sparsities_of(method: str, grid: Sequence[float]) -> Sequence[float]:
    """The sparsities at which a method has a cell, given those of the grid: 0 where it does not prune."""
    declared = METHODS[method]
    if not declared.prunes:
        return (0.0,)
    return grid if declared.fixed_sparsity is None else (declared.fixed_sparsity,)


def build_pruner(config: ExperimentConfig, steps_per_epoch: int) -> Pruner:
    """The pruner of one run."""
    return METHODS[config.method](config, steps_per_epoch)


def stored_config(fields: Any) -> ExperimentConfig:
    """Read back what `ExperimentConfig.to_json` wrote; UsageError for unknown or ill-typed fields."""
    method = fields.get("method") if isinstance(fields, dict) else None
    if isinstance(method, str) and method not in METHODS:
        raise UsageError(f"unknown method {method[:80]!r}; known are {', '.join(METHODS)}")
    return ExperimentConfig.from_dict(fields, METHODS[method].Knobs if isinstance(method, str) else Pruner.Knobs)
