"""Dense cells that a sweep's pruned cells are held against: trained for fewer epochs, to be as accurate as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.sweep import SweepOptions
from pruning.registry import BASELINE

SHARES = (0.125, 0.25, 0.5)  # of all epochs, where none are named: together less than one more dense cell


def control_cells(cell: ExperimentConfig, sweep: SweepOptions) -> list[ExperimentConfig]:
    """The controls of a dense cell; none of any other, and none where none are asked for."""
    if cell.method != BASELINE:
        return []
    return [dataclasses.replace(cell, epochs=epochs, control="accuracy") for epochs in _rungs(cell.epochs, sweep)]


def check_controls(sweep: SweepOptions, epochs: int) -> None:
    """UsageError, naming the flag, for controls without a dense cell, or of as many epochs as it has."""
    flag = "--control-epochs" if sweep.control_epochs else "--controls"
    if not (sweep.controls or sweep.control_epochs):
        return
    if BASELINE not in sweep.methods:
        raise UsageError(f"argument {flag}: controls are {BASELINE} cells; add {BASELINE} to --methods")
    longest = max(sweep.control_epochs, default=0)
    if longest >= epochs:
        raise UsageError(f"argument --control-epochs: {longest} is not below --epochs {epochs}; give fewer")
    if "accuracy" in sweep.controls and not _rungs(epochs, sweep):
        raise UsageError(f"argument --controls: accuracy trains for fewer epochs than --epochs {epochs}; give more")


def _rungs(epochs: int, sweep: SweepOptions) -> Sequence[int]:
    """The epochs of the shorter trainings, in the order that they are named in."""
    if sweep.control_epochs:
        return sweep.control_epochs
    wanted = [max(1, round(share * epochs)) for share in SHARES] if "accuracy" in sweep.controls else []
    return [one for one in dict.fromkeys(wanted) if one < epochs]
