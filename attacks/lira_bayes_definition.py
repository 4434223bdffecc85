"""Bayes LiRA as it is defined: an example's few shadow models combined with what all examples say together.

`attacks.lira_bayes` computes the same for all targets of a cell at once (a test holds the two equal). This form is
slow, and meant for reading and checking.

phi (logit of the true class's probability, as in Carlini et al. 2022, arXiv 2112.03570) is averaged over queries and
passed through h(phi) = c arcsinh(phi / c), c one of 1, 2, 4, 8, infinity (the identity). An example's k IN and k' OUT
values then have means m_in, m_out, sums of squares RSS about them and unbiased variances v; its level l is the mean of
all k + k'. "Spline in l": least squares, linear, knots at the 25, 50 and 75 % quantiles of l over examples.

    s2(l)    spline fitted to (v_in + v_out) / 2, at least 1 % of the mean of that
    rho(l)   fitted to (v_in - v_out) / (2 s2) as nothing, a constant or a line, within +-0.8
    s2_in = s2 (1 + rho),   s2_out = s2 (1 - rho)
    r        mean of cov over examples / mean of sqrt(s2_in s2_out), within +-0.9
    C = r sqrt(s2_in s2_out) / k,   noise = s2_out / k' + s2_in / k - 2 C
    d(l)     spline fitted to m_in - m_out with weights 1 / noise
    w2       mean of (m_in - m_out - d)^2 - noise
    m0, t2   mean of m_out, and its variance - mean of s2_out / k'

cov: where the shadows come in complementary pairs, each pair gives an example one IN and one OUT value (so k' = k), and
the two share the luck of their split with opposite signs: the sum over pairs of (in - m_in)(out - m_out), over k - 1.
Where they do not, and for k = 1, where nothing is known of it, r is 0. The bound keeps the gap's noise above a tenth of
what it would be without the correlation.

c and the form of rho maximise the Bayesian information criterion of the shadows (`evidence`).

Model of one example: mu ~ N(m0, t2), g ~ N(d, w2), (m_in, m_out) normal about (mu + g, mu) with variances s2_in / k
and s2_out / k' and covariance C. The score is log N(x; M1, V1) - log N(x; M0, V0), M1 = E[mu + g], V1 = s2_in +
Var[mu + g], M0 = E[mu], V0 = s2_out + Var[mu] given m_in and m_out, made monotone in x (`log_ratio`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from .arrays import BoolArray, Float64Array, IntArray

TRANSFORMS = (1.0, 2.0, 4.0, 8.0, np.inf)
RATIO_TERMS = (0, 1, 2)  # rho is nothing, a constant, a line
QUANTILES = (0.25, 0.5, 0.75)
LEAST_SHARE = 0.01  # of the mean variance
LARGEST_RATIO = 0.8
LARGEST_CORRELATION = 0.9  # of partners
SMALLEST_VARIANCE = 1e-12
PRIOR_FLOOR = 1e-9  # of the mean s2; w2 and t2 are differences, and may come out below zero
TILT = 0.001
EQUAL = 1e-6  # variances that differ by less than this share have their vertex nowhere
FLAT = 1e-9  # levels that differ by less are one level


@dataclass(frozen=True)
class Choice:
    """c of the transform, and the number of coefficients of rho: 0, 1 or 2."""

    c: float
    terms: int


@dataclass(frozen=True, eq=False)
class Shadows:
    """What the shadows say under one transform: k, k', and m_in, m_out, RSS_in, RSS_out and the level, [n] each.

    cross: sum over complementary pairs of (in - m_in)(out - m_out), [n]; None where shadows do not come in such.
    """

    k_in: int
    k_out: int
    m_in: Float64Array
    m_out: Float64Array
    rss_in: Float64Array
    rss_out: Float64Array
    level: Float64Array
    cross: Float64Array | None = None


def transform(phi: Float64Array, c: float) -> Float64Array:
    """h(phi)."""
    return phi if np.isinf(c) else np.asarray(c * np.arcsinh(phi / c))


def online_scores(
    x: Float64Array,
    phi: Float64Array,
    inside: BoolArray,
    outside: BoolArray,
    choice: Choice | None = None,
    pairs: IntArray | None = None,
) -> tuple[Float64Array, Choice]:
    """The online score of each example, [n], higher = member, and what was chosen.

    x: [n], the target's phi; phi: [S, n], the shadows'; inside, outside: bool [S, n], as many True in every column.
    choice: given rather than made, as where one shadow a side is left to calibrate with. pairs: int [k, 2], of shadows
    in complementary pairs, or None.
    """
    choice = choice or best_choice(phi, inside, outside, offline=False)
    shadows = summarise(phi, inside, outside, choice.c, offline=False, pairs=pairs)
    k_in, k_out, m_in, m_out, level = shadows.k_in, shadows.k_out, shadows.m_in, shadows.m_out, shadows.level
    s2_in, s2_out = (spread(level) for spread in spreads(shadows, choice.terms))
    shared = pair_correlation(shadows, s2_in, s2_out) * np.sqrt(s2_in * s2_out) / k_in  # C
    noise = s2_out / k_out + s2_in / k_in - 2.0 * shared
    d = spline(level, m_in - m_out, 1.0 / noise)(level)
    floor = PRIOR_FLOOR * np.mean((s2_in + s2_out) / 2.0)
    w2 = floor if min(k_in, k_out) < 2 else max(np.mean((m_in - m_out - d) ** 2 - noise), floor)
    m0, t2 = out_prior(m_out, s2_out / k_out, floor)
    scores = np.empty(x.size)
    seen = np.array([[1.0, 1.0], [1.0, 0.0]])  # m_in and m_out are mu + g and mu, and noise
    for i in range(x.size):
        weight = seen.T @ np.linalg.inv([[s2_in[i] / k_in, shared[i]], [shared[i], s2_out[i] / k_out]])
        covariance = np.linalg.inv(np.diag([1.0 / t2, 1.0 / w2]) + weight @ seen)
        mean = covariance @ ([m0 / t2, d[i] / w2] + weight @ [m_in[i], m_out[i]])  # of mu and g
        scores[i] = log_ratio(
            float(transform(x[i], choice.c)),
            mean[0] + mean[1],
            s2_in[i] + covariance.sum(),
            mean[0],
            s2_out[i] + covariance[0, 0],
        )
    return scores, choice


def offline_scores(
    x: Float64Array,
    asked_phi: Float64Array,
    asked_out: BoolArray,
    phi: Float64Array,
    inside: BoolArray,
    outside: BoolArray,
    choice: Choice | None = None,
    pairs: IntArray | None = None,
) -> tuple[Float64Array, Choice]:
    """The offline score of each asked example, [a], from its OUT values alone, and what was chosen.

    x: [a]; asked_phi, asked_out: [S, a]; phi, inside, outside: [S, n], examples that some shadows hold, to learn from.
    Nobody holds an asked example, so the level is m_out here. u = E[mu | m_out] moves by b = Var[mu] k' / s2_out for
    every unit of m_out, hence with noise = Var[mu] + s2_in / k - 2 b C, d(u) is fitted to m_in - u with weights
    1 / noise, and w2 = mean of (m_in - u - d(u))^2 - noise. pairs: as in `online_scores`, of phi.
    """
    choice = choice or best_choice(phi, inside, outside, offline=True)
    shadows = summarise(phi, inside, outside, choice.c, offline=True, pairs=pairs)
    spread_in, spread_out = spreads(shadows, choice.terms)
    s2_in, s2_out = spread_in(shadows.level), spread_out(shadows.level)
    floor = PRIOR_FLOOR * np.mean((s2_in + s2_out) / 2.0)
    m0, t2 = out_prior(shadows.m_out, s2_out / shadows.k_out, floor)

    def posterior(m_out: Float64Array, s2_out: Float64Array, k_out: int) -> tuple[Float64Array, Float64Array]:
        precision = 1.0 / t2 + k_out / s2_out
        return (m0 / t2 + k_out * m_out / s2_out) / precision, 1.0 / precision

    u, variance = posterior(shadows.m_out, s2_out, shadows.k_out)
    shared = pair_correlation(shadows, s2_in, s2_out) * np.sqrt(s2_in * s2_out) / shadows.k_in  # C
    noise = variance + s2_in / shadows.k_in - 2.0 * shared * variance * shadows.k_out / s2_out
    gap = spline(u, shadows.m_in - u, 1.0 / noise)
    few = min(shadows.k_in, shadows.k_out) < 2
    w2 = floor if few else max(np.mean((shadows.m_in - u - gap(u)) ** 2 - noise), floor)
    m_out = np.array([transform(asked_phi[asked_out[:, i], i], choice.c).mean() for i in range(x.size)])
    s2_in, s2_out = spread_in(m_out), spread_out(m_out)
    u, variance = posterior(m_out, s2_out, int(asked_out[:, 0].sum()))
    at, d = transform(x, choice.c), gap(u)
    scores = [
        log_ratio(at[i], u[i] + d[i], s2_in[i] + variance[i] + w2, u[i], s2_out[i] + variance[i]) for i in range(x.size)
    ]
    return np.array(scores), choice


def log_ratio(x: float, m1: float, v1: float, m0: float, v0: float) -> float:
    """log N(x; m1, v1) - log N(x; m0, v0), made to rise with x everywhere.

    Variances that differ make a parabola of it. Beyond its vertex x counts as the vertex, but for a slight tilt. Of
    equal variances it is a line. A member expected below a non-member says nothing but the tilt: with variances nearly
    equal the vertex's value would be huge, and decide whatever x is.
    """
    middle = (m0 + m1) / 2.0
    if m1 <= m0:
        return TILT * (x - middle)
    if abs(v1 - v0) <= EQUAL * v0:
        return (m1 - m0) / v0 * (x - middle)
    vertex = (m0 / v0 - m1 / v1) / (1.0 / v0 - 1.0 / v1)
    reached = max(x, vertex) if v1 > v0 else min(x, vertex)
    ratio = norm.logpdf(reached, m1, np.sqrt(v1)) - norm.logpdf(reached, m0, np.sqrt(v0))
    return float(ratio + TILT * (x - reached))


def summarise(
    phi: Float64Array, inside: BoolArray, outside: BoolArray, c: float, offline: bool, pairs: IntArray | None = None
) -> Shadows:
    rows, cross = [], []
    for i in range(phi.shape[1]):
        held, rest = transform(phi[inside[:, i], i], c), transform(phi[outside[:, i], i], c)
        level = rest.mean() if offline else np.concatenate([held, rest]).mean()
        rss_in, rss_out = ((held - held.mean()) ** 2).sum(), ((rest - rest.mean()) ** 2).sum()
        rows.append((held.mean(), rest.mean(), rss_in, rss_out, level))
        if pairs is not None:
            away = transform(phi[:, i], c) - np.where(inside[:, i], held.mean(), rest.mean())
            cross.append(sum(away[one] * away[other] for one, other in pairs))
    m_in, m_out, rss_in, rss_out, level = np.array(rows).T
    k_in, k_out = int(inside[:, 0].sum()), int(outside[:, 0].sum())
    return Shadows(k_in, k_out, m_in, m_out, rss_in, rss_out, level, None if pairs is None else np.array(cross))


def best_choice(phi: Float64Array, inside: BoolArray, outside: BoolArray, offline: bool) -> Choice:
    """The c and the form of rho with the highest criterion; the first of equals."""
    choices = [Choice(c, terms) for c in TRANSFORMS for terms in RATIO_TERMS]
    return max(choices, key=lambda one: evidence(one, phi, inside, outside, offline))


def evidence(choice: Choice, phi: Float64Array, inside: BoolArray, outside: BoolArray, offline: bool) -> float:
    """The information criterion of the shadows' values about their sides' means, each example's means being fitted."""
    shadows = summarise(phi, inside, outside, choice.c, offline)
    k_in, k_out, n = shadows.k_in, shadows.k_out, phi.shape[1]
    s2_in, s2_out = (spread(shadows.level) for spread in spreads(shadows, choice.terms))
    log_slope = -0.5 * np.log1p((phi / choice.c) ** 2)  # log h'
    slopes = log_slope[inside | outside].sum() * (k_in + k_out - 2) / (k_in + k_out)
    deviance = (k_in - 1) * np.log(s2_in) + (k_out - 1) * np.log(s2_out)
    deviance += shadows.rss_in / s2_in + shadows.rss_out / s2_out
    return float(slopes - 0.5 * deviance.sum() - 0.5 * choice.terms * np.log(n * (k_in + k_out - 2)))


