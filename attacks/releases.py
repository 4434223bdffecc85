"""Bayes LiRA on several networks at once: one that was released in K versions, all of them trained on the same members.

What is one number in `attacks.lira_bayes_definition` is a vector or a matrix over the K networks here. Each has its own
transform h and form of rho, as it would choose them alone; all trends are over one level per example, the mean over
networks of their levels, each less its mean and divided by its standard deviation over examples. With D_in, D_out the
diagonal matrices of the networks' standard deviations s_in, s_out at a level, and R the correlation of their shadow
models' residuals (model j of every network was trained on the same members, so its residuals belong together) with a
ridge of 1e-6,

    S_in = D_in R D_in,   S_out = D_out R D_out,   C = D_in Q D_out / k,   noise = S_out / k' + S_in / k - C - C'
    d(l)    of each network its spline of m_in - m_out, with weights 1 / noise
    W       mean of (m_in - m_out - d)(m_in - m_out - d)' - noise, made positive semidefinite
    m0, T   mean of m_out, and its covariance - mean of S_out / k', made positive semidefinite

Q: what r is there, where shadow models come in complementary pairs. Its entry i, j is the correlation of network i's
residual that is IN with network j's of the partner, which is OUT, mean product over mean s_in s_out; it is assumed that
which of the two networks is IN makes no difference, so Q is symmetric. The eigenvalues of R^-1/2 Q R^-1/2 are kept
within +-0.9, by which the covariance of (m_in, m_out) is positive definite. Without pairs Q is 0.

mu ~ N(m0, T), g ~ N(d, W) and (m_in, m_out) normal about (mu + g, mu), with covariances S_in / k and S_out / k' and C
between the two, give M1 = E[mu + g], V1 = S_in +
Var[mu + g], M0 = E[mu] and V0 = S_out + Var[mu]. The score is the scalar one (`lira_bayes_definition.log_ratio`, with
its monotone rule) of a'h(x), whose means and variances are a'M and a'Va. The weights are a = (V1 + V0)^-1 e, e being
M1 - M0 where that is above 0, and 0 elsewhere: a network that expects a member below a non-member says nothing. They
are scaled to sum |a_i| = 1; where e is 0 in all networks they are equal. With K = 1 all this is `lira_bayes_online`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .arrays import BoolArray, Float64Array, IntArray
from .interface import TooFewShadows
from .lira_bayes import MIN_SHADOWS, log_slope
from .lira_bayes_definition import (
    LARGEST_CORRELATION,
    PRIOR_FLOOR,
    TRANSFORMS,
    Choice,
    Shadows,
    transform,
)
from .lira_bayes_model import Predictive, criteria, fit_trend, is_flat, spreads_of

FEWEST = 2  # shadow models per side: with one nothing is known of how networks vary together
RIDGE = 1e-6  # of R: networks whose noise is one (a copy of the other, say) are told apart by it
AS_IT_IS = Choice(float("inf"), 0)  # what has been transformed is not transformed again


@dataclass(frozen=True, eq=False)
class Network:
    """What a network's shadow models say. choice: of its transform and form of rho; shadows: under that transform;
    values: [S, n], the shadow models' h(phi)."""

    choice: Choice
    shadows: Shadows
    values: Float64Array


def learn_network(phi: Float64Array, inside: BoolArray, outside: BoolArray) -> Network:
    """The transform and the form of rho that Bayes LiRA would choose, and what there is to know under it.

    phi: [S, n], the shadow models' means over queries; inside, outside: bool [S, n], which of them hold an example and
    which do not, as many in every column. TooFewShadows where that is one or none.
    """
    if min(int(inside[:, 0].sum()), int(outside[:, 0].sum())) < FEWEST:
        raise TooFewShadows("lira_bayes", MIN_SHADOWS, len(inside))
    found = []
    for c in TRANSFORMS:
        values = transform(phi, c)
        shadows = _shadows(values, inside, outside)
        slopes = float(log_slope(phi, c)[inside | outside].sum())
        for terms, value in enumerate(criteria(shadows, slopes)):
            found.append((value, Network(Choice(c, terms), shadows, values)))
    return max(found, key=lambda one: one[0])[1]


