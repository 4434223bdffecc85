"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, arXiv 2112.03570), all variants at once.

For each example and query, Gaussians are fitted to phi of the shadows that held it (IN) and of those that did not
(OUT): centre = median, spread = standard deviation (n - 1 in the denominator). Scores are averaged over queries.

A per-example spread is not allowed below a tenth of the typical one (the fixed spread): below that it is the luck of
few shadows rather than a property of the example, and it would decide the whole score. A spread of zero becomes 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from mia.interface import (
    AttackInputs,
    AttackResult,
    AttackSettings,
    AttackUnavailable,
    BoolArray,
    Float64Array,
    FloatArray,
    IntArray,
    Outputs,
    Scorer,
    TooFewShadows,
    removals,
)
from mia.mia_classic import NO_PAIRS, best_threshold, calibrate

ONLINE_SHADOWS = 16  # per side and example, from which the headline uses per-example spreads
MIN_SHADOWS = 5  # gives two per side after leave-one-out and trimming
SPREAD_FLOOR = 0.1  # of the fixed spread
SMALLEST_SPREAD = 1e-6
CHUNK_VALUES = 1 << 20  # shadow values per array and chunk of examples: bounds memory at any pool size


@dataclass(frozen=True)
class Gaussians:
    """One side's Gaussians for one query: centre [..., n], spread per example [..., n] or None, fixed spread."""

    centre: Float64Array
    spread: Float64Array | None
    fixed: float


Ends = tuple[Gaussians | None, Gaussians, float | None]  # IN, OUT and the reference spread, of one query


@dataclass(frozen=True)
class SharedSpreads:
    """Spreads common to all examples: IN and OUT by query, [Q]; `reference` is one number; None without IN shadows."""

    inside: Float64Array | None
    outside: Float64Array
    reference: float | None


@dataclass(frozen=True)
class SideValues:
    """One side's phi of one query, for a chunk of n examples with m shadows on this side.

    values: float64 [m, n], ascending per example; shadows: [m, n], whose value each is; rank: [S, n], its inverse.
    """

    values: Float64Array
    shadows: IntArray
    rank: IntArray


def log_density(x: Float64Array, centre: Float64Array, spread: Float64Array | float) -> Float64Array:
    """log N(x; centre, spread), broadcast."""
    return -0.5 * ((x - centre) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2.0 * np.pi)


def variant_scores(
    x: Float64Array, inside: Gaussians | None, outside: Gaussians, reference: float | None
) -> dict[str, Float64Array]:
    """Scores of every defined variant for phi `x` [..., n] of one query.

    lira_online_fixed shares the pooled centred residuals' spread, IN and OUT apart; `_reference` forms are the
    published code's: the spread of all raw IN values for both sides, and for offline the two-sided density.
    lira_offline is -log(1 - Phi(z)), which orders as Phi(z) does (eq. 4) but does not round to ties near 1.
    """
    scores = {}
    if inside is not None and reference is not None:
        if inside.spread is not None and outside.spread is not None:
            scores["lira_online"] = log_density(x, inside.centre, inside.spread) - log_density(
                x, outside.centre, outside.spread
            )
        for key, spread_in, spread_out in (
            ("lira_online_fixed", inside.fixed, outside.fixed),
            ("lira_online_fixed_reference", reference, reference),
        ):
            scores[key] = log_density(x, inside.centre, spread_in) - log_density(x, outside.centre, spread_out)
    if outside.spread is not None:
        scores["lira_offline"] = -log_ndtr(-(x - outside.centre) / outside.spread)
        scores["lira_offline_reference"] = -log_density(x, outside.centre, outside.spread)
    scores["lira_offline_fixed"] = -log_ndtr(-(x - outside.centre) / outside.fixed)
    return scores


def side_values(phi: FloatArray, side: BoolArray) -> SideValues:
    """Gather and sort one side. phi: [S, n]; side: bool [S, n], True equally often in every column."""
    count = int(side[:, 0].sum())
    filled = np.where(side, phi.astype(np.float64), np.inf)
    order = np.argsort(filled, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[0])[:, None], axis=0)
    shadows = order[:count]
    return SideValues(np.take_along_axis(filled, shadows, axis=0), shadows, rank)


