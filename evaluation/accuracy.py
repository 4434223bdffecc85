"""How far two cells' test accuracies differ, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MATCHED = 0.01  # difference in mean test accuracy up to which two cells may be compared as equally accurate
NORMAL = 1.959963984540054  # the normal distribution's 97.5 % point

Summaries = Sequence[Mapping[str, Any]]  # of trainings: test_accuracy in [0, 1], num_test; None where not known


@dataclass(frozen=True)
class AccuracyDifference:
    """Mean test accuracy of a minus that of b, in [-1, 1], and its 95 % interval; no interval where not known."""

    difference: float
    ci_low: float | None
    ci_high: float | None

    def cannot_be_told_apart(self, most: float) -> bool:
        """Whether it is at most `most` and no more than the test pictures' chance, as far as that is known."""
        unknown = self.ci_low is None or self.ci_high is None
        return abs(self.difference) <= most and (unknown or self.ci_low <= 0.0 <= self.ci_high)  # type: ignore[operator]


def mean_test_accuracy(summaries: Summaries) -> float | None:
    """Mean over the targets, in [0, 1]; None where one is not known."""
    values = [summary["test_accuracy"] for summary in summaries]
    return float(np.mean(values)) if values and None not in values else None


def accuracy_difference(ours: Summaries, theirs: Summaries) -> AccuracyDifference | None:
    """a - b over the targets of two cells, paired by place where both have as many; None where not known.

    The standard error has two parts: the binomial variance p (1 - p) / N of each target on its N test pictures,
    averaged over targets and not divided by their number, for all are tested on the same pictures; and the variance
    between targets of the difference, divided by their number. The two cells are tested on the same pictures too, which
    makes the interval too wide rather than too narrow: which pictures each got right is not kept.
    """
    a, b = mean_test_accuracy(ours), mean_test_accuracy(theirs)
    if a is None or b is None:
        return None
    sizes = [summary.get("num_test") for summary in (*ours, *theirs)]
    if not all(sizes):
        return AccuracyDifference(a - b, None, None)
    half = NORMAL * float(np.sqrt(_binomial(ours) + _binomial(theirs) + _between(ours, theirs)))
    return AccuracyDifference(a - b, a - b - half, a - b + half)


def _binomial(summaries: Summaries) -> float:
    return float(np.mean([one["test_accuracy"] * (1 - one["test_accuracy"]) / one["num_test"] for one in summaries]))


def _between(ours: Summaries, theirs: Summaries) -> float:
    """Variance of the mean over targets of the difference, from its spread between targets; 0 for one target."""
    a, b = ([float(one["test_accuracy"]) for one in summaries] for summaries in (ours, theirs))
    sides = [np.subtract(a, b)] if len(a) == len(b) else [np.array(a), np.array(b)]
    return sum(float(np.var(side, ddof=1)) / side.size for side in sides if side.size > 1)
