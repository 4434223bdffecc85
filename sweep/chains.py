"""Chains, `--pretrained dense`: every pruned model of a sweep starts from the finished dense model of its number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from artifacts.run_dir import RunDir
from configs.errors import UsageError
from configs.experiment import OWN_DENSE, ExperimentConfig
from pruning.registry import BASELINE


def with_chains(cells: Sequence[ExperimentConfig]) -> list[ExperimentConfig]:
    """The cells of a sweep, of which a dense one never starts from itself; UsageError where no other is there."""
    if cells[0].pretrained == OWN_DENSE and all(cell.method == BASELINE for cell in cells):
        raise UsageError(
            f"argument --pretrained: {OWN_DENSE} is where pruned models start, and --methods has none; leave the flag "
            "out"
        )
    return [
        dataclasses.replace(cell, pretrained=None) if cell.method == BASELINE and cell.pretrained == OWN_DENSE else cell
        for cell in cells
    ]


def check_chain(cells: Sequence[ExperimentConfig]) -> None:
    """UsageError where a cell is to start from a dense one that the sweep has not."""
    for cell in cells:
        if cell.pretrained != OWN_DENSE or any(_starts(dense, cell) for dense in cells):
            continue
        if any(dense.method == BASELINE for dense in cells):
            raise UsageError(
                f"argument --pretrained: the {cell.method} models of train seed {cell.train_seed} start from dense "
                f"ones of that train seed; add {BASELINE} to --replicate-cells"
            )
        raise UsageError(
            f"argument --pretrained: {OWN_DENSE} is this sweep's own dense cell; add {BASELINE} to --methods, or give "
            "the folder of a finished cell"
        )


def _starts(dense: ExperimentConfig, cell: ExperimentConfig) -> bool:
    """Whether a cell's models start from those of a dense one: of two trainings each from its own, or they would agree
    in more than their memberships."""
    return dense.method == BASELINE and dense.control is None and dense.train_seed == cell.train_seed


def chained(config: ExperimentConfig, cells: Sequence[ExperimentConfig], runs_dir: Path) -> ExperimentConfig:
    """A model with the run that it starts from: known by its fingerprint, for its weights may be still to come."""
    cell = next(cell for cell in cells if _starts(cell, config))
    dense = dataclasses.replace(cell, model_index=config.model_index)
    start = RunDir.of(dense, runs_dir)
    return dataclasses.replace(config, pretrained=str(start.model), pretrained_run=dense.fingerprint())
