"""All prunable weights of a model as one flat vector: one multiply and one selection serve every layer at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def prunable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every convolution weight by its parameter name. Never BatchNorm, biases or the final linear layer."""
    return {f"{name}.weight": module.weight for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


class FlatWeights:
    """The model's convolution weights moved into one buffer, each parameter a channels_last view of its part.

    values: [P] what forward and backward use. grad: [P] where backward accumulates.
    Order: layers in module order, and (out, height, width, in) within one; ties in magnitude are broken by it.
    """

    def __init__(self, model: nn.Module) -> None:
        weights = prunable_weights(model)
        if not weights:
            raise ValueError("the model has no convolution, so there is nothing to prune")
        self.names = tuple(weights)
        self.shapes = tuple(tuple(weight.shape) for weight in weights.values())
        self.sizes = tuple(weight.numel() for weight in weights.values())
        parts = [weight.detach().permute(0, 2, 3, 1).reshape(-1) for weight in weights.values()]
        self.values = torch.cat(parts)
        self.grad = torch.zeros_like(self.values)
        for weight, value, grad in zip(weights.values(), self.views(self.values), self.views(self.grad), strict=True):
            weight.data = value
            weight.grad = grad

    def views(self, flat: Tensor) -> list[Tensor]:
        """A [P] vector seen layer by layer in the weights' own shapes (out, in, height, width); no copy."""
        parts = flat.split(self.sizes)
        return [
            part.view(out, height, width, inner).permute(0, 3, 1, 2)
            for part, (out, inner, height, width) in zip(parts, self.shapes, strict=True)
        ]

    def by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """The same as contiguous copies under the parameters' names."""
        return {name: view.contiguous() for name, view in zip(self.names, self.views(flat), strict=True)}


def magnitude_mask(weights: Tensor, sparsity: float) -> Tensor:
    """Mask [P] of the same dtype: 0 for exactly `round(sparsity * P)` weights of smallest magnitude, 1 for the rest."""
    return lowest_masked(weights.abs(), round(sparsity * weights.numel())).to(weights.dtype)


def lowest_masked(scores: Tensor, count: int) -> Tensor:
    """Bool [P]: False for the `count` lowest of these scores [P], True for the rest.

    Ties are broken by position: of equal scores the earlier are masked first; a cumulative sum shares out those at the
    threshold.
    """
    if count == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = _smallest(scores, count)
    below = scores < threshold
    ties = scores == threshold
    return ~(below | (ties & (ties.cumsum(0) <= count - below.sum())))


def _smallest(scores: Tensor, count: int) -> Tensor:
    """The `count`-th smallest of [P], a scalar on its device. (`torch.quantile` fails above 2^24 elements.)

    `kthvalue` is the quickest on a CPU; on a GPU it has one block do all the work, where sorting uses all of them.
    """
    if scores.device.type == "cuda":
        return scores.sort().values[count - 1]
    return scores.kthvalue(count).values
