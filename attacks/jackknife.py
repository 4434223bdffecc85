"""The jackknife over models: what networks do to all targets of a cell at once, because they are the targets' shadows.

A model plays two parts in a cell's figure: it is a target, and it is a shadow model of every other target. Delete it
from both, and attack again: theta_(-g) is the mean, over the targets that are left, of a metric of the attack refitted
without the models of group g. (A group is one model; where models are drawn together, it is all that are.) Of G groups,

    V_J = (G - 1) / G  sum_g (theta_(-g) - mean over g)^2

is the jackknife's variance (Tukey 1958). It holds the chance of examples too, which the interval counts already. With
the networks held fixed, resamples b of the examples say how much of it that is:

    V_int = (G - 1) / G  sum_g Var_b(theta*_(-g)b - mean over g of theta*_(-g)b)

so that V_J - V_int is what the networks add, where the examples add V_ex = Var_b(mean over targets of theta*_tb). Alone
V_J is far too wide: an attack with one shadow model fewer per side differs much, and differently for every example. The
difference is unbiased, and being one of two large numbers it is often far too small, or negative: it is not believed
below a fifth of V_J. The fifth and the number of trimmings were chosen on simulated cells; `benchmarks/coverage.py`
measures what they give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from .arrays import Float64Array
from .evaluate import learn, learn_each, score
from .interface import AttackResult, AttackSettings
from .models import Models

MOST_GROUPS = 17  # the attacks are refitted for every pair of a group and a target outside it
TRIMMINGS = 4  # of an attack that is fitted to each example's own few shadows, where it matters which of them serve
LEAST_SHARE = 0.2  # of V_J
Groups = Sequence[Sequence[int]]  # of positions among a cell's models, every model in one group
Deletion = tuple[int, int, dict[str, AttackResult]]  # group's place, target, results by variant


@dataclass(frozen=True, eq=False)
class Deleted:
    """One metric of T targets with each of G groups of models deleted.

    values: [T, G], NaN where the target is in the group. resampled: [T, G, B], under the same B weights for all.
    """

    values: Float64Array
    resampled: Float64Array


def networks_variance(deleted: Deleted) -> float:
    """What the networks add to the variance of the mean over targets: V_J - V_int, and a fifth of V_J at least."""
    values, drawn = _means(deleted.values), _means(deleted.resampled)
    groups = len(values)
    total = ((values - values.mean()) ** 2).sum()
    examples = np.var(drawn - drawn.mean(axis=0), axis=1, ddof=1).sum()
    return float((groups - 1) / groups * max(total - examples, LEAST_SHARE * total))


def _means(values: Float64Array) -> Float64Array:
    """theta_(-g), [G] or [G, B]: the mean over the targets outside each group, from [T, G] or [T, G, B]."""
    return np.asarray(np.nanmean(values, axis=0))


def without(models: Models, group: Sequence[int]) -> tuple[Models, list[int]]:
    """The models outside a group, and the positions that they had."""
    kept = [model for model in range(len(models.membership)) if model not in group]
    arrays = {name: getattr(models, name) for name in ("logits", "phi", "membership", "sensitivity", "population")}
    left = {name: None if array is None else array[kept] for name, array in arrays.items()}
    return replace(models, **left), kept  # type: ignore[arg-type]


def delete(
    models: Models, group: Sequence[int], target: int, attacks: Sequence[str], settings: AttackSettings
) -> dict[str, AttackResult]:
    """Results by variant on a target outside the group, learned from the models outside it and trimmed anew.

    The definition; `delete_each` does it for all targets. Of `membership`, the target's row is not used.
    """
    left, kept = without(models, group)
    return score(learn(left.leave_out(kept.index(target)), attacks, settings), models.outputs(target))


def delete_each(
    models: Models,
    groups: Groups,
    targets: Sequence[int],
    attacks: Sequence[str],
    settings: AttackSettings,
    trimmings: int = 1,
) -> Iterator[Deletion]:
    """(g, target, results) for every group and every target outside it, as `delete` gives them.

    Each comes once for every trimming, which differ in the seed: their figures are averaged. Which shadows are dropped
    is chance that the networks have no part in, and there is the more to drop the more models are gone.
    """
    for (g, group), trimming in product(enumerate(groups), range(trimmings)):
        left, kept = without(replace(models, seed=models.seed + trimming), group)
        outside = [target for target in targets if target not in group]
        learned = learn_each(left, [kept.index(target) for target in outside], attacks, settings)
        for target, knowledge in zip(outside, learned, strict=True):
            yield g, target, score(knowledge, models.outputs(target))
