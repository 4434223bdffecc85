"""From scores of several targets to one figure with its interval, for one cell and for pairs of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackResult
from attacks.intervals import Estimate, Sample, mean_interval
from attacks.jackknife import Deleted
from attacks.metrics import (
    Metric,
    WeightArray,
    evaluate_scores,
    example_weights,
    expected_fpr,
    percentile_intervals,
    resampled_values,
)
from evaluation.deletion import Deletions

RESAMPLES = 1000


def common_weights(memberships: Sequence[BoolArray], seed: int, resamples: int = RESAMPLES) -> WeightArray:
    """How often each example counts in each resample, [B, n]: one draw for all cells and attacks of a split.

    memberships: bool [T, n] of each cell; the largest decides, so that all cells of a split are paired.
    """
    return example_weights(max(memberships, key=len), resamples, seed)


@dataclass(frozen=True, eq=False)
class Measured:
    """One variant on one target: its figures by metric, and the defined ones on every resample, [B] each.

    result: of the scored examples; inside: which of these are members; weights: [B, k], of these. allowed: the false
    positives of the metrics at a low FPR (`attacks.metrics.allowed_false_positives`), the same for all targets of a
    cell. deleted: the metrics without each group of models, as of `evaluation.deletion`, where that is known.
    """

    result: AttackResult
    inside: BoolArray
    weights: WeightArray
    allowed: Mapping[str, int]
    values: Mapping[str, Metric]
    drawn: Mapping[str, Float64Array]
    deleted: Deletions = field(default_factory=dict)

    @property
    def num_examples(self) -> int:
        """How many were scored."""
        return self.inside.size

    def point(self, metric: str) -> float | None:
        """The metric on the examples themselves; None where it is not defined."""
        return self.values[metric].value

    def fewer(self, metric: str, count: int) -> Measured:
        """The same with `count` false positives allowed by a metric at a low FPR, without the target's own interval."""
        if self.allowed[metric] == count:
            return self
        of = self.result.scores, self.inside, None
        values = evaluate_scores(*of, resamples=0, allowed={metric: count})
        drawn = resampled_values(*of, self.weights, {metric: count})
        return replace(
            self, allowed={metric: count}, values={metric: values[metric]}, drawn={metric: drawn[metric]}, deleted={}
        )


def measured(
    result: AttackResult,
    membership: BoolArray,
    values: Mapping[str, Metric],
    weights: WeightArray,
    allowed: Mapping[str, int],
    deleted: Deletions | None = None,
) -> Measured:
    """Resample what was measured; the target's own intervals come from the same resamples.

    membership: bool [n], of all examples; values: of `attacks.metrics.evaluate_scores`, or a part of it, with the same
    `allowed`; weights: [B, k], of the k examples that have a score.
    """
    inside = result.among(membership)
    drawn = resampled_values(result.scores, inside, result.threshold, weights, allowed)
    known = {metric: one.value for metric, one in values.items() if one.value is not None}
    ends = percentile_intervals(known, drawn, int(inside.sum()))
    filled = {metric: Metric(one.value, *ends.get(metric, (None, None))) for metric, one in values.items()}
    kept = {metric: drawn[metric] for metric in known}
    return Measured(result, inside, weights, allowed, filled, kept, deleted or {})


def sample(found: Mapping[int, Measured], metric: str, targets: Sequence[int] | None = None) -> Sample | None:
    """One metric over the targets (by model index) that define it; None where none does."""
    present = [one for target, one in found.items() if targets is None or target in targets]
    present = [one for one in present if one.point(metric) is not None]
    if not present:
        return None
    values = np.array([one.point(metric) for one in present], dtype=np.float64)
    deleted = None
    if len(present) > 1 and all(metric in one.deleted for one in present):
        without = np.stack([one.deleted[metric] for one in present])
        deleted = Deleted(without[:, :, 0], without[:, :, 1:])
    return Sample(values, np.stack([one.drawn[metric] for one in present]), deleted)


def paired_samples(found: Sequence[Mapping[int, Measured]], metric: str, targets: Sequence[int]) -> list[Sample] | None:
    """One metric of several cells over the targets that all have; None where one of them does not define it.

    At a low FPR all are allowed the same false positives, the smallest of their numbers: cells with other targets may
    have other numbers, and a TPR at another FPR would be a difference between the cells.
    """
    cells = [{target: one[target] for target in targets if target in one} for one in found]
    counts = [one.allowed[metric] for cell in cells for one in cell.values() if metric in one.allowed]
    if counts:
        cells = [
            {target: one.fewer(metric, min(counts)) for target, one in cell.items() if metric in one.allowed}
            for cell in cells
        ]
    samples = [one for cell in cells if (one := sample(cell, metric)) is not None]
    if len(samples) < len(cells) or len({one.values.shape for one in samples}) > 1:
        return None
    return samples


def low_fpr(found: Mapping[int, Measured], metric: str) -> dict[str, Any]:
    """`false_positives` and `expected_fpr` (its mean over targets) of a metric at a low FPR; empty for all others."""
    present = [one for one in found.values() if metric in one.allowed]
    if not present:
        return {}
    count = present[0].allowed[metric]
    rates = [expected_fpr(count, int((~one.inside).sum())) for one in present]
    return {"false_positives": count, "expected_fpr": float(np.mean(rates))}


def estimate(found: Mapping[int, Measured], metric: str) -> Estimate | None:
    """The mean over targets with its interval; of one target, its value with its own interval. None if undefined."""
    over = sample(found, metric)
    if over is None:
        return None
    if len(over.values) > 1:
        return mean_interval(over, metric)
    only = next(one.values[metric] for one in found.values() if one.point(metric) is not None)
    return Estimate(float(over.values[0]), None, only.ci_low, only.ci_high, 1)
