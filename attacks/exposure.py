"""Which examples are exposed, and whether two cells expose the same ones.

An exposure describes a cell: it is taken over all of its models, targets included, and from who holds what. It scores
no target and may enter no attack; leaving a target out would only make it noisier.

Two trainings of one membership (the same members, other starts and batches) share no network noise, so their agreement
says how far an exposure can be read at all. They do share the luck of the split: which *other* examples each model was
given. That part is stable over trainings and differs between cells as plain noise would, so each correlation is also
taken across models: as if from the products of different models' answers only. The two models of a complementary pair
share that luck, with opposite signs (what one was given the other was not), so there it is across pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from .arrays import BoolArray, Float64Array, FloatArray
from .metrics import CHUNK_VALUES, WeightArray
from .trimming import drawn_together, partners

STATISTICS = ("pearson", "spearman", "pearson_across_models", "spearman_across_models")
FEWEST_PER_SIDE = 2  # models that hold an example, and that do not: of one alone the noise is not known
# Corrected correlations must lie below this for a change. The correction is exact for a straight line only: where the
# exposures of one cell are a bent function of the other's, the ranks of one order give 0.92 to 0.96, and a limit of 1
# would call a tenth of such pairs a change (benchmarks/results/exposure_null.csv).
SAME_ORDER = 0.9


@dataclass(frozen=True)
class Estimate:
    """A correlation with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def exposure(phi: FloatArray, membership: BoolArray) -> Float64Array:
    """Mean phi over the models that hold an example minus its mean over those that do not, float64 [n], in logits.

    phi: [M, n], the logit of the true class's probability, averaged over queries; membership: bool [M, n]. First, each
    model's mean over its members and its mean over its non-members are taken off, so that the average exposure is 0.
    NaN where all models hold the example, or none.
    """
    centred = _centred(phi, membership)
    held = membership.sum(axis=0)
    missing = len(membership) - held
    found = np.where(membership, centred, 0.0).sum(axis=0) / np.maximum(held, 1)
    found -= np.where(membership, 0.0, centred).sum(axis=0) / np.maximum(missing, 1)
    return np.where((held > 0) & (missing > 0), found, np.nan)


def _centred(phi: FloatArray, membership: BoolArray) -> Float64Array:
    centred = phi.astype(np.float64)
    for side in (membership, ~membership):
        means = np.where(side, centred, 0.0).sum(axis=1) / np.maximum(side.sum(axis=1), 1)
        centred -= np.where(side, means[:, None], 0.0)
    return centred


def comparable(membership: BoolArray) -> BoolArray:
    """The examples that enough models hold, and enough do not, for `correlations`, bool [n]."""
    held = membership.sum(axis=0)
    return np.asarray((held >= FEWEST_PER_SIDE) & (len(membership) - held >= FEWEST_PER_SIDE))


def correlations(phis: Sequence[FloatArray], membership: BoolArray, weights: WeightArray) -> dict[str, Float64Array]:
    """Correlations of the exposures of c trainings, by STATISTICS, float64 [1 + B, c, c]: as they are, then resampled.

    phis: [M, n] of each training, of the same models and examples; membership: bool [M, n], all examples `comparable`;
    weights: [B, n], how often each example counts in each resample. Ranks are taken anew in every resample.

    pearson, spearman: of the exposures. Across models: without the covariance that two trainings owe to answers of
    models with the same members, which is estimated by leaving one model out after the other (a stratified jackknife):
    sum over m of (k - 1) / k (x_(-m) - x)(y_(-m) - y), k being the models on m's side of the example. In complementary
    pairs m is a pair, with k pairs. For exposures this is exactly the mean product of different models' answers, or of
    different pairs' differences; for ranks it is a first approximation, which leaves about 0.1 in four pairs that agree
    in nothing but that luck. NaN where an exposure does not vary.
    """
    groups = drawn_together(partners(membership), len(membership))
    values = np.stack([exposure(phi, membership) for phi in phis])
    without = np.stack([_without_each(phi, membership, groups) for phi in phis])
    side = _side(membership)[[group[0] for group in groups]]
    scale = np.sqrt((side - 1) / side)
    drawn = np.concatenate([np.ones((1, membership.shape[1]), dtype=weights.dtype), weights])
    found = {}
    for name, own, others in (("pearson", values, without), ("spearman", _ranked(values), _ranked(without))):
        moves = (others - own[:, None]) * scale
        shared = np.einsum("amn,bmn->nab", moves, moves, optimize=True)
        covariance, noise = _resampled(own, shared, drawn, ranked=name == "spearman")
        variance = np.einsum("raa->ra", covariance)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.sqrt(variance[:, :, None] * variance[:, None, :])
            found[name], found[f"{name}_across_models"] = covariance / size, (covariance - noise) / size
    return {name: found[name] for name in STATISTICS}


def _side(membership: BoolArray) -> Float64Array:
    """How many models are on each model's side of each example, [M, n]."""
    held = membership.sum(axis=0, dtype=np.float64)
    return np.asarray(np.where(membership, held, len(membership) - held))


