"""What dense training leaks at a pruned cell's test accuracy, from a ladder of dense cells trained for fewer epochs.

The rungs, in the order of their mean test accuracies a_1 <= ... <= a_k, have leakages L_1, ..., L_k. Between two rungs
that follow each other the ladder is straight: at share w it has accuracy (1 - w) a_i + w a_{i+1} and leakage
(1 - w) L_i + w L_{i+1}, target by target and resample by resample, for target m of every rung trained on the same
members. A point of the ladder could be the pruned cell's control where the 95 % interval of the difference of their
accuracies (`evaluation.accuracy`: test pictures and networks) contains 0. All these points are the control, and each
has its paired difference of leakages with an interval (`attacks.intervals`):

    interval  from the lowest end of these intervals to the highest
    p-value   the largest of theirs, and 1 where their differences have both signs

so that a difference is found only if it is found against every one of them. Where accuracy says little of leakage (the
rungs of long trainings are about equally accurate and leak more and more) this is the hull of several rungs' intervals.
The truth lies outside of the points in 5 % of cases at most, and inside they differ from the truth as far as accuracy
leaves it open, which is added to the interval and not to its square: false findings are rarer than 5 %. No point, no
control: the pruned cell is less accurate than all rungs, or more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from attacks.intervals import Difference, Sample, difference
from evaluation.accuracy import AccuracyDifference, Summaries, accuracy_difference, mean_test_accuracy

STEPS = 40  # points that are looked at between two rungs


@dataclass(frozen=True)
class Point:
    """Of a ladder: (1 - share) of one rung and share of another, by their places among the rungs."""

    lower: int
    upper: int
    share: float

    def summaries(self, rungs: Sequence[Summaries]) -> list[dict[str, Any]]:
        """Test accuracies of the targets there, and the test pictures they rest on."""
        return [
            {
                "test_accuracy": (1 - self.share) * one["test_accuracy"] + self.share * other["test_accuracy"],
                "num_test": one["num_test"],
            }
            for one, other in zip(rungs[self.lower], rungs[self.upper], strict=True)
        ]

    def sample(self, rungs: Sequence[Sample]) -> Sample:
        """The leakage there."""
        return rungs[self.lower].mixed(rungs[self.upper], self.share)


@dataclass(frozen=True)
class Control:
    """nearest: the point whose accuracy is nearest to the pruned cell's; apart: the cell's accuracy minus this one's.

    ends: of each stretch of points between two rungs that could be the control, both ends. Of all points there one of
    the ends has the lowest end of an interval, and one the highest: the difference is linear along a stretch, and its
    standard error convex.
    """

    nearest: Point
    apart: AccuracyDifference
    ends: tuple[Point, ...]

    @property
    def rungs(self) -> list[int]:
        """The places of the rungs that have a part in it."""
        shares = [((one.lower, 1 - one.share), (one.upper, one.share)) for one in (self.nearest, *self.ends)]
        return sorted({place for both in shares for place, share in both if share > 0})


def control(ours: Summaries, rungs: Sequence[Summaries]) -> Control | str:
    """The control of a cell on a ladder, or why there is none, in words.

    ours, rungs: summaries of the same targets, of the cell and of each rung, in any order of the rungs.
    """
    known = [one.get(name) for cell in (ours, *rungs) for one in cell for name in ("test_accuracy", "num_test")]
    if None in known:
        return "test accuracies, or the number of test examples, are not known"
    return _control(_frozen(ours), tuple(_frozen(rung) for rung in rungs))


Frozen = tuple[tuple[float, int], ...]


def _frozen(cell: Summaries) -> Frozen:
    return tuple((float(one["test_accuracy"]), int(one["num_test"])) for one in cell)


@lru_cache(maxsize=1024)  # asked for once for every attack
def _control(frozen: Frozen, frozen_rungs: tuple[Frozen, ...]) -> Control | str:
    ours, *rungs = ([{"test_accuracy": a, "num_test": n} for a, n in cell] for cell in (frozen, *frozen_rungs))
    levels = [mean_test_accuracy(rung) or 0.0 for rung in rungs]
    order = sorted(range(len(rungs)), key=lambda place: levels[place])
    ends: list[Point] = []
    nearest: tuple[Point, AccuracyDifference] | None = None
    for lower, upper in pairwise(order):
        stretch = []
        for share in _shares(mean_test_accuracy(ours) or 0.0, levels[lower], levels[upper]):
            point = Point(lower, upper, share)
            apart = accuracy_difference(ours, point.summaries(rungs))
            assert apart is not None
            if apart.cannot_be_told_apart(1.0):
                stretch.append(point)
            if nearest is None or abs(apart.difference) < abs(nearest[1].difference) - 1e-12:
                nearest = point, apart
        ends += [stretch[0], stretch[-1]] if stretch else []
    if not ends or nearest is None:
        return _outside(mean_test_accuracy(ours) or 0.0, levels)
    return Control(*nearest, tuple(dict.fromkeys(ends)))


def _shares(own: float, lower: float, upper: float) -> Sequence[float]:
    """Places between two rungs, and the one that is just as accurate as the cell, if there is one."""
    inside = {(own - lower) / (upper - lower)} if lower < own < upper else set()
    return sorted({step / STEPS for step in range(STEPS + 1)} | inside)


def _outside(own: float, levels: Sequence[float]) -> str:
    side = "below" if own < min(levels) else "above"
    return (
        f"its test accuracy of {100 * own:.1f} % lies {side} that of every dense training here, "
        f"{100 * min(levels):.1f} to {100 * max(levels):.1f} %"
    )


def against(ours: Sample, rungs: Sequence[Sample], found: Control) -> Difference:
    """The cell minus its control: estimate at the nearest point, interval and p-value over all points.

    detectable: the smallest true difference from the nearest point that is found against every point with a chance of
    80 %, the one farthest off deciding.
    """
    centre = difference(ours, found.nearest.sample(rungs))
    outcomes = [centre, *(difference(ours, point.sample(rungs)) for point in found.ends)]
    lows, highs, p_values = ([getattr(one, name) for one in outcomes] for name in ("ci_low", "ci_high", "p_value"))
    if None in (*lows, *highs, *p_values):
        return Difference(centre.difference, None, None, None, centre.num_targets)
    one_sign = len({np.sign(one.difference) for one in outcomes}) == 1
    reach = [abs(one.difference - centre.difference) + (one.detectable or 0.0) for one in outcomes]
    p_value = max(p_values) if one_sign else 1.0
    return Difference(centre.difference, min(lows), max(highs), p_value, centre.num_targets, max(reach))


def in_words(found: Control, names: Sequence[Mapping[str, Any]]) -> str:
    """`epochs 10 to 40`: the trainings that have a part in a control. names: of the rungs' cells."""
    epochs = sorted(names[place]["epochs"] for place in found.rungs)
    return f"epochs {epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"epochs {epochs[0]}"
