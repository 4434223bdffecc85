"""Random numbers for masks that are the same on every device, need no state, and do not make the CPU wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def random_scores(seed: int, count: int, device: torch.device) -> Tensor:
    """int64 [count] in [0, 2^63): outputs 1 to `count` of SplitMix64 from this seed, without their lowest bit.

    Steele, Lea & Flood, OOPSLA 2014 (figure 17): each output is a hash of its number alone.
    """
    numbers = torch.arange(1, count + 1, device=device) * _signed(GOLDEN) + _signed(seed)
    numbers = (numbers ^ _shifted(numbers, 30)) * _signed(FIRST)
    numbers = (numbers ^ _shifted(numbers, 27)) * _signed(SECOND)
    return _shifted(numbers ^ _shifted(numbers, 31), 1)


def random_mask(seed: int, sizes: Sequence[int], kept: Sequence[int | Tensor], device: torch.device) -> Tensor:
    """Bool [P], P = sum(sizes), with exactly kept[l] ones among the sizes[l] weights of layer l, each set as likely.

    kept: numbers, or scalars on the device, which are not read back. Of one seed, a mask that keeps more of each layer
    keeps all that another one does.
    """
    scores = random_scores(seed, sum(sizes), device).split(list(sizes))
    return torch.cat([layer.argsort() < count for layer, count in zip(scores, kept, strict=True)])


def _signed(number: int) -> int:
    """The same 64 bits, as int64 has them."""
    return (number + 2**63) % 2**64 - 2**63


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left."""
    shifted: Tensor = (numbers >> bits) & (2 ** (64 - bits) - 1)
    return shifted