def fit(side: SideValues, fixed: float) -> Gaussians:
    """The Gaussians of one side from all its shadows, [n]; needs two shadows or more."""
    spread = np.std(side.values, axis=0, ddof=1)
    return Gaussians(np.median(side.values, axis=0), _floored(spread, fixed), fixed)


def fit_without(side: SideValues, removed: IntArray, fixed: float) -> Gaussians:
    """As `fit`, with one shadow of the side removed, for R removals at once: removed [R, n] -> Gaussians [R, n].

    Order statistics and sums are corrected for the one missing value, so S removals cost O(S n), not O(S^2 n).
    """
    count = side.values.shape[0]
    rank = np.take_along_axis(side.rank, removed, axis=0)
    low, high = (count - 2) // 2, (count - 1) // 2
    centre = 0.5 * (
        np.take_along_axis(side.values, low + (low >= rank), axis=0)
        + np.take_along_axis(side.values, high + (high >= rank), axis=0)
    )
    if count < 3:
        return Gaussians(centre, None, fixed)
    mean = side.values.mean(axis=0)
    squares = ((side.values - mean) ** 2).sum(axis=0)
    lost = (np.take_along_axis(side.values, rank, axis=0) - mean) ** 2 * (count / (count - 1))
    spread = np.sqrt(np.maximum(squares - lost, 0.0) / (count - 2))
    return Gaussians(centre, _floored(spread, fixed), fixed)


def _floored(spread: Float64Array, fixed: float) -> Float64Array:
    return np.maximum(spread, SPREAD_FLOOR * fixed)


def shared_spreads(inputs: AttackInputs) -> SharedSpreads:
    """Spreads common to all examples.

    With m shadows a side, residuals about an example's own mean are too small by (m - 1) / m in variance: the sum of
    squares is divided by n (m - 1), which matters when m is 2.
    """
    has_in = inputs.in_count >= 2
    return SharedSpreads(
        inside=_pooled_spread(inputs.shadow_phi, inputs.shadow_in) if has_in else None,
        outside=_pooled_spread(inputs.shadow_phi, inputs.shadow_out),
        reference=_raw_spread(inputs.shadow_phi, inputs.shadow_in) if has_in else None,
    )


def _pooled_spread(phi: FloatArray, side: BoolArray) -> Float64Array:
    count = int(side[:, 0].sum())
    spreads = np.empty(phi.shape[2])
    for q in range(phi.shape[2]):
        squares = 0.0
        for rows in _chunks(*side.shape):
            values = side_values(phi[:, rows, q], side[:, rows]).values
            squares += float(((values - values.mean(axis=0)) ** 2).sum())
        spreads[q] = np.sqrt(squares / (side.shape[1] * (count - 1)))
    return np.maximum(spreads, SMALLEST_SPREAD)


def _raw_spread(phi: FloatArray, side: BoolArray) -> float:
    values = phi[side].astype(np.float64)
    return max(float(values.std()), SMALLEST_SPREAD)


