"""Rows of risk.csv: of groups of a cell's examples, how often members are found and how predicted risks fit what is
counted; what the most exposed tenth makes up of the found members, and the difference of that between two cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from attacks.arrays import BoolArray, Float64Array, IntArray
from attacks.exposure import exposure
from attacks.intervals import holm
from attacks.metrics import CHUNK_VALUES, WeightArray
from attacks.trimming import partners
from evaluation.attack import CellScores
from evaluation.examples import ExampleRisks, quantiles, without
from evaluation.pairing import pairs

TENTHS = 10
FIFTHS = 5
FEWEST = 20  # members found, and non-members accused, of which shares are given: of few, resamples are all alike
TOP = "top tenth"
PAIRED = {"against_dense": "paired", "replicate": "replicate"}  # kinds of rows, by kind of comparison

Record = dict[str, Any]
Group = tuple[str, str, BoolArray]  # kind, name, and its examples or pairs: bool [n] or [T, n]


@dataclasses.dataclass(frozen=True, eq=False)
class Concentration:
    """What the most exposed tenth makes up of a cell's found members, and of its false positives. drawn: [B], the first
    minus the second in each resample of the examples, NaN where it is not defined."""

    share_found: float
    share_false_positives: float
    drawn: Float64Array

    @property
    def difference(self) -> float:
        return self.share_found - self.share_false_positives


def risk_rows(cells: Sequence[tuple[CellScores, ExampleRisks]], weights: WeightArray) -> list[Record]:
    """Of the cells of one setting: the groups of each, its most exposed tenth, then pruned cells' minus that of dense
    training, and cells' minus their own, trained again; Holm's correction over the cells, and over the pruned ones.

    weights: [B, n], of the resamples of their examples, the same for all cells.
    """
    rows: list[Record] = []
    found: dict[str, Concentration] = {}
    for one, risks in cells:
        rows += group_rows(one, risks, weights)
        top = most_exposed(one)
        if top is None:
            continue
        top = top[: len(risks.held)]
        row = _group(one, risks, "exposed", TOP, top)
        tenth = concentration(risks, top, weights)
        if tenth is not None:
            found[one.asked.experiment] = tenth
            row |= {name: getattr(tenth, name) for name in ("share_found", "share_false_positives")}
            row |= _tested(tenth.difference, tenth.drawn)
        rows.append(row)
    rows += paired_rows([one for one, _ in cells], found)
    for kind in ("exposed", "paired"):
        family = [row for row in rows if row["kind"] == kind]
        for row, p in zip(family, holm([row.get("p_value") for row in family]), strict=True):
            row["p_holm"] = p
    return rows


def paired_rows(cells: Sequence[CellScores], found: Mapping[str, Concentration]) -> Iterator[Record]:
    """Each pruned cell's `Concentration.difference` minus that of the dense cell that comparisons.csv compares it with,
    and, which is the null, a cell's minus its own when trained again; paired by resample: an example that is drawn
    twice counts twice in both. Of cells with the same models only."""
    for pair in pairs([one.asked for one in cells]):
        names = [pair.a.experiment, pair.b.experiment]
        if pair.kind not in PAIRED or pair.models is not None or not found.keys() >= set(names):
            continue
        ours, theirs = (found[name] for name in names)
        head = {"experiment": names[0], "kind": PAIRED[pair.kind], "group": TOP, "against": names[1]}
        yield head | _tested(ours.difference - theirs.difference, ours.drawn - theirs.drawn)


def _tested(value: float, drawn: Float64Array) -> Record:
    """The bootstrap's 95 % percentile interval, and the two-sided p-value of a normal distribution as wide as it is."""
    known = drawn[~np.isnan(drawn)]
    low, high = np.quantile(known, [0.025, 0.975])
    spread = (high - low) / (2 * norm.ppf(0.975))
    return {
        "difference": value,
        "difference_low": float(low),
        "difference_high": float(high),
        "p_value": float(2 * norm.sf(abs(value) / spread)) if spread > 0 else None,
    }


