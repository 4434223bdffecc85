"""One definition of every metric for all attacks, with bootstrap intervals over examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from .arrays import BoolArray, Float64Array
from .streams import BOOTSTRAP, stream

FPR_LIMITS = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01}
FEWEST_FALSE_POSITIVES = 5  # below it, what FPR a threshold has is hardly known
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1", "advantage")
METRICS = ("auc", *THRESHOLD_METRICS, "max_accuracy", *FPR_LIMITS)
WeightArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.signedinteger]

CHUNK_VALUES = 1 << 21  # resamples are drawn in chunks of about this many weights


@dataclass(frozen=True)
class Metric:
    """A value with the ends of its 95 % interval; all None where the metric is not defined."""

    value: float | None
    ci_low: float | None
    ci_high: float | None


def evaluate_scores(
    scores: Float64Array,
    membership: BoolArray,
    threshold: float | None,
    resamples: int = 1000,
    seed: int = 0,
    allowed: Mapping[str, int] | None = None,
) -> dict[str, Metric]:
    """Every metric of METRICS for one attack on one target.

    scores: [n], higher = member; membership: bool [n]; threshold: a member is claimed at score >= threshold, or None.
    auc counts ties one half. accuracy is the balanced accuracy (TPR + TNR) / 2, precision, recall, f1 and advantage
    (TPR - FPR) belong to the same threshold; without one they are None. max_accuracy is the best balanced accuracy over
    thresholds on these very scores (optimistic). tpr_at_fpr_x is the largest TPR of a threshold that accuses at most
    allowed["tpr_at_fpr_x"] non-members; None where that is not given. allowed: of `allowed_false_positives`, for all
    targets whose figures are averaged; None for this target's own. Intervals are percentiles of a bootstrap that
    resamples members and non-members apart; one seed draws the same examples for every attack. At a low FPR few
    examples decide, and a bootstrap of few is too narrow: there the interval is the hull with Clopper-Pearson's.
    resamples = 0: no intervals.

    Raises ValueError if the shapes differ, a score is NaN, or members or non-members are missing.
    """
    _check(scores, membership)
    allowed = allowed_false_positives(membership) if allowed is None else allowed
    values = _point_values(scores, membership, threshold, allowed)
    intervals: dict[str, tuple[float, float]] = {}
    if resamples > 0:
        weights = example_weights(membership[None], resamples, seed)
        drawn = resampled_values(scores, membership, threshold, weights, allowed)
        intervals = percentile_intervals(values, drawn, int(membership.sum()))
    return {name: Metric(values.get(name), *intervals.get(name, (None, None))) for name in METRICS}


def percentile_intervals(
    values: Mapping[str, float], drawn: Mapping[str, Float64Array], members: int
) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of one target's metrics from their resamples, [B] each; the hull with Clopper-Pearson's at a
    low FPR."""
    defined = [name for name in METRICS if name in values]
    ends = np.percentile(np.stack([drawn[name] for name in defined]), (2.5, 97.5), axis=1)
    intervals = {name: (float(low), float(high)) for name, low, high in zip(defined, *ends, strict=True)}
    for name in intervals.keys() & {"auc"}:
        # the curve's trapezoids may sum to 1 - 1e-16 where the resamples, exact in integers, give 1
        intervals[name] = _hull(intervals[name], (values[name], values[name]))
    for name in FPR_LIMITS.keys() & intervals.keys():
        intervals[name] = _hull(intervals[name], clopper_pearson(values[name], members))
    return intervals


def clopper_pearson(rate: float, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share seen in `trials` examples (Clopper & Pearson 1934)."""
    return _clopper_pearson(round(rate * trials), trials)


@lru_cache(maxsize=1 << 14)
def _clopper_pearson(seen: int, trials: int) -> tuple[float, float]:
    """The quantiles are searched for, which takes longer than all resamples of a target; few counts occur often."""
    found = binomtest(seen, trials).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def _hull(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])


def roc(scores: Float64Array, membership: BoolArray) -> tuple[Float64Array, Float64Array]:
    """All points of the ROC curve, (fpr, tpr), one after each distinct score and (0, 0) first.

    Raises ValueError as `evaluate_scores` does.
    """
    _check(scores, membership)
    false, true = _counts(scores, membership)
    return _from_zero(false), _from_zero(true)


def _counts(scores: Float64Array, membership: BoolArray) -> tuple[IntArray, IntArray]:
    """How many non-members and members have this score or a higher one, (false, true), by distinct score, falling."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true = np.cumsum(membership[order], dtype=np.int64)[ends]
    return 1 + ends - true, true


def _from_zero(counts: IntArray) -> Float64Array:
    return np.concatenate(([0.0], counts / counts[-1]))


def _area(false: IntArray, true: IntArray) -> float:
    """Below the ROC curve, by trapezoids from corner to corner: in that order scikit-learn sums them, and rounds."""
    corner = np.ones(true.size, dtype=np.bool_)
    corner[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
    fpr, tpr = _from_zero(false[corner]), _from_zero(true[corner])
    return float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2.0).sum())