def _chunks(shadows: int, examples: int) -> Iterator[slice]:
    step = max(1, CHUNK_VALUES // max(shadows, 1))
    return (slice(start, start + step) for start in range(0, examples, step))


def _fit_chunk(
    inputs: AttackInputs, shared: SharedSpreads, rows: slice, rng: np.random.Generator
) -> tuple[list[Ends], dict[str, Float64Array]]:
    """For a chunk of examples: the Gaussians of each query, and by variant every shadow's scores as a target [S, n]."""
    ends: list[Ends] = []
    shadows: dict[str, Float64Array] = {}
    shadow_in, shadow_out = inputs.shadow_in[:, rows], inputs.shadow_out[:, rows]
    partner = rng.integers(1 << 62, size=shadow_in.shape)
    for q in range(inputs.num_queries):
        phi = inputs.shadow_phi[:, rows, q].astype(np.float64)
        outside, fixed_out = side_values(phi, shadow_out), float(shared.outside[q])
        if shared.inside is None:
            ends.append((None, fit(outside, fixed_out), None))
            continue
        inside, fixed_in = side_values(phi, shadow_in), float(shared.inside[q])
        ends.append((fit(inside, fixed_in), fit(outside, fixed_out), shared.reference))
        without = (
            fit_without(inside, removals(shadow_in, partner), fixed_in),
            fit_without(outside, removals(shadow_out, partner), fixed_out),
            shared.reference,
        )
        _accumulate(shadows, variant_scores(phi, *without), inputs.num_queries)
    return ends, shadows


def _accumulate(totals: dict[str, Float64Array], scores: dict[str, Float64Array], queries: int) -> None:
    for key, values in scores.items():
        totals[key] = totals[key] + values / queries if key in totals else values / queries


def _collect(chunks: list[dict[str, Float64Array]]) -> dict[str, Float64Array]:
    return {key: np.concatenate([chunk[key] for chunk in chunks], axis=-1) for key in chunks[0]}


def lira(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """Every variant of LiRA that the shadows allow, and `lira`, the one to report.

    `lira` is lira_online with 16 shadows a side or more, else lira_online_fixed; lira_offline where the shadows held no
    example. Thresholds: every shadow plays the target once and the others, trimmed again, serve it; the fixed spreads
    stay those of the whole pool (one number over all examples).
    Raises TooFewShadows with fewer than 5 shadows, AttackUnavailable with fewer than 2 OUT shadows an example.
    """
    asked = inputs.asked
    if inputs.num_shadows < MIN_SHADOWS:
        raise TooFewShadows("lira", MIN_SHADOWS, inputs.num_shadows)
    if asked.out_count < 2:
        raise AttackUnavailable(
            f"lira needs 2 shadow models that do not hold an example; this cell has {asked.out_count} for some example"
        )
    parts, shadows = _fit_all(asked)
    learned = inputs.learned
    if learned is not asked and learned.out_count >= 2:
        shadows = _fit_all(learned)[1]  # offline thresholds: nobody held what is asked, so the others calibrate
    calibrated = {key: _calibrated(scores, learned) for key, scores in shadows.items()}
    missing = "too few shadow models a side for a shadow to play the target" if learned.has_pairs else NO_PAIRS
    headline = _headline(asked)

    def score(target: Outputs) -> dict[str, AttackResult]:
        chunks = [_score_chunk(target, rows, ends) for rows, ends in parts]
        results = {
            key: AttackResult(values, calibrated.get(key), None if key in calibrated else missing)
            for key, values in _collect(chunks).items()
        }
        return {"lira": results[headline], **results}

    return score


def _fit_all(inputs: AttackInputs) -> tuple[list[tuple[slice, list[Ends]]], dict[str, Float64Array]]:
    shared = shared_spreads(inputs)
    rng = np.random.default_rng([inputs.seed, 2])
    chunks = [(rows, *_fit_chunk(inputs, shared, rows, rng)) for rows in _chunks(*inputs.shadow_in.shape)]
    return [(rows, ends) for rows, ends, _ in chunks], _collect([shadows for _, _, shadows in chunks])


def _score_chunk(target: Outputs, rows: slice, ends: Sequence[Ends]) -> dict[str, Float64Array]:
    scores: dict[str, Float64Array] = {}
    for q, (inside, outside, reference) in enumerate(ends):
        x = target.phi[rows, q].astype(np.float64)
        _accumulate(scores, variant_scores(x, inside, outside, reference), len(ends))
    return scores


def _headline(inputs: AttackInputs) -> str:
    if inputs.in_count < 2:
        return "lira_offline"
    return "lira_online" if min(inputs.in_count, inputs.out_count) >= ONLINE_SHADOWS else "lira_online_fixed"


def _calibrated(shadows: Float64Array, inputs: AttackInputs) -> float:
    pairs = inputs.shadow_in | inputs.shadow_out
    return best_threshold(shadows[pairs], inputs.shadow_in[pairs])


def lira_global(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """phi itself, averaged over queries, one threshold for all examples; without shadows it has no threshold."""
    learned = inputs.learned
    values = np.empty((learned.num_shadows, learned.num_examples))
    for s in range(learned.num_shadows):
        values[s] = learned.shadow_phi[s].mean(axis=-1, dtype=np.float64)
    threshold, note = calibrate(learned, values)

    def score(target: Outputs) -> dict[str, AttackResult]:
        return {"lira_global": AttackResult(target.phi.mean(axis=-1, dtype=np.float64), threshold, note)}

    return score