def _without_each(phi: FloatArray, membership: BoolArray, groups: Sequence[Sequence[int]]) -> Float64Array:
    """The exposures without one group of models after the other, [G, n]."""
    centred = _centred(phi, membership)
    left = []
    for group in groups:
        found = np.zeros(membership.shape[1])
        for sign, side in ((1.0, membership), (-1.0, ~membership)):
            answers = np.where(side, centred, 0.0)
            kept = side.sum(axis=0) - side[group].sum(axis=0)
            found += sign * (answers.sum(axis=0) - answers[group].sum(axis=0)) / kept
        left.append(found)
    return np.stack(left)


def _ranked(values: Float64Array) -> Float64Array:
    """Midranks along the last axis as shares, in (0, 1)."""
    return np.asarray((rankdata(values, axis=-1) - 0.5) / values.shape[-1])


def _resampled(
    values: Float64Array, shared: Float64Array, weights: WeightArray, ranked: bool
) -> tuple[Float64Array, Float64Array]:
    """Covariances of `values` [c, n], or of their ranks in each resample; means of `shared` [n, c, c]: [R, c, c]."""
    trainings, examples = values.shape
    step = max(1, CHUNK_VALUES // (trainings * examples))
    covariances, noises = [], []
    for start in range(0, len(weights), step):
        share = weights[start : start + step].astype(np.float64)
        share /= share.sum(axis=1, keepdims=True)
        own = np.stack(
            [weighted_ranks(one, share) if ranked else np.broadcast_to(one, share.shape) for one in values], axis=1
        )
        own = own - np.einsum("rcn,rn->rc", own, share)[:, :, None]
        covariances.append((own * share[:, None]) @ own.transpose(0, 2, 1))
        noises.append((share @ shared.reshape(examples, -1)).reshape(-1, trainings, trainings))
    return np.concatenate(covariances), np.concatenate(noises)


def weighted_ranks(values: Float64Array, share: Float64Array) -> Float64Array:
    """Midranks of `values` [n] in weighted samples, as shares, [R, n]: the weight below, and half of the weight there.

    share: [R, n], each row with the sum 1.
    """
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(values, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    at = np.add.reduceat(share[:, order], starts, axis=1)
    return np.asarray((np.cumsum(at, axis=1) - at / 2)[:, place])


def corrected(crossed: Float64Array, reliability_a: Float64Array, reliability_b: Float64Array) -> Float64Array:
    """Correlations as they would be without noise, crossed / sqrt(reliability_a reliability_b) (Spearman 1904), [R].

    NaN where a reliability is not above 0: nothing stable is there that could correlate.
    """
    sound = (reliability_a > 0) & (reliability_b > 0)
    return np.where(sound, crossed / np.sqrt(np.where(sound, reliability_a * reliability_b, 1.0)), np.nan)


@dataclass(frozen=True)
class Crossing:
    """One statistic of one training of cell A with another training of cell B."""

    statistic: str
    r: Estimate
    reliability_a: Estimate
    reliability_b: Estimate
    corrected: Estimate


def crossings(phis: Sequence[FloatArray], membership: BoolArray, weights: WeightArray) -> tuple[list[Crossing], ...]:
    """Both pairings of two cells' trainings that share neither starts nor batches, each by STATISTICS.

    phis: of A, A', B and B', as `correlations` takes them; A and B share starts and batches, and so do A' and B'. The
    pairings are (A, B') and (A', B); the reliabilities are r(A, A') and r(B, B').
    """
    found = correlations(phis, membership, weights)
    return tuple([_crossing(name, drawn, a, b) for name, drawn in found.items()] for a, b in ((0, 3), (1, 2)))


def _crossing(statistic: str, drawn: Float64Array, a: int, b: int) -> Crossing:
    own_a, own_b, crossed = drawn[:, 0, 1], drawn[:, 2, 3], drawn[:, a, b]
    figures = (crossed, own_a, own_b, corrected(crossed, own_a, own_b))
    return Crossing(statistic, *(estimate(one) for one in figures))


def is_reliable(lows: Iterable[float | None]) -> bool:
    """Whether a cell agrees with itself, trained again: the lower ends of all its reliabilities lie above 0."""
    found = list(lows)
    return bool(found) and all(low is not None and low > 0 for low in found)


def has_changed(highs: Iterable[float | None]) -> bool:
    """Whether partly other examples are exposed: the upper ends of all corrected correlations, of both pairings and of
    every statistic, lie below SAME_ORDER. To be asked of cells that are both reliable."""
    found = list(highs)
    return bool(found) and all(high is not None and high < SAME_ORDER for high in found)


def estimate(drawn: Float64Array) -> Estimate:
    """The first of `drawn` [1 + B] with the bootstrap's percentile interval over the others.

    A resample in which the figure is not defined counts as beyond either end.
    """
    if np.isnan(drawn[0]):
        return Estimate(None, None, None)
    unknown = np.isnan(drawn[1:])
    low = float(np.quantile(np.where(unknown, -np.inf, drawn[1:]), 0.025, method="lower"))
    high = float(np.quantile(np.where(unknown, np.inf, drawn[1:]), 0.975, method="higher"))
    return Estimate(float(drawn[0]), low if np.isfinite(low) else None, high if np.isfinite(high) else None)