def _check(scores: Float64Array, membership: BoolArray) -> None:
    if scores.shape != membership.shape or scores.ndim != 1 or membership.dtype != np.bool_:
        raise ValueError(f"scores {scores.shape} and membership {membership.shape} must be float [n] and bool [n]")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinite values")
    if membership.all() or not membership.any():
        raise ValueError("metrics need members and non-members; one side is empty")


def allowed_false_positives(membership: BoolArray) -> dict[str, int]:
    """How many non-members may be accused, k, by metric of FPR_LIMITS: one number for all targets of a cell.

    membership: bool [n] of one target, or [T, n]. k is the limit times the smallest number of non-members of a target,
    rounded down; a metric with k below FEWEST_FALSE_POSITIVES is left out, for it is not defined.
    """
    fewest = int((~np.atleast_2d(membership)).sum(axis=1).min())
    # 0.01 * 700 is below 7 in floating point
    counts = {name: int(np.floor(limit * fewest + 1e-9)) for name, limit in FPR_LIMITS.items()}
    return {name: count for name, count in counts.items() if count >= FEWEST_FALSE_POSITIVES}


def expected_fpr(false_positives: int, non_members: int) -> float:
    """The mean FPR, over draws of n non-members, of the lowest threshold that accuses at most k of them.

    It lies at the (k + 1)-th highest of n scores, which (k + 1) / (n + 1) of the population exceed on average.
    """
    return (false_positives + 1) / (non_members + 1)


def _point_values(
    scores: Float64Array, membership: BoolArray, threshold: float | None, allowed: Mapping[str, int]
) -> dict[str, float]:
    curve = _counts(scores, membership)
    fpr, tpr = map(_from_zero, curve)
    values = {"auc": _area(*curve), "max_accuracy": float((tpr + 1.0 - fpr).max() / 2.0)}
    non_members = int((~membership).sum())
    for name, count in allowed.items():
        values[name] = float(tpr[np.rint(fpr * non_members) <= count].max())
    if threshold is not None:
        claimed = scores >= threshold
        true, false = np.array([(claimed & membership).sum()]), np.array([(claimed & ~membership).sum()])
        at = _threshold_values(true, false, np.array([membership.sum()]), np.array([non_members]))
        values |= {name: float(value[0]) for name, value in at.items()}
    return values


def _threshold_values(
    true: IntArray, false: IntArray, members: IntArray, non_members: IntArray
) -> dict[str, Float64Array]:
    """THRESHOLD_METRICS from counts of true and false positives, [R] each. Precision is 0 where nobody is claimed."""
    tpr, fpr = true / members, false / non_members
    return {
        "accuracy": (tpr + 1.0 - fpr) / 2.0,
        "precision": true / np.maximum(true + false, 1),
        "recall": tpr,
        "f1": 2.0 * true / (true + false + members),
        "advantage": tpr - fpr,
    }


def example_weights(membership: BoolArray, resamples: int, seed: int) -> WeightArray:
    """How often each example counts in each of B resamples, uint8 [B, n].

    membership: bool [T, n] of the targets that share the examples. One target: members are drawn among members,
    non-members among non-members. Several: an example is drawn with its whole column, among all; a draw in which a
    target has no member or no non-member is drawn again.
    """
    rng = stream(seed, BOOTSTRAP)
    weights = np.zeros((resamples, membership.shape[1]), dtype=np.uint8)
    if len(membership) == 1:
        for side, generator in zip((membership[0], ~membership[0]), rng.spawn(2), strict=True):
            weights[:, side] = _draw(int(side.sum()), resamples, generator)
        return weights
    missing = np.arange(resamples)
    while missing.size:
        weights[missing] = _draw(membership.shape[1], missing.size, rng)
        drawn = weights[missing] > 0
        both = [(drawn & side).any(axis=1) for target in membership for side in (target, ~target)]
        missing = missing[~np.all(both, axis=0)]
    return weights


