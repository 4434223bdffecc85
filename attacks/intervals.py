"""Intervals and tests for cells whose targets share a pool.

A cell has T targets: models of one pipeline, each trained on its own half of one pool of n examples. They share the
examples and each other as shadow models, and two cells compared share the examples and every membership. So neither the
targets nor the (target, example) pairs are independent, and resampling them as if they were gives wrong intervals.

What is drawn independently is the example, with the whole column of its memberships, and, given the examples, the
networks. With one set of example weights for all targets, attacks and cells, theta*_tb is a metric of target t on
resample b; v is its variance over b, averaged over targets, and c its covariance between targets. The variance of the
mean over targets has two parts:

    V = max(0, c) + s^2 / T

what the targets' examples have in common, and s^2, the sample variance of the T values, which holds the variance
between networks and v - c by chance of the examples. The interval is mean +- t sqrt(V), with Satterthwaite's degrees of
freedom (T - 1 in the second part, none spent in the first), and never narrower than what the examples alone give,
mean +- 1.96 sqrt(var_b(mean_t theta*_tb)): an s^2 that is small by chance, or because a TPR has few levels, is not
believed. A difference between two cells is the same on the targets' differences, which the common weights pair example
by example; its p-value belongs to the same interval.

Not seen by s^2 is what the shadow models that the targets share do to all of them at once. Where a sample says what it
is without each group of models (`attacks.jackknife`), there is a second estimate,

    V = V_ex + max(V_J - V_int, V_J / 5),

V_ex being what the examples alone give, with Satterthwaite's (G - 1) (V / (V - V_ex))^2 degrees of freedom of G groups
(infinite where V = V_ex), and the wider of the two intervals counts; so does the larger p-value.

`benchmarks/coverage.py` measures the coverage. With two or three targets that hardly differ the interval is too wide.

One target has no networks' part: its interval holds for that trained network, not for the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .arrays import Float64Array, IntArray
from .jackknife import Deleted, networks_variance

CONFIDENCE = 0.95
MOST_TARGETS = 4096  # that are looked for
STEPS = 60  # halvings, of a search
POWER = 0.8  # chance of finding a difference that is called detectable
LOWEST = {"advantage": -1.0}  # of a metric; 0 for all others, and 1 is the highest of all


@dataclass(frozen=True, eq=False)
class Sample:
    """One metric of T targets: `values` [T], and `resampled` [T, B] under weights common to all of them.

    deleted: the same without each group of models, or None where that is not known.
    """

    values: Float64Array
    resampled: Float64Array
    deleted: Deleted | None = None

    def minus(self, other: Sample) -> Sample:
        """The difference, paired by target, resample and deleted group; ValueError for other targets or resamples."""
        return self._paired(other, 1.0, -1.0)

    def mixed(self, other: Sample, share: float) -> Sample:
        """1 - share of this and share of the other, paired and refused in the same way."""
        return self._paired(other, 1.0 - share, share)

    def _paired(self, other: Sample, own: float, others: float) -> Sample:
        """The sum with these factors."""
        if self.values.shape != other.values.shape or self.resampled.shape != other.resampled.shape:
            raise ValueError(f"samples of {self.resampled.shape} and {other.resampled.shape} cannot be paired")
        mine, theirs = self.deleted, other.deleted
        deleted = None
        if mine is not None and theirs is not None and mine.resampled.shape == theirs.resampled.shape:
            deleted = Deleted(
                own * mine.values + others * theirs.values, own * mine.resampled + others * theirs.resampled
            )
        return Sample(
            own * self.values + others * other.values, own * self.resampled + others * other.resampled, deleted
        )


@dataclass(frozen=True)
class Estimate:
    """The mean over targets, their standard deviation (ddof 1; None of one), and the 95 % interval of the mean.

    common: of its variance what targets have in common, which further ones do not take away; None of one target.
    """

    mean: float
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    num_targets: int
    common: float | None = None


@dataclass(frozen=True)
class Difference:
    """Mean difference a - b over targets, its 95 % interval, and the two-sided p-value of no difference.

    detectable: the smallest true difference whose p-value would have been below 0.05 with a chance of 80 %, without
    correction: (t_0.975 + t_0.8) x standard error (Bloom 1995, minimum detectable effect), the interval's own.
    """

    difference: float
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    num_targets: int
    detectable: float | None = None


def mean_interval(sample: Sample, metric: str) -> Estimate:
    """The mean of a metric over targets, with its interval clipped to the metric's range; no interval if V is 0."""
    mean, targets = float(sample.values.mean()), len(sample.values)
    sd = float(sample.values.std(ddof=1)) if targets > 1 else None
    half = half_width(sample)
    if half == 0.0:
        return Estimate(mean, sd, None, None, targets)
    low, high = max(mean - half, LOWEST.get(metric, 0.0)), min(mean + half, 1.0)
    return Estimate(mean, sd, low, high, targets, _common(sample) if targets > 1 else None)


