"""Masks and scores written out one weight at a time, in plain Python, to hold the pruners' against."""

from __future__ import annotations

import math
from collections.abc import Sequence

WORD = 2**64


def scores(seed: int, count: int) -> list[int]:
    """SplitMix64 as its authors write it: a state that a constant is added to, and a hash of it."""
    state, found = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
        found.append((z ^ (z >> 31)) >> 1)
    return found


def layers(sizes: tuple[int, ...]) -> list[range]:
    """The positions of each layer."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def random_mask(seed: int, sizes: tuple[int, ...], kept: list[int]) -> list[int]:
    """Position j is kept where the position with the j-th smallest score of its layer is among the first `kept`."""
    drawn = scores(seed, sum(sizes))
    mask: list[int] = []
    for positions, count in zip(layers(sizes), kept, strict=True):
        order = sorted(positions, key=lambda position: drawn[position])
        mask += [int(position - positions.start < count) for position in order]
    return mask


def replaced(
    weights: list[float], mask: list[int], growth: Sequence[float], sizes: tuple[int, ...], share: float
) -> tuple[list[int], list[int]]:
    """Of an update of SET or RigL: the mask of weights that stay, and the new mask."""
    stay, new = [0] * len(mask), [0] * len(mask)
    for positions in layers(sizes):
        active = sorted((p for p in positions if mask[p]), key=lambda p: abs(weights[p]))
        count = round(share * len(active))
        staying = set(active[count:])
        candidates = sorted((p for p in positions if p not in staying), key=lambda p: growth[p])
        for position in positions:
            stay[position] = int(position in staying)
            new[position] = int(position in staying or position in candidates[len(candidates) - count :])
    return stay, new


def shrunk(weights: list[float], mask: list[int], count: int) -> list[int]:
    """The mask with its smallest weights masked as well, until `count` are."""
    active = sorted((p for p in range(len(mask)) if mask[p]), key=lambda p: abs(weights[p]))
    gone = set(active[: count - mask.count(0)])
    return [int(bool(one) and position not in gone) for position, one in enumerate(mask)]


def erk(shapes: list[tuple[int, ...]], sparsity: float) -> list[float]:
    """Weights per layer, not whole: the scale of the densities is found by halving an interval."""
    sizes = [math.prod(shape) for shape in shapes]
    low, high = 0.0, float(max(sizes))
    for _ in range(200):
        scale = (low + high) / 2
        total = sum(min(size, scale * sum(shape)) for size, shape in zip(sizes, shapes, strict=True))
        low, high = (scale, high) if total < sum(sizes) - round(sparsity * sum(sizes)) else (low, scale)
    return [min(float(size), low * sum(shape)) for size, shape in zip(sizes, shapes, strict=True)]
