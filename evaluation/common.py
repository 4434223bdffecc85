"""Cells with unequal numbers of finished models, attacked again with the models that both of a pair have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from attacks.metrics import WeightArray
from attacks.registry import ATTACKS
from evaluation.attack import Attacker, CellScores, attack_cell
from evaluation.pairing import Pair

Which = tuple[str, tuple[int, ...] | None]  # experiment, and the models it is attacked with; None for all of them


def sides(pair: Pair) -> list[Which]:
    """Which attack on a, on b and on the others a comparison takes."""
    return [(asked.experiment, pair.models) for asked in pair.cells]


def attack_common(
    chosen: Sequence[Pair], attacker: Attacker, weights_of: Callable[[tuple[str, ...]], WeightArray]
) -> dict[Which, CellScores]:
    """For pairs of cells with other models, both on the same targets and shadows. weights_of: resamples of a split.

    Only attacks that train nothing: the others would train their networks once more for each such pair.
    """
    cheap = tuple(name for name in attacker.names if not ATTACKS[name].trains_network)
    found: dict[Which, CellScores] = {}
    for pair in chosen:
        for which, asked in zip(sides(pair), pair.cells, strict=True):
            if pair.models is None or which in found:
                continue
            scored = CellScores(asked.only(pair.models))
            weights = weights_of(asked.split)
            list(attack_cell(scored.asked, [], dataclasses.replace(attacker, names=cheap), scored, weights))
            found[which] = scored
    return found


def _listed(items: Iterable[object]) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}"


def in_words(chosen: Sequence[Pair], attacker: Attacker) -> list[str]:
    """A line for the cells of each comparison that is made on fewer models than one of them has."""
    dear = [ATTACKS[name].title for name in attacker.names if ATTACKS[name].trains_network]
    without = f"; {', '.join(dear)} would have to train again, and are not compared" if dear else ""
    return [
        f"{_listed(asked.experiment for asked in pair.cells)} have "
        f"{_listed(len(asked.cell.models) for asked in pair.cells)} finished models: they are compared on the "
        f"{len(pair.models)} that {'all' if pair.ladder else 'both'} have{without}"
        for pair in chosen
        if pair.models is not None
    ]
