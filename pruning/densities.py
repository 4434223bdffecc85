"""How many weights each layer keeps, decided before any weight is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def kept_by_layer(densities: str, shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[int]:
    """Weights that each layer keeps; of P in all exactly `P - round(sparsity * P)` together, never more than it has.

    shapes: (out, in, height, width), or (out, in). densities: "uniform", the same share in every layer, the first one
    included (Evci et al. 2020 leave it dense); "erk", the Erdős-Rényi kernel of the same paper (section 3): a layer's
    density is in proportion to sum(shape) / prod(shape), which for linear layers is the Erdős-Rényi graph of Mocanu et
    al. 2018 (equation 1). A layer that would be over full is dense, and the others share what is left. Fractions of a
    weight go to the layers that lack the largest ones, the earlier first.
    """
    sizes = [math.prod(shape) for shape in shapes]
    shares = sizes if densities == "uniform" else [sum(shape) for shape in shapes]
    left = sum(sizes) - round(sparsity * sum(sizes))
    exact: list[Fraction] = [Fraction(0)] * len(sizes)
    open_layers = list(range(len(sizes)))
    while open_layers:
        scale = Fraction(left, sum(shares[layer] for layer in open_layers))
        full = [layer for layer in open_layers if scale * shares[layer] >= sizes[layer]]
        for layer in full or open_layers:
            exact[layer] = Fraction(sizes[layer]) if full else scale * shares[layer]
        left -= sum(sizes[layer] for layer in full)
        open_layers = [layer for layer in open_layers if layer not in full] if full else []
    kept = [math.floor(count) for count in exact]
    by_fraction = sorted(range(len(sizes)), key=lambda layer: kept[layer] - exact[layer])
    for layer in by_fraction[: sum(sizes) - round(sparsity * sum(sizes)) - sum(kept)]:
        kept[layer] += 1
    return kept
