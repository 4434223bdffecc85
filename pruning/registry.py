"""Pruning methods by name. Light to import: implementations are loaded when a model is trained."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from configs.experiment import ExperimentConfig
    from pruning.base import Pruner


@dataclass(frozen=True)
class Method:
    """One pruning method.

    pruner: "module:Class" of a `pruning.base.Pruner`.
    knobs: the configuration fields that only this method reads, with the share of the epochs (float) or the value
        (int) they take when not given.
    prunes: whether the method has a sparsity, hence a cell for each one of the grid.
    """

    title: str
    pruner: str
    prunes: bool
    knobs: dict[str, float | int]


METHODS: dict[str, Method] = {
    "dense": Method("Dense", "pruning.base:Pruner", prunes=False, knobs={}),
    "static": Method("Static", "pruning.static:StaticPruner", prunes=True, knobs={"prune_epoch": 0.5}),
    "dpf": Method(
        "DPF",
        "pruning.dpf:DPFPruner",
        prunes=True,
        knobs={"prune_freq": 16, "target_epoch": 0.5, "freeze_epoch": 0.9},
    ),
}


def build_pruner(config: ExperimentConfig, steps_per_epoch: int) -> Pruner:
    """The pruner of one run."""
    cls: Any = pkgutil.resolve_name(METHODS[config.method].pruner)
    pruner: Pruner = cls(config, steps_per_epoch)
    return pruner
