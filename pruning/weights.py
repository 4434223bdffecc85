"""All prunable weights of a model as one flat vector: one multiply and one selection serve every layer at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from configs.errors import UsageError


def prunable_weights(model: nn.Module, layers: str = "conv") -> dict[str, Tensor]:
    """By parameter name, in module order, every convolution weight, and for `layers` "all" every linear one as well.

    Never BatchNorm, biases or the classifier, which is the last linear layer in module order: the order in which a
    network's layers are assigned, hence the one that its author calls last. UsageError where that leaves nothing.
    """
    kinds = (nn.Conv2d, nn.Linear) if layers == "all" else (nn.Conv2d,)
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    found = {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, kinds) and module not in classifier
    }
    if not found:
        what = "convolution" if layers == "conv" else "convolution and no linear layer but its classifier"
        raise UsageError(
            f"argument --prune-layers: with {layers} the network has no {what}, so there is nothing to prune"
            + ("; give all" if layers == "conv" else "")
        )
    return found


class FlatWeights:
    """The model's prunable weights moved into one buffer, each parameter a view of its part.

    values: [P] what forward and backward use. grad: [P] where backward accumulates.
    Order: layers in module order; within a convolution, whose view is channels_last, (out, height, width, in), within a
    linear layer (out, in). Ties in magnitude are broken by it.
    """

    def __init__(self, model: nn.Module, layers: str = "conv") -> None:
        weights = prunable_weights(model, layers)
        self.names = tuple(weights)
        self.shapes = tuple(tuple(weight.shape) for weight in weights.values())
        self.sizes = tuple(weight.numel() for weight in weights.values())
        parts = [
            (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).detach().reshape(-1)
            for weight in weights.values()
        ]
        self.values = torch.cat(parts)
        self.grad = torch.zeros_like(self.values)
        for weight, value, grad in zip(weights.values(), self.views(self.values), self.views(self.grad), strict=True):
            weight.data = value
            weight.grad = grad

    def views(self, flat: Tensor) -> list[Tensor]:
        """A [P] vector seen layer by layer in the weights' own shapes (out, in, ...); no copy."""
        return [_view(part, shape) for part, shape in zip(flat.split(self.sizes), self.shapes, strict=True)]

    def by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """The same as contiguous copies under the parameters' names."""
        return {name: view.contiguous() for name, view in zip(self.names, self.views(flat), strict=True)}


def _view(part: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 2:
        return part.view(shape)
    out, inner, height, width = shape
    return part.view(out, height, width, inner).permute(0, 3, 1, 2)


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
