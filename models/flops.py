"""Multiply-adds of the dense network, layer by layer, so that a sparse one can be weighed by its densities."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def layer_flops(model: nn.Module, shape: Sequence[int], device: str = "meta") -> dict[str, int]:
    """Multiply-adds of each convolution and linear layer, by module name, for one example of this shape; no biases.

    A pass through a copy: neither the model's buffers nor any random numbers are touched. device: meta for a pass over
    shapes alone, which not every network bears.
    """
    shadow = copy.deepcopy(model).to(device).eval()
    counts: dict[str, int] = {}
    for name, module in shadow.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(partial(_count, counts, name))
    with torch.no_grad():
        shadow(torch.zeros(1, *shape, device=device))
    return counts


def _count(counts: dict[str, int], name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
    # Every number of a layer's output is one weight row long: in/groups x kernel, or the linear layer's inputs.
    weight = module.weight
    assert isinstance(weight, Tensor)
    counts[name] = counts.get(name, 0) + output.numel() * weight[0].numel()
