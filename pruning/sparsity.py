"""Measured sparsity of a finished model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from configs.errors import RunError


@dataclass(frozen=True)
class SparsityReport:
    """Zeros counted in the exported tensors; fractions in [0, 1]."""

    sparsity: float
    sparsity_all_parameters: float
    layers: dict[str, float]
    parameters: int
    prunable_parameters: int


def measure_sparsity(parameters: dict[str, Tensor], prunable: tuple[str, ...]) -> SparsityReport:
    """Count zeros in a model's parameters (no buffers).

    Raises RunError naming the layer when every weight of a layer is zero: such a network is cut in two.
    """
    zeros = {name: int(tensor.numel() - torch.count_nonzero(tensor)) for name, tensor in parameters.items()}
    layers = {name: zeros[name] / parameters[name].numel() for name in prunable}
    cut = [name for name, share in layers.items() if share == 1.0]
    if cut:
        raise RunError(f"layer {cut[0]} is at sparsity 1.0, which cuts the network; use a lower sparsity")
    total = sum(tensor.numel() for tensor in parameters.values())
    prunable_total = sum(parameters[name].numel() for name in prunable)
    return SparsityReport(
        sparsity=sum(zeros[name] for name in prunable) / prunable_total,
        sparsity_all_parameters=sum(zeros.values()) / total,
        layers=layers,
        parameters=total,
        prunable_parameters=prunable_total,
    )
