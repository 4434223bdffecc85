"""The model of Bayes LiRA for all examples at once: fits, the choice of the transform, predictions, scores.

`attacks.lira_bayes_definition` is the plain form of the same, with the formulas; names are those. Here the normal
equations of a spline take the place of its least squares, and the posterior is written without inverses of priors, so
that a gap spread of zero is no special case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from .arrays import Float64Array, IntArray
from .lira_bayes_definition import (
    EQUAL,
    FLAT,
    LARGEST_RATIO,
    LEAST_SHARE,
    PRIOR_FLOOR,
    QUANTILES,
    SMALLEST_VARIANCE,
    TILT,
    Choice,
    Shadows,
    out_prior,
    pair_correlation,
    transform,
)

FARTHEST = 40.0  # standard deviations, beyond which a tail of the normal distribution is 0
HALVINGS = 50
SINGULAR = 1e-12  # share of a spline's largest eigenvalue below which a direction is not there


@dataclass(frozen=True, eq=False)
class Predictive:
    """What h(phi) of a model is predicted to be, [n]: mean m1 and variance v1 of one that holds an example, m0 and v0
    of one that does not."""

    choice: Choice
    m1: Float64Array
    v1: Float64Array
    m0: Float64Array
    v0: Float64Array

    def only(self, rows: IntArray) -> Predictive:
        """Of some of the examples."""
        return Predictive(self.choice, self.m1[rows], self.v1[rows], self.m0[rows], self.v0[rows])

    def scores(self, phi: Float64Array) -> Float64Array:
        """The score of each example for phi [n], [n], higher = member."""
        return self._scores(transform(phi, self.choice.c))

    def out_tail(self, threshold: float) -> Float64Array:
        """The chance that the score of a model that does not hold the example lies above a threshold, [n], as the OUT
        predictive N(m0, v0) has it. The score rises with h(phi), so halving finds where it reaches the threshold."""
        low, high = np.full_like(self.m0, -FARTHEST), np.full_like(self.m0, FARTHEST)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            above = self._scores(self.m0 + middle * np.sqrt(self.v0)) > threshold
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(ndtr(-high))

    def _scores(self, x: Float64Array) -> Float64Array:
        """Of x = h(phi)."""
        delta, middle = self.v1 - self.v0, 0.5 * (self.m0 + self.m1)
        line = np.abs(delta) <= EQUAL * self.v0
        vertex = (self.m0 * self.v1 - self.m1 * self.v0) / np.where(line, 1.0, delta)
        reached = np.where(delta > 0.0, np.maximum(x, vertex), np.minimum(x, vertex))
        if line.any():
            reached = np.where(line, x, reached)
        ratio = 0.5 * ((reached - self.m0) ** 2 / self.v0 - (reached - self.m1) ** 2 / self.v1)
        ratio += 0.5 * np.log(self.v0 / self.v1)
        if line.any():
            ratio = np.where(line, (self.m1 - self.m0) / self.v0 * (reached - middle), ratio)
        return np.asarray(np.where(self.m1 > self.m0, ratio + TILT * (x - reached), TILT * (x - middle)))


@dataclass(frozen=True, eq=False)
class Trend:
    """A linear spline in the level, of given knots [3]; a constant where `flat`."""

    knots: Float64Array
    flat: bool
    coefficients: Float64Array

    def __call__(self, level: Float64Array) -> Float64Array:
        return np.asarray(self.coefficients @ _basis(level, self.knots, self.flat))


def fit_trend(level: Float64Array, y: Float64Array, weights: Float64Array | None = None) -> tuple[Trend, Float64Array]:
    """The least-squares spline with knots at the quartiles of the level, and its values there, [n]."""
    knots, flat = np.quantile(level, QUANTILES), is_flat(level)
    basis = _basis(level, knots, flat)
    weighted = basis if weights is None else basis * weights
    gram = weighted @ basis.T
    scale = np.sqrt(gram.diagonal())
    scale[scale == 0.0] = 1.0  # knots that coincide leave a segment empty
    inverse = np.linalg.pinv(gram / np.outer(scale, scale), rcond=SINGULAR, hermitian=True)
    coefficients = inverse @ (weighted @ y / scale) / scale
    return Trend(knots, flat, coefficients), np.asarray(coefficients @ basis)


def is_flat(level: Float64Array) -> bool:
    """Whether all levels are one."""
    low, high = float(level.min()), float(level.max())
    return high - low <= FLAT * (1.0 + max(abs(low), abs(high)))


def _basis(level: Float64Array, knots: Float64Array, flat: bool) -> Float64Array:
    """[5, n]: a constant and the part of the level in each of the four segments, whose slopes are free."""
    if flat:
        return np.ones((1, level.size))
    basis = np.empty((5, level.size))
    basis[0] = 1.0
    np.minimum(level - knots[0], 0.0, out=basis[1])
    np.clip(level - knots[0], 0.0, knots[1] - knots[0], out=basis[2])
    np.clip(level - knots[1], 0.0, knots[2] - knots[1], out=basis[3])
    np.maximum(level - knots[2], 0.0, out=basis[4])
    return basis


@dataclass(frozen=True, eq=False)
class Spreads:
    """s2_in and s2_out as functions of the level; inside, outside: their values at the shadows' levels, [n]."""

    trend: Trend
    least: float
    rho: tuple[float, float]
    inside: Float64Array
    outside: Float64Array

    def at(self, level: Float64Array) -> tuple[Float64Array, Float64Array]:
        s2 = np.maximum(self.trend(level), self.least)
        rho = ratio_at(level, self.rho)
        return s2 * (1.0 + rho), s2 * (1.0 - rho)


