"""Networks without BatchNorm, whose statistics let every example of a batch move the outputs of the others."""

from __future__ import annotations

import math

from torch import nn

CHANNELS = 4  # of a group, where the width allows


def group_normed(model: nn.Module) -> nn.Module:
    """The model, changed in place, with a GroupNorm (Wu & He 2018, arXiv 1803.08494) for each BatchNorm, new scales
    and shifts being 1 and 0: four channels a group, or more where that would not divide them or be over 32 groups."""
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(model, name, nn.GroupNorm(groups_of(child.num_features), child.num_features))
        else:
            group_normed(child)
    return model


def groups_of(channels: int) -> int:
    """Groups of so many channels."""
    return math.gcd(channels, min(32, max(1, channels // CHANNELS)))