Function = Callable[[Float64Array], Float64Array]  # of the level


def spreads(shadows: Shadows, terms: int) -> tuple[Function, Function]:
    """s2_in and s2_out as functions of the level.

    With one shadow on a side nothing is known of either: they are equal, and the whole of (m_in - m_out - d(l))^2.
    """
    level, k_in, k_out = shadows.level, shadows.k_in, shadows.k_out
    if min(k_in, k_out) < 2:
        gap = shadows.m_in - shadows.m_out
        variance = (gap - spline(level, gap)(level)) ** 2 / (1.0 / k_in + 1.0 / k_out)
        terms = 0
    else:
        v_in, v_out = shadows.rss_in / (k_in - 1), shadows.rss_out / (k_out - 1)
        variance = (v_in + v_out) / 2.0
    fitted, least = spline(level, variance), max(LEAST_SHARE * variance.mean(), SMALLEST_VARIANCE)

    def s2(at: Float64Array) -> Float64Array:
        return np.asarray(np.maximum(fitted(at), least))

    if terms == 0:
        return s2, s2
    basis = np.ones((level.size, 1)) if terms == 1 else np.column_stack([np.ones(level.size), level])
    coefficients = np.linalg.lstsq(basis, (v_in - v_out) / (2.0 * s2(level)), rcond=None)[0]

    def rho(at: Float64Array) -> Float64Array:
        line = coefficients[0] + (coefficients[1] * at if terms == 2 else 0.0 * at)
        return np.asarray(np.clip(line, -LARGEST_RATIO, LARGEST_RATIO))

    return (lambda at: s2(at) * (1.0 + rho(at))), (lambda at: s2(at) * (1.0 - rho(at)))