def ratio_at(level: Float64Array, line: tuple[float, float]) -> Float64Array | float:
    """rho at a level, from its constant and its slope."""
    constant, slope = line
    return np.clip(constant + slope * level if slope else constant, -LARGEST_RATIO, LARGEST_RATIO)


def _common(shadows: Shadows) -> tuple[Trend, float, Float64Array]:
    """The trend of s2, the least s2, and s2 at the shadows' levels."""
    k_in, k_out = shadows.k_in, shadows.k_out
    if min(k_in, k_out) < 2:
        gap = shadows.m_in - shadows.m_out
        variance = (gap - fit_trend(shadows.level, gap)[1]) ** 2 / (1.0 / k_in + 1.0 / k_out)
    else:
        variance = 0.5 * (shadows.rss_in / (k_in - 1) + shadows.rss_out / (k_out - 1))
    trend, values = fit_trend(shadows.level, variance)
    least = max(LEAST_SHARE * float(variance.mean()), SMALLEST_VARIANCE)
    return trend, least, np.maximum(values, least)


def _ratios(shadows: Shadows, s2: Float64Array) -> list[tuple[float, float]]:
    """rho by its number of terms: constant and slope of each form."""
    ratio = (shadows.rss_in / (shadows.k_in - 1) - shadows.rss_out / (shadows.k_out - 1)) / (2.0 * s2)
    constant, centre = float(ratio.mean()), float(shadows.level.mean())
    away = shadows.level - centre
    slope = 0.0 if is_flat(shadows.level) else float(away @ ratio / (away @ away))
    return [(0.0, 0.0), (constant, 0.0), (constant - slope * centre, slope)]


def spreads_of(shadows: Shadows, terms: int) -> Spreads:
    """Of the shadows' level, with `terms` coefficients of rho."""
    trend, least, s2 = _common(shadows)
    few = terms == 0 or min(shadows.k_in, shadows.k_out) < 2
    line = (0.0, 0.0) if few else _ratios(shadows, s2)[terms]
    rho = ratio_at(shadows.level, line)
    return Spreads(trend, least, line, s2 * (1.0 + rho), s2 * (1.0 - rho))


def criteria(shadows: Shadows, log_slopes: float) -> list[float]:
    """The information criterion of one transform by rho's number of terms. log_slopes: sum of log h' over I and O."""
    k_in, k_out, n = shadows.k_in, shadows.k_out, shadows.level.size
    s2 = _common(shadows)[2]
    slopes = log_slopes * (k_in + k_out - 2) / (k_in + k_out)
    common = (k_in + k_out - 2) * float(np.log(s2).sum())
    inside, outside = shadows.rss_in / s2, shadows.rss_out / s2
    found = []
    for terms, line in enumerate(_ratios(shadows, s2)):
        rho = np.broadcast_to(ratio_at(shadows.level, line), s2.shape) if line[1] else ratio_at(shadows.level[:1], line)
        logs = ((k_in - 1) * np.log1p(rho) + (k_out - 1) * np.log1p(-rho)) * (n / np.size(rho))
        deviance = common + float(np.sum(logs)) + float((inside / (1.0 + rho) + outside / (1.0 - rho)).sum())
        found.append(float(slopes - 0.5 * deviance - 0.5 * terms * np.log(n * (k_in + k_out - 2))))
    return found