def joint_scores(
    x: Float64Array, networks: Sequence[Network], inside: BoolArray, outside: BoolArray, pairs: IntArray | None = None
) -> Float64Array:
    """The score of each example, [n], higher = member, from K networks together.

    x: [K, n], the targets' phi (means over queries); networks: of their shadow models, K; inside, outside: bool [S, n],
    those that the networks were learned with, which are one for all; pairs: [P, 2], of those S that all serve in
    complementary pairs, or None (`AttackInputs.whole_pairs`).
    """
    shadows = [one.shadows for one in networks]
    level = _common_level([one.level for one in shadows])
    spreads = [spreads_of(replace(one.shadows, level=level), one.choice.terms) for one in networks]
    s_in, s_out = (np.sqrt(np.stack([getattr(one, side) for one in spreads], axis=1)) for side in ("inside", "outside"))
    correlation = _correlation(networks, inside, outside, s_in, s_out)
    cov_in, cov_out = (s[:, :, None] * correlation * s[:, None, :] for s in (s_in, s_out))
    m_in, m_out = (np.stack([getattr(one, side) for one in shadows], axis=1) for side in ("m_in", "m_out"))
    noise_out, noise_in = cov_out / shadows[0].k_out, cov_in / shadows[0].k_in
    between = _pair_correlation(networks, inside, pairs, s_in, s_out, correlation) / shadows[0].k_in
    shared = s_in[:, :, None] * between * s_out[:, None, :]
    noise, gap = noise_out + noise_in - shared - shared.transpose(0, 2, 1), m_in - m_out
    d = np.stack([fit_trend(level, gap[:, i], 1.0 / noise[:, i, i])[1] for i in range(len(networks))], axis=1)
    scale = np.sqrt(np.mean(s_in**2 + s_out**2, axis=0) / 2.0)
    w = _semidefinite((gap - d).T @ (gap - d) / len(gap) - noise.mean(axis=0), scale)
    m0 = m_out.mean(axis=0)
    t = _semidefinite((m_out - m0).T @ (m_out - m0) / len(m_out) - noise_out.mean(axis=0), scale)
    mean_mu, mean_held, var_mu, var_held = _posterior(m_out - m0, m_in - m0 - d, t, w, noise_out, noise_in, shared)
    mean_out, mean_in = m0 + mean_mu, m0 + d + mean_held
    v0, v1 = cov_out + var_mu, cov_in + var_held
    a = _weights(mean_in - mean_out, v0 + v1)
    values = np.stack([transform(one, network.choice.c) for one, network in zip(x, networks, strict=True)], axis=1)
    at, m1, m0 = ((a * one).sum(axis=1) for one in (values, mean_in, mean_out))
    var_in, var_out = (np.einsum("ni,nij,nj->n", a, one, a) for one in (v1, v0))
    return Predictive(AS_IT_IS, m1, var_in, m0, var_out).scores(at)


def _shadows(values: Float64Array, inside: BoolArray, outside: BoolArray) -> Shadows:
    k_in, k_out = int(inside[:, 0].sum()), int(outside[:, 0].sum())
    held, rest = (np.where(side, values, 0.0).sum(axis=0) for side in (inside, outside))
    m_in, m_out = held / k_in, rest / k_out
    rss_in = np.where(inside, (values - m_in) ** 2, 0.0).sum(axis=0)
    rss_out = np.where(outside, (values - m_out) ** 2, 0.0).sum(axis=0)
    return Shadows(k_in, k_out, m_in, m_out, rss_in, rss_out, (held + rest) / (k_in + k_out))


def _common_level(levels: Sequence[Float64Array]) -> Float64Array:
    """The mean of the networks' standardised levels, [n]; a network whose levels are all one says nothing."""
    varying = [(level - level.mean()) / level.std() for level in levels if not is_flat(level)]
    return np.asarray(np.mean(varying, axis=0)) if varying else np.zeros_like(levels[0])