def spline(level: Float64Array, y: Float64Array, weights: Float64Array | None = None) -> Function:
    """The least-squares linear spline in the level with knots at its quartiles; a constant where all levels are one."""
    knots = np.quantile(level, QUANTILES)
    flat = np.ptp(level) <= FLAT * (1.0 + np.abs(level).max())

    def basis(at: Float64Array) -> Float64Array:
        if flat:
            return np.ones((at.size, 1))
        return np.column_stack([np.ones(at.size), at - knots[1], *(np.maximum(at - knot, 0.0) for knot in knots)])

    root = np.sqrt(np.ones(level.size) if weights is None else weights)
    coefficients = np.linalg.lstsq(basis(level) * root[:, None], y * root, rcond=None)[0]
    return lambda at: basis(at) @ coefficients


def pair_correlation(shadows: Shadows, s2_in: Float64Array, s2_out: Float64Array) -> float:
    """r."""
    if shadows.cross is None or shadows.k_in < 2:
        return 0.0
    found = np.mean(shadows.cross) / (shadows.k_in - 1) / np.mean(np.sqrt(s2_in * s2_out))
    return float(np.clip(found, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def out_prior(m_out: Float64Array, noise: Float64Array, floor: float) -> tuple[float, float]:
    """m0 and t2 of the OUT means."""
    return float(m_out.mean()), float(max(m_out.var() - noise.mean(), floor))
