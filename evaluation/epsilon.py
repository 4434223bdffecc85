"""The columns `epsilon_lower` and `epsilon_reason` of a cell: what its targets' guesses say of differential privacy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attacks.epsilon import epsilon_lower
from attacks.registry import ATTACKS, SUITE_OF_OWN, headline_of
from attacks.trimming import partners
from evaluation.attack import CellScores

COINS = "pairs"  # the split of which each example's membership of a target is a fair coin of its own


def epsilon_columns(scored: Sequence[CellScores]) -> dict[str, dict[str, Any]]:
    """By experiment, the bound from the headline attack (of all these cells) on a cell's targets, or why there is none.

    It rests on examples whose membership was thrown alone: no population or test example is among those asked about,
    and an attack that scores some of them is judged by these.
    """
    headline = headline_of({attack for one in scored for attack in one.results})
    return {one.asked.experiment: _columns(one, headline) for one in scored}


def _columns(one: CellScores, headline: str | None) -> dict[str, Any]:
    reason = _why_not(one, headline)
    if reason is not None or headline is None:
        return {"epsilon_lower": None, "epsilon_reason": reason}
    scores = [result.scores for _, result, _ in one.measured_targets(headline)]
    memberships = [result.among(inside) for _, result, inside in one.measured_targets(headline)]
    return {"epsilon_lower": epsilon_lower(scores, memberships), "epsilon_reason": None}


def _why_not(one: CellScores, headline: str | None) -> str | None:
    split = one.asked.cell.names["split"]
    if split != COINS:
        return (
            f"memberships are not known to be fair coins, one for each example, as of --split {COINS} (split: {split})"
        )
    if headline is None or headline not in one.results:
        return one.unavailable.get(headline or "", "its targets have no scores of the headline attack")
    if ATTACKS[headline].suite == SUITE_OF_OWN:
        return f"what {headline} looks at is not known here: it may see models that the target's coins decided on"
    if one.answers is None or partners(one.answers.membership) is None:
        return "too few models are in complementary pairs, so that a target's partner could not be left out"
    return None
