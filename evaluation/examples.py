"""Who is at risk: rows of examples.csv, an example of a cell each (of groups of them: `evaluation.risk`).

Found means that Bayes LiRA's score of a member lies above the target's threshold of TPR@1%FPR, so the mean over all
pairs of target and member is that figure. What an example does as a non-member cannot be counted from its few targets;
its risk is the tail of its own OUT predictive above that threshold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from attacks.arrays import BoolArray, Float64Array
from attacks.exposure import exposure
from attacks.metrics import allowed_false_positives
from attacks.trimming import drawn_together, partners
from evaluation.attack import Answers, CellScores

ATTACK = "lira_bayes"
METRIC = "tpr_at_fpr_0.01"

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleRisks:
    """Of one cell's T targets and n examples. held, rest: bool [T, n], scored pairs of members and of non-members.
    claimed: bool [T, n], above the target's threshold; tail: [T, n], the chance of that if no member, NaN without a
    score. exposure, difficulty, right: [n], as in examples.csv, of all models: they describe examples and score no
    target. difficulty_away, right_away: [T, n], the same without the target and its partner, for groups whose pairs are
    counted: a target that takes part would choose the group of its own non-members."""

    held: BoolArray
    rest: BoolArray
    claimed: BoolArray
    tail: Float64Array
    exposure: Float64Array
    difficulty: Float64Array
    right: Float64Array
    difficulty_away: Float64Array
    right_away: Float64Array


def example_risks(one: CellScores) -> ExampleRisks | None:
    """None where Bayes LiRA was not run on the cell, where only the target could hold what is asked about, or where a
    target has too few non-members for a threshold at 1 % FPR."""
    if ATTACK not in one.results or one.answers is None:
        return None
    claimed, tails = [], []
    for _, result, inside in one.measured_targets(ATTACK):
        allowed = allowed_false_positives(result.among(one.asked.membership))
        if METRIC not in allowed or result.out_tail is None:
            return None
        # the highest score that one non-member too many would reach
        threshold = float(-np.partition(-result.scores[~result.among(inside)], allowed[METRIC])[allowed[METRIC]])
        claimed.append(
            dataclasses.replace(result, scores=(result.scores > threshold).astype(np.float64)).spread() == 1.0
        )
        tails.append(dataclasses.replace(result, scores=result.out_tail(threshold)).spread())
    tail = np.stack(tails)
    inside, scored = one.asked.membership[: len(tail)], ~np.isnan(tail)
    known = one.answers
    away = [without(known, target) for target in one.asked.targets[: len(tail)]]
    return ExampleRisks(
        held=inside & scored,
        rest=~inside & scored,
        claimed=np.stack(claimed),
        tail=tail,
        exposure=exposure(known.phi, known.membership),
        difficulty=_difficulty(known),
        right=_right(known),
        difficulty_away=np.stack([_difficulty(others) for others in away]),
        right_away=np.stack([_right(others) for others in away]),
    )


def without(known: Answers, target: int) -> Answers:
    """Those of all models but the target and its partner, of `partners`."""
    groups = drawn_together(partners(known.membership), len(known.membership))
    position = known.indices.index(target)
    away = next(group for group in groups if position in group)
    kept = [i for i in range(len(known.membership)) if i not in away]
    return Answers(
        tuple(known.indices[i] for i in kept),
        known.phi[kept],
        known.membership[kept],
        None if known.right is None else known.right[kept],
    )


def _difficulty(known: Answers) -> Float64Array:
    return quantiles(-_mean(known.phi, ~known.membership))


def _right(known: Answers) -> Float64Array:
    if known.right is None:
        return np.full(known.phi.shape[1], np.nan)
    return _mean(known.right, ~known.membership)


def _mean(values: Float64Array | BoolArray, which: BoolArray) -> Float64Array:
    """Over the rows that count, [n]; NaN where there are none."""
    count = which.sum(axis=0)
    return np.where(count > 0, np.where(which, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def quantiles(values: Float64Array) -> Float64Array:
    """The share of the values that lie below each, in [0, 1); NaN for NaN."""
    known = np.sort(values[~np.isnan(values)])
    return np.where(np.isnan(values), np.nan, np.searchsorted(known, values) / max(known.size, 1))


def example_rows(one: CellScores, risks: ExampleRisks) -> Iterator[Record]:
    """Rows of examples.csv."""
    held, rest = risks.held.sum(axis=0), risks.rest.sum(axis=0)
    found = _mean(risks.claimed, risks.held)
    times = (risks.claimed & risks.held).sum(axis=0)
    pairs = held * (held - 1)
    alike = times * (times - 1) + (held - times) * (held - times - 1)
    agreement = np.where(pairs > 0, alike / np.maximum(pairs, 1), np.nan)
    risk = _mean(risks.tail, risks.rest)
    columns = {
        "index": one.asked.index,
        "label": one.asked.label,
        "exposure": risks.exposure,
        "difficulty": risks.difficulty,
        "right": risks.right,
        "num_held": held,
        "found": found,
        "agreement": agreement,
        "num_not_held": rest,
        "false_positive_risk": risk,
    }
    for i in range(len(one.asked.index)):
        yield {"experiment": one.asked.experiment, **{name: values[i].item() for name, values in columns.items()}}