def predict_online(shadows: Shadows, choice: Choice) -> Predictive:
    """From an example's IN and OUT values and from the trends over all examples."""
    k_in, k_out, m_in, m_out = shadows.k_in, shadows.k_out, shadows.m_in, shadows.m_out
    spreads = spreads_of(shadows, choice.terms)
    s2_in, s2_out = spreads.inside, spreads.outside
    r = pair_correlation(shadows, s2_in, s2_out)
    d, w2, floor = gap_prior(shadows, spreads, r)
    m0, t2 = out_prior(m_out, s2_out / k_out, floor)
    # m_in - beta m_out has noise of its own, of precision c: with r = 0 it is m_in
    beta = r * np.sqrt(s2_in / s2_out)
    a, c, own = 1.0 / t2 + k_out / s2_out, k_in / (s2_in * (1.0 - r * r)), 1.0 - beta
    held, rest = c * (m_in - beta * m_out), m0 / t2 + k_out * m_out / s2_out
    whole = a + c * (own * own + a * w2)  # the precisions' determinant times w2
    left = w2 * rest - own * d
    return Predictive(
        choice,
        m1=(rest + own * held + a * (d + w2 * held) + beta * c * left) / whole,
        v1=s2_in + (1.0 + a * w2 + beta * beta * c * w2) / whole,
        m0=(rest + own * held + c * left) / whole,
        v0=s2_out + (1.0 + c * w2) / whole,
    )


def gap_prior(shadows: Shadows, spreads: Spreads, r: float) -> tuple[Float64Array, float, float]:
    """d at the shadows' levels, [n], w2, and the floor of both priors' variances. r: correlation of partners."""
    gap, s2_in, s2_out = shadows.m_in - shadows.m_out, spreads.inside, spreads.outside
    noise = s2_out / shadows.k_out + s2_in / shadows.k_in - 2.0 * r * np.sqrt(s2_in * s2_out) / shadows.k_in
    d = fit_trend(shadows.level, gap, 1.0 / noise)[1]
    return d, *_gap_spread(shadows, gap - d, noise, spreads)


def _gap_spread(shadows: Shadows, residual: Float64Array, noise: Float64Array, spreads: Spreads) -> tuple[float, float]:
    """w2, and the floor of both priors' variances."""
    floor = PRIOR_FLOOR * float(np.mean(spreads.inside + spreads.outside)) / 2.0
    if min(shadows.k_in, shadows.k_out) < 2:
        return floor, floor
    return max(float(np.mean(residual**2 - noise)), floor), floor


@dataclass(frozen=True, eq=False)
class OffLine:
    """What is learned for examples that nobody holds: from an OUT mean to both predictions."""

    choice: Choice
    spreads: Spreads
    m0: float
    t2: float
    gap: Trend
    w2: float

    def predict(self, m_out: Float64Array, k_out: int) -> Predictive:
        """m_out: [a], of h(phi) over k_out models that do not hold the examples."""
        s2_in, s2_out = self.spreads.at(m_out)
        u, variance = posterior(m_out, s2_out / k_out, self.m0, self.t2)
        return Predictive(self.choice, u + self.gap(u), s2_in + variance + self.w2, u, s2_out + variance)


def posterior(m_out: Float64Array, noise: Float64Array, m0: float, t2: float) -> tuple[Float64Array, Float64Array]:
    """u = E[mu | m_out] and Var[mu | m_out], [n] each."""
    precision = 1.0 / t2 + 1.0 / noise
    return (m0 / t2 + m_out / noise) / precision, 1.0 / precision


def learn_offline(shadows: Shadows, choice: Choice) -> OffLine:
    """From examples with values of both sides; their level is m_out here."""
    spreads = spreads_of(shadows, choice.terms)
    m_out, noise_out = shadows.m_out, spreads.outside / shadows.k_out
    floor = PRIOR_FLOOR * float(np.mean(spreads.inside + spreads.outside)) / 2.0
    m0, t2 = out_prior(m_out, noise_out, floor)
    u, variance = posterior(m_out, noise_out, m0, t2)
    r = pair_correlation(shadows, spreads.inside, spreads.outside)
    noise = variance + spreads.inside / shadows.k_in - 2.0 * r * variance * np.sqrt(spreads.inside / spreads.outside)
    gap, d = fit_trend(u, shadows.m_in - u, 1.0 / noise)
    return OffLine(choice, spreads, m0, t2, gap, _gap_spread(shadows, shadows.m_in - u - d, noise, spreads)[0])


def by_out_level(shadows: Shadows) -> Shadows:
    """The same with m_out as the level, which is all that there is where nobody holds an example."""
    return replace(shadows, level=shadows.m_out)
