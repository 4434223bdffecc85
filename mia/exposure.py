"""Which examples are exposed, and whether two cells expose the same ones.

The exposure of an example is its mean score over the targets that hold it: how plainly a model trained on it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mia.interface import BoolArray, Float64Array, IntArray
from mia.metrics import WeightArray


@dataclass(frozen=True)
class Agreement:
    """How far two cells expose the same examples, over the `num_examples` that both have an exposure of.

    jaccard: of the two sets of the `top` most exposed, shared / either, in [0, 1]; spearman: rank correlation of all,
    in [-1, 1]; 95 % intervals. chance_jaccard: what two unrelated rankings have on average.
    """

    num_examples: int
    top: int
    jaccard: float
    jaccard_low: float
    jaccard_high: float
    spearman: float
    spearman_low: float
    spearman_high: float
    chance_jaccard: float


def exposure(scores: Float64Array, membership: BoolArray) -> Float64Array:
    """Mean score of each example over the targets that hold it, [n]; NaN where none does.

    scores: float64 [T, n] of one attack; membership: bool [T, n].
    """
    held = membership.sum(axis=0)
    sums = np.where(membership, scores, 0.0).sum(axis=0)
    return np.where(held > 0, sums / np.maximum(held, 1), np.nan)


def agreement(a: Float64Array, b: Float64Array, weights: WeightArray, share: float = 0.01) -> Agreement | None:
    """Compare two exposures, [n] each, over the examples finite in both; None with fewer than four of them.

    weights: [B, n], of `mia.metrics.example_weights`. `top` is the share of the examples, rounded, one at least; of
    equal exposures the first example counts as the more exposed. The interval of Jaccard is the bootstrap's percentile
    interval, a resample's top being the share of its weight. That of the rank correlation is Bonett & Wright's (2000):
    Fisher's z with standard error sqrt((1 + r^2 / 2) / (n - 3)).
    """
    both = np.isfinite(a) & np.isfinite(b)
    count = int(both.sum())
    if count < 4:
        return None
    a, b = a[both], b[both]
    top = max(1, round(share * count))
    order_a, order_b = np.argsort(-a, kind="stable"), np.argsort(-b, kind="stable")
    shared = np.intersect1d(order_a[:top], order_b[:top]).size
    drawn = _resampled_jaccard(order_a, order_b, weights[:, both], share)
    low, high = np.percentile(drawn, (2.5, 97.5))
    r = float(stats.spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
    half = float(stats.norm.ppf(0.975)) * np.sqrt((1.0 + r * r / 2.0) / (count - 3))
    z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return Agreement(
        num_examples=count,
        top=top,
        jaccard=shared / (2 * top - shared),
        jaccard_low=float(low),
        jaccard_high=float(high),
        spearman=r,
        spearman_low=float(np.tanh(z - half)),
        spearman_high=float(np.tanh(z + half)),
        chance_jaccard=chance_jaccard(count, top),
    )


def _resampled_jaccard(order_a: IntArray, order_b: IntArray, weights: WeightArray, share: float) -> Float64Array:
    """Weight in both tops over weight in either, [B]."""
    wanted = np.maximum(share * weights.sum(axis=1, dtype=np.int64), 1.0)
    near = min(order_a.size, 3 * int(np.ceil(wanted.max())) + 100)  # no resample's top reaches further
    considered = np.union1d(order_a[:near], order_b[:near])
    drawn = weights[:, considered].astype(np.float64)
    tops = []
    for order in (order_a, order_b):
        rank = np.empty(order.size, dtype=np.int64)
        rank[order] = np.arange(order.size)
        by_rank = np.argsort(rank[considered], kind="stable")
        above = np.cumsum(drawn[:, by_rank], axis=1) - drawn[:, by_rank]
        top = np.zeros_like(drawn)
        # the example at the edge counts with the part of its weight that still fits
        top[:, by_rank] = np.clip(wanted[:, None] - above, 0.0, drawn[:, by_rank])
        tops.append(top)
    return np.asarray(np.minimum(*tops).sum(axis=1) / np.maximum(*tops).sum(axis=1))


def chance_jaccard(count: int, top: int) -> float:
    """Mean Jaccard index of two independent random sets of `top` out of `count` examples."""
    shared = np.arange(max(0, 2 * top - count), top + 1)
    chances = stats.hypergeom(count, top, top).pmf(shared)
    return float((chances * shared / (2 * top - shared)).sum())


def split_half(
    scores_a: Float64Array, membership: BoolArray, scores_b: Float64Array, weights: WeightArray, share: float = 0.01
) -> Agreement | None:
    """Agreement of cell A's even targets with cell B's odd ones; None with fewer than two targets.

    scores_a, scores_b: [T, n]; membership: bool [T, n], of both. With A = B this is how far a cell agrees with itself,
    which is the ceiling for agreement between cells measured in the same way.
    """
    if len(membership) < 2:
        return None
    even, odd = slice(0, None, 2), slice(1, None, 2)
    first, second = exposure(scores_a[even], membership[even]), exposure(scores_b[odd], membership[odd])
    return agreement(first, second, weights, share)
