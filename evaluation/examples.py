"""Who is at risk: rows of examples.csv, an example of a cell each, and of risk.csv, a group of a cell's examples each.

Found means that Bayes LiRA's score of a member lies above the target's threshold of TPR@1%FPR, so the mean over all
pairs of target and member is that figure. What an example does as a non-member cannot be counted from its few targets;
its risk is the tail of its own OUT predictive above that threshold, and risk.csv says how such tails fit what is
counted over many pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from attacks.arrays import BoolArray, Float64Array, IntArray
from attacks.exposure import exposure
from attacks.metrics import allowed_false_positives
from evaluation.attack import Answers, CellScores

ATTACK = "lira_bayes"
METRIC = "tpr_at_fpr_0.01"
TENTHS = 10
FIFTHS = 5

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleRisks:
    """Of one cell's T targets and n examples. held, rest: bool [T, n], scored pairs of members and of non-members.
    claimed: bool [T, n], above the target's threshold; tail: [T, n], the chance of that if no member, NaN without a
    score. exposure, difficulty, right: [n], as in examples.csv."""

    held: BoolArray
    rest: BoolArray
    claimed: BoolArray
    tail: Float64Array
    exposure: Float64Array
    difficulty: Float64Array
    right: Float64Array


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
    return ExampleRisks(
        held=inside & scored,
        rest=~inside & scored,
        claimed=np.stack(claimed),
        tail=tail,
        exposure=exposure(known.phi, known.membership),
        difficulty=_quantiles(-_mean(known.phi, ~known.membership)),
        right=_right(known),
    )


def _right(known: Answers) -> Float64Array:
    if known.right is None:
        return np.full(known.phi.shape[1], np.nan)
    return _mean(known.right, ~known.membership)


def _mean(values: Float64Array | BoolArray, which: BoolArray) -> Float64Array:
    """Over the rows that count, [n]; NaN where there are none."""
    count = which.sum(axis=0)
    return np.where(count > 0, np.where(which, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _quantiles(values: Float64Array) -> Float64Array:
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


def risk_rows(one: CellScores, risks: ExampleRisks) -> Iterator[Record]:
    """Rows of risk.csv: all pairs, then by class, by what most models answer that do not hold the example, by fifth of
    difficulty, and non-member pairs by tenth of their predicted risk, lowest first."""
    yield _group(one, risks, "all", "all", np.ones_like(risks.held))
    for label in np.unique(one.asked.label):
        yield _group(one, risks, "class", str(label), one.asked.label == label)
    for name, which in (("right", risks.right > 0.5), ("wrong", risks.right <= 0.5)):
        if which.any():
            yield _group(one, risks, "answer", name, which)
    for fifth in range(FIFTHS):
        yield _group(one, risks, "difficulty", str(fifth + 1), _part(risks.difficulty, FIFTHS) == fifth)
    tail = np.where(risks.rest, risks.tail, np.nan)
    tenths = _part(_quantiles(tail.ravel()), TENTHS).reshape(tail.shape)
    for tenth in range(TENTHS):
        row = _group(one, risks, "risk", str(tenth + 1), tenths == tenth)
        yield {**row, "num_examples": None, "num_held": None, "found": None}


def _part(quantile: Float64Array, parts: int) -> IntArray:
    """Which of equal parts of [0, 1) a quantile lies in; -1 for NaN."""
    return np.where(np.isnan(quantile), -1, np.floor(np.nan_to_num(quantile) * parts)).astype(np.int64)


def _group(one: CellScores, risks: ExampleRisks, kind: str, group: str, which: BoolArray) -> Record:
    """which: bool [n] or [T, n], the examples or pairs of the group."""
    held, rest = risks.held & which, risks.rest & which
    return {
        "experiment": one.asked.experiment,
        "kind": kind,
        "group": group,
        "num_examples": int(np.atleast_2d(which).any(axis=0).sum()),
        "num_held": int(held.sum()),
        "found": _share(risks.claimed, held),
        "num_not_held": int(rest.sum()),
        "false_positives": _share(risks.claimed, rest),
        "false_positive_risk": _share(risks.tail, rest),
    }


def _share(values: Float64Array | BoolArray, which: BoolArray) -> float | None:
    return float(values[which].mean()) if which.any() else None