def _correlation(
    networks: Sequence[Network], inside: BoolArray, outside: BoolArray, s_in: Float64Array, s_out: Float64Array
) -> Float64Array:
    """R [K, K], of the shadow models' residuals about their side's mean, each divided by its spread."""
    residuals = []
    for i, one in enumerate(networks):
        held = (one.values - one.shadows.m_in) / s_in[:, i]
        rest = (one.values - one.shadows.m_out) / s_out[:, i]
        residuals.append(np.where(inside, held, np.where(outside, rest, 0.0)).ravel())
    stacked = np.stack(residuals)
    products = stacked @ stacked.T
    size = np.sqrt(products.diagonal())
    size[size == 0.0] = 1.0
    correlation = np.asarray(products / np.outer(size, size))
    np.fill_diagonal(correlation, 1.0)
    return (1.0 - RIDGE) * correlation + RIDGE * np.eye(len(correlation))


def _pair_correlation(
    networks: Sequence[Network],
    inside: BoolArray,
    pairs: IntArray | None,
    s_in: Float64Array,
    s_out: Float64Array,
    correlation: Float64Array,
) -> Float64Array:
    """Q [K, K]."""
    if pairs is None:
        return np.zeros_like(correlation)
    one, other = pairs.T
    held, rest = [], []
    for network in networks:
        values, shadows = network.values, network.shadows
        first, second = (values[rows] - np.where(inside[rows], shadows.m_in, shadows.m_out) for rows in (one, other))
        held.append(np.where(inside[one], first, second).ravel())
        rest.append(np.where(inside[one], second, first).ravel())
    products, size = np.stack(held) @ np.stack(rest).T / (len(pairs) - 1), s_in.T @ s_out
    q = (products + products.T) / (size + size.T)
    root = np.linalg.cholesky(correlation)
    found, vectors = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, q).T))
    vectors = root @ vectors
    return np.asarray((vectors * np.clip(found, -LARGEST_CORRELATION, LARGEST_CORRELATION)) @ vectors.T)


def _semidefinite(matrix: Float64Array, scale: Float64Array) -> Float64Array:
    """The nearest covariance in units of `scale` [K], no direction below PRIOR_FLOOR (a difference may be negative)."""
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    return np.asarray((vectors * np.maximum(values, PRIOR_FLOOR)) @ vectors.T * np.outer(scale, scale))


def _posterior(
    out: Float64Array,
    held: Float64Array,
    t: Float64Array,
    w: Float64Array,
    noise_out: Float64Array,
    noise_in: Float64Array,
    shared: Float64Array,
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Means [n, K] and covariances [n, K, K] of mu and mu + g, less their prior means, given both sides' means.

    out, held: [n, K], m_out and m_in less their prior means; shared: of m_in (rows) with m_out, [n, K, K]. Without
    inverses of priors, which may be singular.
    """
    size = len(t)
    prior = np.block([[t, t], [t, t + w]])  # of (mu, mu + g)
    seen = np.broadcast_to(prior, (len(out), 2 * size, 2 * size)).copy()
    seen[:, :size, :size] += noise_out
    seen[:, size:, size:] += noise_in
    seen[:, size:, :size] += shared
    seen[:, :size, size:] += shared.transpose(0, 2, 1)
    gain = np.linalg.solve(seen, np.broadcast_to(prior, seen.shape)).transpose(0, 2, 1)  # both are symmetric
    mean = np.einsum("nij,nj->ni", gain, np.concatenate([out, held], axis=1))
    covariance = prior - gain @ prior
    return mean[:, :size], mean[:, size:], covariance[:, :size, :size], covariance[:, size:, size:]


def _weights(apart: Float64Array, variance: Float64Array) -> Float64Array:
    """a [n, K]. apart: M1 - M0; variance: V1 + V0, [n, K, K]."""
    a = np.linalg.solve(variance, np.maximum(apart, 0.0)[:, :, None])[:, :, 0]
    size = np.abs(a).sum(axis=1, keepdims=True)
    return np.where(size > 0.0, a / np.where(size > 0.0, size, 1.0), 1.0 / apart.shape[1])