def _draw(size: int, resamples: int, rng: np.random.Generator) -> WeightArray:
    """`size` draws with replacement out of `size` examples: the count of each, uint8 [resamples, size]."""
    counts = np.empty((resamples, size), dtype=np.uint8)  # a count above 255 has no probability worth naming
    step = max(1, CHUNK_VALUES // max(size, 1))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(size, size=(rows, size))
        drawn += np.arange(rows)[:, None] * size
        counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return counts


def resampled_values(
    scores: Float64Array,
    membership: BoolArray,
    threshold: float | None,
    weights: WeightArray,
    allowed: Mapping[str, int] | None = None,
) -> dict[str, Float64Array]:
    """The defined metrics on each resample, float64 [B]. weights: [B, n], of `example_weights`; allowed: as of
    `evaluate_scores`.

    The false positives allowed are those of the examples themselves, whatever number of non-members a resample draws.
    The figure estimates the TPR at (k + 1) / (n + 1), a fixed FPR; a resample's n differs by 1 / sqrt(n) of itself,
    which moves that FPR far less than rounding limit * n down would, to k - 1 in every other resample.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, inside = scores[order], membership[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))  # of runs of equal scores
    claimed = None if threshold is None else int((ordered[starts] >= threshold).sum())
    allowed = allowed_false_positives(membership) if allowed is None else allowed
    step = max(1, CHUNK_VALUES // max(scores.size, 1))
    # counts multiply to twice the pairs of a member and a non-member at most, half the square of what a resample draws
    drawn_at_most = int(weights.sum(axis=1).max(initial=0))
    counts = np.int32 if drawn_at_most**2 // 2 <= np.iinfo(np.int32).max else np.int64
    chunks = []
    for start in range(0, len(weights), step):
        drawn = weights[start : start + step][:, order].astype(counts)
        true, false = (_by_group(drawn * side, starts) for side in (inside, ~inside))
        chunks.append(weighted_values(true, false, claimed, allowed))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _by_group(counts: IntArray, starts: IntArray) -> IntArray:
    """Sums over runs of equal scores, [R, G]; most attacks have no ties, and summing runs of one is slow."""
    if starts.size == counts.shape[1]:
        return counts
    return np.asarray(np.add.reduceat(counts, starts, axis=1, dtype=counts.dtype))


def weighted_values(
    true: IntArray, false: IntArray, claimed: int | None, allowed: Mapping[str, int]
) -> dict[str, Float64Array]:
    """Metrics of R weightings at once.

    true, false: members and non-members in each group of equal scores, highest score first, int [R, G], each row with
    one of either at least. claimed: how many groups reach the threshold, or None. allowed: false positives by metric.
    """
    members, non_members = (side.sum(axis=1, dtype=side.dtype) for side in (true, false))
    true_sum, false_sum = (np.cumsum(side, axis=1, dtype=side.dtype) for side in (true, false))
    # twice the pairs (member, non-member) in the right order, a tie counting one: exact in integers
    pairs = np.einsum("rg,rg->r", false, 2 * true_sum - true)
    all_pairs = np.multiply(members, non_members, dtype=np.float64)
    balance = (true_sum * non_members[:, None] - false_sum * members[:, None]).max(axis=1) / all_pairs
    values = {"auc": pairs / (2.0 * all_pairs), "max_accuracy": 0.5 + np.maximum(balance, 0.0) / 2.0}
    for name, count in allowed.items():
        values[name] = _before(true_sum, (false_sum <= count).sum(axis=1)) / members
    if claimed is not None:
        last = np.full(true.shape[0], claimed)
        values |= _threshold_values(_before(true_sum, last), _before(false_sum, last), members, non_members)
    return values


def _before(sums: IntArray, groups: IntArray) -> IntArray:
    """Cumulative count over the first `groups` groups, [R]."""
    last = np.take_along_axis(sums, np.maximum(groups - 1, 0)[:, None], axis=1)[:, 0]
    return np.where(groups > 0, last, 0)
