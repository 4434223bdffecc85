"""In words: which examples a cell's attacks do not score, and which of its models do not serve as shadows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from attacks.arrays import IntArray
from attacks.trimming import ALONE, Service

NAMED = 3  # targets whose tied models are named; of more, their number is said


def left_out_words(
    experiment: str, services: Mapping[int, Service], indices: Sequence[int], partners: IntArray | None
) -> Iterator[str]:
    """A sentence for the examples that are left out, and one for the tied models, where there are any.

    services: by target, as the cell's models are numbered; indices: these numbers, [M]; partners: [M], of complementary
    pairs, where only a model without one deserves a sentence.
    """
    left = [one for one in services.values() if one.scored is not None]
    if left:
        counts = [int((~one.scored).sum()) for one in left if one.scored is not None]
        yield (
            f"{experiment}: {_range(counts)} of {left[0].held_by.size} examples are not scored, by the shadow models "
            f"alone: fewer than {_range([one.fewest for one in left])} of them hold these examples, or do not hold them"
        )
    if partners is not None:
        alone = [index for index, partner in zip(indices, partners, strict=True) if partner == ALONE]
        if alone:
            yield (
                f"{experiment}: without its partner a model serves no target as a shadow: "
                f"model{'s' if len(alone) > 1 else ''} {', '.join(map(str, alone))}"
            )
        return
    tied = {target: np.flatnonzero(one.tied) for target, one in services.items() if one.tied.any()}
    if tied:
        named = [f"{', '.join(map(str, models))} for {target}" for target, models in list(tied.items())[:NAMED]]
        more = f", and for {len(tied) - NAMED} more targets" if len(tied) > NAMED else ""
        yield (
            f"{experiment}: models whose members go with the target's otherwise than the rest's do (the same, the "
            f"opposite, parts of one partition) would give it away and do not serve it: models {'; '.join(named)}{more}"
        )


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