def group_rows(one: CellScores, risks: ExampleRisks, weights: WeightArray) -> Iterator[Record]:
    """All pairs, then by class, by what most other models answer that do not hold the example, by fifth of difficulty
    to them, and non-member pairs by tenth of their predicted risk, lowest first."""
    groups = [*_groups(one, risks)]
    ends = found_intervals(risks, [which for _, _, which in groups], weights)
    for (kind, name, which), (low, high) in zip(groups, ends, strict=True):
        yield _group(one, risks, kind, name, which) | {"found_low": low, "found_high": high}
    tail = np.where(risks.rest, risks.tail, np.nan)
    tenths = _part(quantiles(tail.ravel()), TENTHS).reshape(tail.shape)
    for tenth in range(TENTHS):
        row = _group(one, risks, "risk", str(tenth + 1), tenths == tenth)
        if row["num_not_held"]:  # equal risks, such as 0, share a tenth
            yield {**row, "num_examples": None, "num_held": None, "found": None}


def _groups(one: CellScores, risks: ExampleRisks) -> Iterator[Group]:
    yield "all", "all", np.ones_like(risks.held)
    for label in np.unique(one.asked.label):
        yield "class", str(label), one.asked.label == label
    for name, which in (("right", risks.right_away > 0.5), ("wrong", risks.right_away <= 0.5)):
        if which.any():
            yield "answer", name, which
    for fifth in range(FIFTHS):
        yield "difficulty", str(fifth + 1), _part(risks.difficulty_away, FIFTHS) == fifth


def found_intervals(
    risks: ExampleRisks, groups: Sequence[BoolArray], weights: WeightArray
) -> list[tuple[float | None, float | None]]:
    """95 % percentile intervals of each group's share of members found, over resamples of the examples with all their
    targets, thresholds staying as they are; None where nothing varies, as with nobody found."""
    # counts are small whole numbers, exact in float32
    held = np.stack([(risks.held & which).sum(axis=0) for which in groups], axis=1).astype(np.float32)
    found = np.stack([(risks.claimed & risks.held & which).sum(axis=0) for which in groups], axis=1).astype(np.float32)
    drawn = []
    step = max(1, CHUNK_VALUES // weights.shape[1])
    for start in range(0, len(weights), step):
        part = weights[start : start + step].astype(np.float32)
        every = part @ held
        drawn.append(np.where(every > 0, (part @ found) / np.maximum(every, 1), np.nan))
    ends: list[tuple[float | None, float | None]] = []
    for column in np.concatenate(drawn).T.astype(np.float64):
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, [0.025, 0.975]) if known.size else (0.0, 0.0)
        ends.append((float(low), float(high)) if low < high else (None, None))
    return ends


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
        others = without(known, target)
        values = exposure(others.phi, others.membership)
        top = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")[: values.size // TENTHS]
        found.append(np.isin(np.arange(values.size), top) & ~np.isnan(values))
    return np.stack(found)


def concentration(risks: ExampleRisks, top: BoolArray, weights: WeightArray) -> Concentration | None:
    """What share of the found members lies in `top` [T, n], and what share of the false positives, also in resamples of
    the examples, [B, n], thresholds and tenths staying as they are.

    Of false positives, each target's share counts as often as it has members that are found: a target with a lower
    threshold finds more, and others. None where there are fewer than FEWEST members found, or false positives, or a
    target without one.
    """
    found, accused = risks.claimed & risks.held, risks.claimed & risks.rest
    if min(found.sum(), accused.sum()) < FEWEST or not accused.any(axis=1).all():
        return None
    seen = risks.claimed.any(axis=0)  # the others count nowhere
    counts = [side[:, seen].T.astype(np.float64) for side in (found & top, found, accused & top, accused)]
    share_found, share_false = (float(value[0]) for value in _shares(counts, np.ones((1, int(seen.sum())))))
    drawn = np.subtract(*_shares(counts, weights[:, seen].astype(np.float64)))
    return Concentration(share_found, share_false, drawn)


def _shares(counts: list[Float64Array], weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Both shares of `concentration`, [B] each. counts: [k, T] of found in the tenth, found, accused in it, accused;
    weights: [B, k]."""
    found_top, found, accused_top, accused = (weights @ side for side in counts)
    found = np.where(accused > 0, found, 0.0)  # a target whose false positives were not drawn has no share of them
    every = np.where(found.sum(axis=1) > 0, found.sum(axis=1), np.nan)
    null = (found * accused_top / np.maximum(accused, 1.0)).sum(axis=1)
    return np.where(accused > 0, found_top, 0.0).sum(axis=1) / every, null / every


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
