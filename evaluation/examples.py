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
from attacks.metrics import WeightArray, allowed_false_positives
from attacks.trimming import drawn_together, partners
from evaluation.attack import Answers, CellScores

ATTACK = "lira_bayes"
METRIC = "tpr_at_fpr_0.01"
TENTHS = 10
FIFTHS = 5
FEWEST = 20  # members found, and non-members accused, of which shares are given: of few, resamples are all alike
TOP = "top tenth"

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
    away = [_without(known, target) for target in one.asked.targets[: len(tail)]]
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


def _without(known: Answers, target: int) -> Answers:
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
    return _quantiles(-_mean(known.phi, ~known.membership))


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


def risk_rows(one: CellScores, risks: ExampleRisks, weights: WeightArray) -> Iterator[Record]:
    """Rows of risk.csv: all pairs, then by class, by what most other models answer that do not hold the example, by
    fifth of difficulty to them, and non-member pairs by tenth of their predicted risk, lowest first; last the most
    exposed tenth, where models come in pairs. weights: [B, n], of the resamples."""
    yield _group(one, risks, "all", "all", np.ones_like(risks.held))
    for label in np.unique(one.asked.label):
        yield _group(one, risks, "class", str(label), one.asked.label == label)
    for name, which in (("right", risks.right_away > 0.5), ("wrong", risks.right_away <= 0.5)):
        if which.any():
            yield _group(one, risks, "answer", name, which)
    for fifth in range(FIFTHS):
        yield _group(one, risks, "difficulty", str(fifth + 1), _part(risks.difficulty_away, FIFTHS) == fifth)
    tail = np.where(risks.rest, risks.tail, np.nan)
    tenths = _part(_quantiles(tail.ravel()), TENTHS).reshape(tail.shape)
    for tenth in range(TENTHS):
        row = _group(one, risks, "risk", str(tenth + 1), tenths == tenth)
        if row["num_not_held"]:  # equal risks, such as 0, share a tenth
            yield {**row, "num_examples": None, "num_held": None, "found": None}
    top = most_exposed(one)
    if top is not None:
        top = top[: len(risks.held)]
        yield _group(one, risks, "exposed", TOP, top) | concentration(risks, top, weights)


def most_exposed(one: CellScores) -> BoolArray | None:
    """For each target the tenth of the examples with the highest exposure over all models but the target and its
    partner, bool [T, n].

    None unless models come in complementary pairs: elsewhere, how many other models hold an example may tell whether
    the target does.
    """
    known = one.answers
    if known is None or partners(known.membership) is None:
        return None
    found = []
    for target in one.asked.targets:
        others = _without(known, target)
        values = exposure(others.phi, others.membership)
        top = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")[: values.size // TENTHS]
        found.append(np.isin(np.arange(values.size), top) & ~np.isnan(values))
    return np.stack(found)


def concentration(risks: ExampleRisks, top: BoolArray, weights: WeightArray) -> Record:
    """What share of the found members lies in `top` [T, n], what share of the false positives, and the one minus the
    other with its 95 % interval over resamples of the examples, thresholds and tenths staying as they are.

    Of false positives, each target's share counts as often as it has members that are found: a target with a lower
    threshold finds more, and others. Nothing where there are fewer than FEWEST members found, or false positives, or a
    target without one.
    """
    found, accused = risks.claimed & risks.held, risks.claimed & risks.rest
    if min(found.sum(), accused.sum()) < FEWEST or not accused.any(axis=1).all():
        return {}
    seen = risks.claimed.any(axis=0)  # the others count nowhere
    counts = [side[:, seen].T.astype(np.float64) for side in (found & top, found, accused & top, accused)]
    share_found, share_false = (float(value[0]) for value in _shares(counts, np.ones((1, int(seen.sum())))))
    drawn = np.subtract(*_shares(counts, weights[:, seen].astype(np.float64)))
    low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975])
    return {
        "share_found": share_found,
        "share_false_positives": share_false,
        "difference": share_found - share_false,
        "difference_low": float(low),
        "difference_high": float(high),
    }


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


def _shares(counts: list[Float64Array], weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Both shares of `concentration`, [B] each. counts: [k, T] of found in the tenth, found, accused in it, accused;
    weights: [B, k]."""
    found_top, found, accused_top, accused = (weights @ side for side in counts)
    found = np.where(accused > 0, found, 0.0)  # a target whose false positives were not drawn has no share of them
    every = np.where(found.sum(axis=1) > 0, found.sum(axis=1), np.nan)
    null = (found * accused_top / np.maximum(accused, 1.0)).sum(axis=1)
    return np.where(accused > 0, found_top, 0.0).sum(axis=1) / every, null / every
