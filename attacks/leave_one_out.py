"""One side, IN or OUT, of many models: sorted once, and what is left of it when some of its models do not serve.

Both a shadow in the target's place and a target among the models of its cell are fits to a side without one or a few of
its models; medians and sums are corrected for what is missing, instead of sorting again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import BoolArray, Float64Array, FloatArray, IntArray

CHUNK_VALUES = 1 << 20  # values per array and chunk of examples while sides are sorted: bounds memory at any pool size
NOBODY = -1
Int16Array = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Ranked:
    """One side's phi of one query.

    values: [n, K], ascending over an example's models, K the largest count; rank: int16 [n, R], where each model's
    value stands; mean and squares: float64 [n], the values' mean and their sum of squares about it.
    """

    values: FloatArray
    rank: Int16Array
    mean: Float64Array
    squares: Float64Array


@dataclass(frozen=True, eq=False)
class Side:
    """One side, IN or OUT, of R models on n examples.

    held: bool [n, R], which models are on this side. members: int16 [n, K], them, ascending; place: int16 [n, R], each
    one's position in `members`. queries: their phi, Q of them.
    """

    held: BoolArray
    members: Int16Array
    place: Int16Array
    queries: tuple[Ranked, ...]

    @property
    def count(self) -> IntArray:
        """Models on this side, int64 [n]."""
        return np.asarray(self.held.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Moments:
    """What is left of a side: median, mean and sum of squares about it, [P]; kept: models, the same for all."""

    centre: Float64Array
    mean: Float64Array
    squares: Float64Array
    kept: int


def make_side(phi: FloatArray, held: BoolArray) -> Side:
    """Sort one side. phi: [R, n, Q]; held: bool [R, n]. Columns of `held` may differ in how many are True."""
    models, examples = held.shape
    most = int(held.sum(axis=0).max()) if held.size else 0
    members = np.empty((examples, most), dtype=np.int16)
    place = np.empty((examples, models), dtype=np.int16)
    sorted_queries = [
        Ranked(np.empty((examples, most), phi.dtype), np.empty_like(place), np.empty(examples), np.empty(examples))
        for _ in range(phi.shape[2])
    ]
    side = Side(np.ascontiguousarray(held.T), members, place, tuple(sorted_queries))
    for rows in chunks(models, examples):
        own = side.held[rows]
        members[rows] = np.argsort(~own, axis=1, kind="stable")[:, :most]
        place[rows] = np.cumsum(own, axis=1) - 1
        for q, ranked in enumerate(sorted_queries):
            _rank(np.where(own, phi[:, rows, q].T, np.inf), own.sum(axis=1), rows, ranked)
    return side


def _rank(filled: FloatArray, count: IntArray, rows: slice, ranked: Ranked) -> None:
    """Fill in the rows of `ranked`. filled: [rows, R], infinite where a model is not on this side."""
    order = np.argsort(filled, axis=1, kind="stable")
    np.put_along_axis(ranked.rank[rows], order, np.arange(order.shape[1], dtype=np.int16)[None], axis=1)
    most = ranked.values.shape[1]
    values = np.take_along_axis(filled, order[:, :most], axis=1)
    ranked.values[rows] = values
    valid = np.arange(most) < count[:, None]
    present = np.where(valid, values, 0.0).astype(np.float64)
    mean = present.sum(axis=1) / np.maximum(count, 1)
    ranked.mean[rows] = mean
    ranked.squares[rows] = (np.where(valid, present - mean[:, None], 0.0) ** 2).sum(axis=1)


def chunks(models: int, examples: int) -> Iterator[slice]:
    step = max(1, CHUNK_VALUES // max(models, 1))
    return (slice(start, start + step) for start in range(0, examples, step))


def moments(side: Side, query: int, columns: IntArray, gone: IntArray, kept: int) -> Moments:
    """A side without some of its models, for P examples at once.

    columns: [P], which examples; gone: int64 [G, P], the models of the side to leave out, NOBODY where there are fewer;
    kept: how many that leaves, for each of the P. G removals cost O(G), not a new sort.
    """
    ranked = side.queries[query]
    real = gone != NOBODY
    rank = np.where(real, ranked.rank[columns, gone], side.held.shape[1]).astype(np.int64)
    mean, squares = ranked.mean[columns], ranked.squares[columns]
    if len(gone):
        values = ranked.values[columns, np.minimum(rank, ranked.values.shape[1] - 1)].astype(np.float64)
        lost = np.where(real, values - mean, 0.0)
        total = lost.sum(axis=0)
        squares = np.maximum(squares - (lost**2).sum(axis=0) - total**2 / kept, 0.0)
        mean = mean - total / kept
    low, high = (skipping(np.full(len(columns), j), rank) for j in ((kept - 1) // 2, kept // 2))
    centre = 0.5 * (ranked.values[columns, low].astype(np.float64) + ranked.values[columns, high].astype(np.float64))
    return Moments(centre, mean, squares, kept)


def skipping(index: IntArray, taken: IntArray) -> IntArray:
    """Positions of the index-th entries that are left when those at positions `taken` [G, P] are gone, [P]."""
    for position in np.sort(taken, axis=0):
        index = index + (index >= position)
    return index


def removals(side: BoolArray, drawn: IntArray, partners: IntArray | None = None) -> IntArray:
    """Which shadow of this side goes when s plays the target: s itself, its partner, or a random one, [S, n].

    side: bool [S, n]; drawn: random integers >= 0, [S, n], for trimming again; partners: [S], as
    `attacks.trimming.partners` finds them. The same shadow goes for all queries.
    """
    count = int(side[:, 0].sum())
    members = np.argsort(~side, axis=0, kind="stable")[:count]
    other = np.take_along_axis(members, drawn % count, axis=0)
    if partners is not None:
        other = np.where(partners[:, None] != NOBODY, partners[:, None], other)
    return np.where(side, np.arange(side.shape[0])[:, None], other)


def left_out_pairs(held: BoolArray, away: IntArray, pairs: IntArray) -> tuple[IntArray, IntArray]:
    """Who of either side does not serve a target, int64 [G, n] each, where those who serve are whole pairs.

    held: bool [n, M]; away: the target and the models tied to it; pairs: [P, 2], of complementary pairs. Row g of both
    sides is one pair, or a model without a partner and NOBODY.
    """
    gone = pairs[np.isin(pairs, away).all(axis=1)]
    alone = away[~np.isin(away, gone)]
    one, other = np.append(gone[:, 0], alone), np.append(gone[:, 1], np.full(alone.size, NOBODY))
    on = held[:, one].T
    return np.where(on, one[:, None], other[:, None]), np.where(on, other[:, None], one[:, None])


def left_out(held: BoolArray, away: IntArray, surplus: IntArray, keys: FloatArray) -> IntArray:
    """Who of a side does not serve a target: those of `away`, and what `attacks.trimming.trim` drops, int64 [G, n].

    held: bool [n, M]; away: the target, then the models tied to it; surplus: [n], shadows to drop of each example;
    keys: [n, M - 1], drawn by `trim_keys`.
    """
    target = away[0]
    gone = np.full((away.size + int(surplus.max()), len(held)), NOBODY)
    gone[: away.size] = np.where(held[:, away].T, away[:, None], NOBODY)
    serving = np.delete(~np.isin(np.arange(held.shape[1]), away), target)
    for rows in chunks(held.shape[1], len(held)):
        rivals = np.where(np.delete(held[rows], target, axis=1) & serving, keys[rows], np.float32(-1.0))
        every = np.arange(len(rivals))
        for j in range(1, 1 + len(gone) - away.size):
            largest = rivals.argmax(axis=1)
            rivals[every, largest] = -1.0
            gone[away.size + j - 1, rows] = np.where(surplus[rows] >= j, largest + (largest >= target), NOBODY)
    return gone
