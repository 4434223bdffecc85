"""From scores of several targets to one figure with its interval, for one cell and for pairs of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mia.inference import Estimate, Sample, mean_interval
from mia.interface import AttackResult, BoolArray, Float64Array
from mia.metrics import Metric, WeightArray, example_weights, percentile_intervals, resampled_values

RESAMPLES = 1000


def common_weights(memberships: Sequence[BoolArray], seed: int, resamples: int = RESAMPLES) -> WeightArray:
    """How often each example counts in each resample, [B, n]: one draw for all cells and attacks of a split.

    memberships: bool [T, n] of each cell; the largest decides, so that all cells of a split are paired.
    """
    return example_weights(max(memberships, key=len), resamples, seed)


@dataclass(frozen=True, eq=False)
class Measured:
    """One variant on one target: its figures by metric, and the defined ones on every resample, [B] each.

    num_examples: how many it scored.
    """

    num_examples: int
    values: Mapping[str, Metric]
    drawn: Mapping[str, Float64Array]


def measured(
    result: AttackResult, membership: BoolArray, values: Mapping[str, Metric], weights: WeightArray
) -> Measured:
    """Resample what was measured; the target's own intervals come from the same resamples.

    membership: bool [n], of all examples; values: of `mia.metrics.evaluate_scores`, or a part of it; weights: [B, k],
    of the k examples that have a score.
    """
    inside = result.among(membership)
    drawn = resampled_values(result.scores, inside, result.threshold, weights)
    known = {metric: one.value for metric, one in values.items() if one.value is not None}
    ends = percentile_intervals(known, drawn, int(inside.sum()))
    filled = {metric: Metric(one.value, *ends.get(metric, (None, None))) for metric, one in values.items()}
    return Measured(result.scores.size, filled, {metric: drawn[metric] for metric in known})


def sample(found: Mapping[int, Measured], metric: str, targets: Sequence[int] | None = None) -> Sample | None:
    """One metric over the targets (by model index) that define it; None where none does."""
    present = [
        one
        for target, one in found.items()
        if (targets is None or target in targets) and one.values[metric].value is not None
    ]
    if not present:
        return None
    values = np.array([one.values[metric].value for one in present], dtype=np.float64)
    return Sample(values, np.stack([one.drawn[metric] for one in present]))


def estimate(found: Mapping[int, Measured], metric: str) -> Estimate | None:
    """The mean over targets with its interval; of one target, its value with its own interval. None if undefined."""
    over = sample(found, metric)
    if over is None:
        return None
    if len(over.values) > 1:
        return mean_interval(over, metric)
    only = next(one.values[metric] for one in found.values() if one.values[metric].value is not None)
    return Estimate(float(over.values[0]), None, only.ci_low, only.ci_high, 1)