def difference(a: Sample, b: Sample) -> Difference:
    """a - b, paired by target and by resample. Raises ValueError if the two have other targets or resamples.

    Where V is 0 (the same scores, say) there is neither interval nor p-value.
    """
    paired = a.minus(b)
    mean, targets = float(paired.values.mean()), len(paired.values)
    half = half_width(paired)
    if half == 0.0:
        return Difference(mean, None, None, None, targets)
    # an error of 0 beside another that is not: that one alone decides
    p_value = max(2.0 * float(stats.t.sf(abs(mean) / error, dof)) for error, dof in _errors(paired) if error > 0.0)
    detectable = max(
        float(stats.t.ppf(0.5 + CONFIDENCE / 2, dof) + stats.t.ppf(POWER, dof)) * error
        for error, dof in _errors(paired)
    )
    return Difference(mean, mean - half, mean + half, p_value, targets, detectable)


def half_width(sample: Sample) -> float:
    """Half of the 95 % interval of the mean over targets, before clipping: the largest of those that are defined."""
    return max(float(stats.t.ppf(0.5 + CONFIDENCE / 2, dof)) * error for error, dof in _errors(sample))


def _errors(sample: Sample) -> list[tuple[float, float]]:
    """(standard error, degrees of freedom) from the examples alone, and for several targets of each estimate of V."""
    targets = len(sample.values)
    examples = float(np.var(sample.resampled.mean(axis=0), ddof=1))
    alone = (float(np.sqrt(examples)), np.inf)
    if targets == 1:
        return [alone]
    between = float(np.var(sample.values, ddof=1)) / targets
    found = [alone, _error(_common(sample), between, targets - 1)]
    if sample.deleted is not None:
        groups = sample.deleted.values.shape[1]
        found.append(_error(examples, networks_variance(sample.deleted), groups - 1))
    return found


def _common(sample: Sample) -> float:
    """max(0, c) of several targets: what their examples have in common."""
    targets = len(sample.values)
    examples = float(np.var(sample.resampled.mean(axis=0), ddof=1))
    own = float(np.var(sample.resampled, axis=1, ddof=1).mean())
    return max((targets * examples - own) / (targets - 1), 0.0)


def targets_for(wanted: float, half: float, common: float, targets: int) -> int | None:
    """The fewest targets whose interval would be `wanted` wide on either side, or narrower; None where MOST_TARGETS
    would not do.

    half: of the interval of `targets` (two or more) now; common: of `Estimate`. With t quantiles and degrees of freedom
    as above, V = common + s^2 / T: s^2 is taken to be what makes the interval as wide as it is.
    """

    def half_of(number: IntArray, spread: float) -> Float64Array:
        variance = common + spread / number
        dof = (number - 1) * (variance / (spread / number)) ** 2
        return np.asarray(stats.t.ppf(0.5 + CONFIDENCE / 2, dof) * np.sqrt(variance))

    low, high = 0.0, targets * half**2
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        wide = bool(half_of(np.array([targets]), middle)[0] > half)
        low, high = (low, middle) if wide else (middle, high)
    numbers = np.arange(targets, MOST_TARGETS + 1)
    enough = half_of(numbers, low) <= wanted
    return int(numbers[enough.argmax()]) if enough.any() else None


def _error(known: float, estimated: float, dof: int) -> tuple[float, float]:
    """The standard error of two variances' sum, and Satterthwaite's degrees of freedom: only the second spends any."""
    total = known + estimated
    return float(np.sqrt(total)), dof * (total / estimated) ** 2 if estimated > 0 else np.inf


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (1979): p-values that hold for the whole family. None stays None and counts for none.

    The i-th smallest of m is multiplied by m - i + 1, made non-decreasing, and capped at 1.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for i, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - i)))
        adjusted[place] = largest
    return adjusted
