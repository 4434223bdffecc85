"""One definition of every metric for all attacks, with bootstrap intervals over examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score, roc_curve

from mia.interface import BoolArray, Float64Array, IntArray

FPR_LIMITS = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01}
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1", "advantage")
METRICS = ("auc", *THRESHOLD_METRICS, "max_accuracy", *FPR_LIMITS)
CHUNK_VALUES = 1 << 21  # resamples are drawn in chunks of about this many weights


@dataclass(frozen=True)
class Metric:
    """A value with the ends of its 95 % interval; all None where the metric is not defined."""

    value: float | None
    ci_low: float | None
    ci_high: float | None


def evaluate_scores(
    scores: Float64Array, membership: BoolArray, threshold: float | None, resamples: int = 1000, seed: int = 0
) -> dict[str, Metric]:
    """Every metric of METRICS for one attack on one target.

    scores: [n], higher = member; membership: bool [n]; threshold: a member is claimed at score >= threshold, or None.
    auc counts ties one half. accuracy is the balanced accuracy (TPR + TNR) / 2, precision, recall, f1 and advantage
    (TPR - FPR) belong to the same threshold; without one they are None. max_accuracy is the best balanced accuracy over
    thresholds on these very scores (optimistic). tpr_at_fpr_x is the largest TPR of a threshold whose FPR is at most x;
    None with fewer than 1/x non-members. Intervals are percentiles of a bootstrap that resamples members and
    non-members apart; one seed draws the same examples for every attack. resamples = 0 gives no intervals.

    Raises ValueError if the shapes differ, a score is NaN, or members or non-members are missing.
    """
    _check(scores, membership)
    values = _point_values(scores, membership, threshold)
    defined = [name for name in METRICS if name in values]
    intervals: dict[str, tuple[float, float]] = {}
    if resamples > 0:
        drawn = bootstrap_values(scores, membership, threshold, resamples, seed)
        ends = np.percentile(np.stack([drawn[name] for name in defined]), (2.5, 97.5), axis=1)
        intervals = {name: (float(low), float(high)) for name, low, high in zip(defined, *ends, strict=True)}
    return {name: Metric(values.get(name), *intervals.get(name, (None, None))) for name in METRICS}


def majority_baseline(membership: BoolArray) -> float:
    """The plain accuracy of naming the larger side for every example, in [0.5, 1]."""
    share = float(np.mean(membership))
    return max(share, 1.0 - share)


def roc(scores: Float64Array, membership: BoolArray) -> tuple[Float64Array, Float64Array]:
    """All points of the ROC curve, (fpr, tpr), one after each distinct score and (0, 0) first.

    Raises ValueError as `evaluate_scores` does.
    """
    _check(scores, membership)
    fpr, tpr, _ = roc_curve(membership, scores, drop_intermediate=False)
    return np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)


def _check(scores: Float64Array, membership: BoolArray) -> None:
    if scores.shape != membership.shape or scores.ndim != 1 or membership.dtype != np.bool_:
        raise ValueError(f"scores {scores.shape} and membership {membership.shape} must be float [n] and bool [n]")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinite values")
    if membership.all() or not membership.any():
        raise ValueError("metrics need members and non-members; one side is empty")


def _defined_limits(non_members: int) -> dict[str, float]:
    return {name: limit for name, limit in FPR_LIMITS.items() if _allowed(limit, non_members) >= 1}


def _allowed(limit: float, non_members: int) -> int:
    """False positives allowed at an FPR limit; 0.01 * 700 is below 7 in floating point."""
    return int(np.floor(limit * non_members + 1e-9))


def _point_values(scores: Float64Array, membership: BoolArray, threshold: float | None) -> dict[str, float]:
    fpr, tpr = roc(scores, membership)
    values = {"auc": float(roc_auc_score(membership, scores)), "max_accuracy": float((tpr + 1.0 - fpr).max() / 2.0)}
    non_members = int((~membership).sum())
    for name, limit in _defined_limits(non_members).items():
        below = np.rint(fpr * non_members) <= _allowed(limit, non_members)
        values[name] = float(tpr[below].max())
    if threshold is not None:
        claimed = scores >= threshold
        true, false = np.array([(claimed & membership).sum()]), np.array([(claimed & ~membership).sum()])
        at = _threshold_values(true, false, int(membership.sum()), non_members)
        values |= {name: float(value[0]) for name, value in at.items()}
    return values


def _threshold_values(true: IntArray, false: IntArray, members: int, non_members: int) -> dict[str, Float64Array]:
    """THRESHOLD_METRICS from counts of true and false positives, [R] each. Precision is 0 where nobody is claimed."""
    tpr, fpr = true / members, false / non_members
    return {
        "accuracy": (tpr + 1.0 - fpr) / 2.0,
        "precision": true / np.maximum(true + false, 1),
        "recall": tpr,
        "f1": 2.0 * true / (true + false + members),
        "advantage": tpr - fpr,
    }


def bootstrap_values(
    scores: Float64Array, membership: BoolArray, threshold: float | None, resamples: int, seed: int
) -> dict[str, Float64Array]:
    """The defined metrics on each resample, float64 [resamples]."""
    distinct, group = np.unique(-scores, return_inverse=True)  # groups of equal scores, the highest score first
    groups = distinct.size
    claimed = None if threshold is None else int(np.searchsorted(distinct, -threshold, side="right"))
    rng_in, rng_out = np.random.default_rng([seed, 0]).spawn(2)
    step = max(1, CHUNK_VALUES // max(groups, scores.size))
    chunks = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        true = _resample(group[membership], groups, count, rng_in)
        false = _resample(group[~membership], groups, count, rng_out)
        chunks.append(weighted_values(true, false, claimed))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _resample(group: npt.NDArray[np.intp], groups: int, count: int, rng: np.random.Generator) -> IntArray:
    """Draw as many examples, with replacement, `count` times; how often each group comes up, int [count, groups]."""
    drawn = group[rng.integers(group.size, size=(count, group.size))]
    drawn += np.arange(count)[:, None] * groups
    return np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)


def weighted_values(true: IntArray, false: IntArray, claimed: int | None) -> dict[str, Float64Array]:
    """Metrics of R weightings at once.

    true, false: members and non-members in each group of equal scores, highest score first, int [R, G], rows of one
    sum. claimed: how many groups reach the threshold, or None.
    """
    members, non_members = int(true[0].sum()), int(false[0].sum())
    true_sum, false_sum = np.cumsum(true, axis=1), np.cumsum(false, axis=1)
    # twice the pairs (member, non-member) in the right order, a tie counting one: exact in integers
    pairs = np.einsum("rg,rg->r", false, 2 * true_sum - true)
    balance = (true_sum * non_members - false_sum * members).max(axis=1) / (members * non_members)
    values = {"auc": pairs / (2.0 * members * non_members), "max_accuracy": 0.5 + np.maximum(balance, 0.0) / 2.0}
    for name, limit in _defined_limits(non_members).items():
        last = (false_sum <= _allowed(limit, non_members)).sum(axis=1)
        values[name] = _before(true_sum, last) / members
    if claimed is not None:
        last = np.full(true.shape[0], claimed)
        values |= _threshold_values(_before(true_sum, last), _before(false_sum, last), members, non_members)
    return values


def _before(sums: IntArray, groups: IntArray) -> IntArray:
    """Cumulative count over the first `groups` groups, [R]."""
    last = np.take_along_axis(sums, np.maximum(groups - 1, 0)[:, None], axis=1)[:, 0]
    return np.where(groups > 0, last, 0)
