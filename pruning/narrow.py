"""Networks without some of their channels: the same outputs as with these channels zero, from fewer parameters.

A module says which channels can go by `removable`: triples (convolution, normalisation, reader) of names of its own
submodules, the reader being the layer, and the only one, that the channels go to. This file needs torch alone, so that
an exported network can be built with it elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Channels(NamedTuple):
    """Module names: `convolution` makes the channels, `norm` scales them, `reader` alone takes them up."""

    convolution: str
    norm: str
    reader: str


def channels_of(model: nn.Module) -> tuple[Channels, ...]:
    """All channels of a network that can be removed, a layer's at a time, in module order; none where it says none."""
    return tuple(
        Channels(*(f"{name}.{part}".lstrip(".") for part in parts))
        for name, module in model.named_modules()
        for parts in getattr(module, "removable", ())
    )


def with_channels(model: nn.Module, kept: Sequence[Tensor]) -> nn.Module:
    """Take all channels out of a network, in place, but those at these positions, int64 [k] for each of
    `channels_of`; returns it."""
    for channels, index in zip(channels_of(model), kept, strict=True):
        convolution, norm, reader = (model.get_submodule(name) for name in channels)
        _select(convolution, ("weight", "bias"), 0, index)
        _select(norm, ("weight", "bias", "running_mean", "running_var"), 0, index)
        _select(reader, ("weight",), 1, index)
        convolution.out_channels = norm.num_features = len(index)  # type: ignore[assignment]
        setattr(reader, "in_features" if isinstance(reader, nn.Linear) else "in_channels", len(index))
    return model


def _select(module: nn.Module, names: Sequence[str], dim: int, index: Tensor) -> None:
    for name in names:
        value = getattr(module, name)
        if value is not None:
            chosen = value.detach().index_select(dim, index.to(value.device))
            setattr(module, name, nn.Parameter(chosen) if isinstance(value, nn.Parameter) else chosen)


def fitted(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network with as many channels as these weights have, by parameter name, so that they can be loaded into it.

    Changed in place, and without values that mean anything. Of weights that do not belong to it, nothing is taken on
    trust: it never gets larger, and what does not fit still does not.
    """
    kept = []
    for channels in channels_of(model):
        name = f"{channels.convolution}.weight"
        most, given = len(model.get_parameter(name)), weights.get(name)
        width = most if given is None or given.dim() == 0 else len(given)
        kept.append(torch.arange(min(max(width, 1), most)))
    return with_channels(model, kept)


def kept_channels(masks: Mapping[str, Tensor], channels: Sequence[Channels]) -> list[Tensor]:
    """For each of `channels`, the positions, int64 [k], of those that masks, bool by parameter name, do not take away:
    a channel whose filter keeps a weight."""
    return [masks[f"{one.convolution}.weight"].flatten(1).any(1).nonzero().flatten() for one in channels]
