"""Dense cells that a sweep's pruned cells are held against: trained for fewer epochs, to be as accurate as they are, or
narrower, to be as large."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.sweep import SweepOptions
from data.registry import DATASETS
from models.registry import OWN, entry_of
from pruning.registry import BASELINE

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)
SHARES = (0.125, 0.25, 0.5)  # of all epochs, where none are named: together less than one more dense cell
SAME_SIZE = 0.15  # how far a control's parameters may be from those that a pruned cell keeps, as a share of these


def with_controls(cells: Sequence[ExperimentConfig], sweep: SweepOptions, data_dir: str) -> list[ExperimentConfig]:
    """The cells of a sweep, each dense one followed by its controls.

    UsageError, naming the flag, for controls without a dense cell, or of as many epochs as it has.
    """
    if not (sweep.controls or sweep.control_epochs):
        return list(cells)
    _check(sweep, cells[0].epochs)
    pruned = [cell for cell in cells if cell.sparsity > 0]
    return [one for cell in cells for one in (cell, *_controls(cell, pruned, sweep, data_dir))]


def _controls(
    cell: ExperimentConfig, pruned: Sequence[ExperimentConfig], sweep: SweepOptions, data_dir: str
) -> list[ExperimentConfig]:
    if cell.method != BASELINE:
        return []
    found = [dataclasses.replace(cell, epochs=epochs, control="accuracy") for epochs in _rungs(cell.epochs, sweep)]
    return found + (_narrower(cell, pruned, data_dir) if "size" in sweep.controls else [])


def _check(sweep: SweepOptions, epochs: int) -> None:
    flag = "--control-epochs" if sweep.control_epochs else "--controls"
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


def _narrower(dense: ExperimentConfig, pruned: Sequence[ExperimentConfig], data_dir: str) -> list[ExperimentConfig]:
    """A dense cell for each number of channels that makes it as large as what a pruned cell keeps, widest first.

    Says where no number does.
    """
    own = dense.channels or (entry_of(dense.arch) or OWN).channels
    if own is None:
        raise UsageError(f"argument --controls: size needs an architecture with a choice of channels, not {dense.arch}")
    shape = _shape(dense, data_dir)
    sizes = {channels: _parameters(_network(dense, shape, channels)) for channels in range(1, own + 1)}
    whole = _network(dense, shape, own)
    chosen = set()
    for cell in pruned:
        kept = _kept(whole, cell)
        nearest = min(sizes, key=lambda channels: abs(sizes[channels] - kept))
        if abs(sizes[nearest] - kept) > SAME_SIZE * kept:
            log.warning(
                "%s %g keeps %s parameters, and no dense %s comes within %g %% of them (%d channels: %s): "
                "it has no control of its size",
                *(cell.method, cell.sparsity, f"{kept:,}", dense.arch, 100 * SAME_SIZE, nearest),
                f"{sizes[nearest]:,}",
            )
        elif nearest < own:  # else the dense cell itself is as large
            chosen.add(nearest)
    return [dataclasses.replace(dense, channels=one, control="size") for one in sorted(chosen, reverse=True)]


def _shape(config: ExperimentConfig, data_dir: str) -> tuple[int, int]:
    """Channels of a picture, and classes."""
    known = DATASETS[config.dataset].shape
    if known is not None:
        return known
    from data.inputs import open_data

    data, _ = open_data(config, data_dir)
    return data.example_shape[0], data.num_classes


def _network(config: ExperimentConfig, shape: tuple[int, int], channels: int) -> nn.Module:
    """Without memory for its weights."""
    import torch

    from models.registry import build_model

    with torch.device("meta"):
        return build_model(config.arch, config.layers, config.width_mult, *shape, channels)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _kept(model: nn.Module, pruned: ExperimentConfig) -> int:
    """Parameters that are not zero at the sparsity of a pruned cell."""
    from pruning.weights import prunable_weights

    prunable = prunable_weights(model, pruned.prune_layers or "conv").values()
    return _parameters(model) - round(pruned.sparsity * sum(weight.numel() for weight in prunable))
