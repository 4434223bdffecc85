"""Bayes LiRA's definition against slow, obvious code: hat functions, loops, integrals in the place of posteriors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm

from attacks.lira_bayes_definition import Choice, offline_scores, online_scores
from tests.attacks.test_lira_bayes import made_up, plain_arrays


def fitted(level: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The linear spline: five values, at the ends and the quartiles of the level, joined by lines."""
    at = np.quantile(level, [0.0, 0.25, 0.5, 0.75, 1.0])
    hats = np.stack([np.interp(level, at, unit) for unit in np.eye(5)], axis=1)
    return np.asarray(hats @ np.linalg.solve(hats.T @ (weights[:, None] * hats), hats.T @ (weights * y)))


def side_values(phi: np.ndarray, side: np.ndarray) -> list[np.ndarray]:
    return [phi[side[:, i], i] for i in range(phi.shape[1])]


def spreads_by_hand(level: np.ndarray, held: list[np.ndarray], rest: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """s2_in and s2_out with a line for rho."""
    v_in, v_out = (np.array([np.var(values, ddof=1) for values in side]) for side in (held, rest))
    mean = (v_in + v_out) / 2
    s2 = np.maximum(fitted(level, mean, np.ones(level.size)), 0.01 * mean.mean())
    rho = np.clip(np.polyval(np.polyfit(level, (v_in - v_out) / (2 * s2), 1), level), -0.8, 0.8)
    return s2 * (1 + rho), s2 * (1 - rho)


def prior(m_out: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    return float(np.mean(m_out)), float(np.mean((m_out - np.mean(m_out)) ** 2) - np.mean(noise))


def integral(values: np.ndarray, mu: np.ndarray, g: np.ndarray) -> float:
    return float(trapezoid(trapezoid(values, g, axis=1), mu))


@pytest.mark.parametrize("split", ["balanced", "pairs"])
def test_online_is_the_ratio_of_predictive_densities_by_quadrature(split: str) -> None:
    inputs = made_up(9 if split == "balanced" else 10, 400, seed=2, split=split, scatter=0.6, r=-0.5).leave_out(0)
    _, phi, inside, outside = plain_arrays(inputs)
    pairs = inputs.whole_pairs
    held, rest = side_values(phi, inside), side_values(phi, outside)
    k_in, k_out = len(held[0]), len(rest[0])
    m_in, m_out = (np.array([np.mean(values) for values in side]) for side in (held, rest))
    level = np.array([np.mean([*a, *b]) for a, b in zip(held, rest, strict=True)])
    s_in, s_out = spreads_by_hand(level, held, rest)
    shared = np.zeros(400)
    if pairs is not None:
        of_pairs = [np.where(inside[pairs[:, 0], i], pairs.T, pairs.T[::-1]) for i in range(400)]  # IN, then OUT
        covariances = [np.cov(phi[a, i], phi[b, i])[0, 1] for i, (a, b) in enumerate(of_pairs)]
        shared = np.mean(covariances) / np.mean(np.sqrt(s_in * s_out)) * np.sqrt(s_in * s_out) / k_in
        assert (shared < 0).all()
    noise = s_in / k_in + s_out / k_out - 2 * shared
    d = fitted(level, m_in - m_out, 1 / noise)
    w2 = float(np.mean((m_in - m_out - d) ** 2 - noise))
    m0, t2 = prior(m_out, s_out / k_out)
    assert w2 > 0
    x = np.full(400, np.nan)
    expected, checked = np.full(400, np.nan), range(0, 400, 40)
    for i in checked:
        mu, g = np.linspace(m_out[i] - 6, m_out[i] + 6, 801), d[i] + np.sqrt(w2) * np.linspace(-7, 7, 401)
        of_mu = norm.pdf(mu, m0, np.sqrt(t2)) * norm.pdf(m_out[i], mu, np.sqrt(s_out[i] / k_out))
        both = mu[:, None] + g
        expected_in = both + shared[i] / (s_out[i] / k_out) * (m_out[i] - mu[:, None])  # of m_in, given m_out
        spread_in = np.sqrt(s_in[i] / k_in - shared[i] ** 2 / (s_out[i] / k_out))
        weight = of_mu[:, None] * norm.pdf(g, d[i], np.sqrt(w2)) * norm.pdf(m_in[i], expected_in, spread_in)
        member, other = (integral(weight * mean, mu, g) for mean in (both, mu[:, None] + 0 * g))
        x[i] = (0.3 * member + 0.7 * other) / integral(weight, mu, g)  # between the means the ratio rises
        in_density = integral(weight * norm.pdf(x[i], both, np.sqrt(s_in[i])), mu, g)
        expected[i] = np.log(in_density / integral(weight * norm.pdf(x[i], mu[:, None], np.sqrt(s_out[i])), mu, g))
        assert member > other
    got = online_scores(np.nan_to_num(x), phi, inside, outside, Choice(np.inf, 2), pairs)[0]
    np.testing.assert_allclose(got[checked], expected[checked], rtol=1e-7, atol=1e-7)


def test_offline_is_the_ratio_of_predictive_densities_by_quadrature() -> None:
    _, phi, inside, outside = plain_arrays(made_up(9, 400, seed=5, scatter=1.5).leave_out(0))
    held, rest = side_values(phi, inside), side_values(phi, outside)
    k_in, k_out = len(held[0]), len(rest[0])
    m_in, m_out = (np.array([np.mean(values) for values in side]) for side in (held, rest))
    s_in, s_out = spreads_by_hand(m_out, held, rest)
    m0, t2 = prior(m_out, s_out / k_out)
    z = np.linspace(-12, 12, 2401)
    mu = m_out + z[:, None]  # [grid, n]
    weight = norm.pdf(mu, m0, np.sqrt(t2)) * norm.pdf(m_out, mu, np.sqrt(s_out / k_out))
    weight = weight / trapezoid(weight, z, axis=0)
    u = trapezoid(weight * mu, z, axis=0)
    noise = trapezoid(weight * (mu - u) ** 2, z, axis=0) + s_in / k_in
    d = fitted(u, m_in - u, 1 / noise)
    w2 = np.mean((m_in - u - d) ** 2 - noise)
    assert w2 > 0
    rising = d > 0
    x = u + 0.5 * d
    member = trapezoid(weight * norm.pdf(x, mu + d, np.sqrt(s_in + w2)), z, axis=0)
    expected = np.log(member / trapezoid(weight * norm.pdf(x, mu, np.sqrt(s_out)), z, axis=0))
    got = offline_scores(x, phi, outside, phi, inside, outside, Choice(np.inf, 2))[0]
    assert rising.mean() > 0.5
    np.testing.assert_allclose(got[rising], expected[rising], rtol=1e-7, atol=1e-7)


def test_with_flat_priors_it_is_lira_with_means_and_variances_by_level() -> None:
    """Many shadows, and examples and gaps that differ by far more than shadows do."""
    rng = np.random.default_rng(0)
    n, models = 200, 400
    inside = (np.arange(models) < models // 2)[:, None] & np.ones(n, dtype=bool)
    mu, gap = 1e4 * rng.normal(size=n), 1e4 * np.abs(rng.normal(size=n)) + 10.0
    phi = mu + inside * gap + np.where(inside, 1.0, 1.3) * rng.normal(size=(models, n))
    m_in, m_out = phi[:200].mean(axis=0), phi[200:].mean(axis=0)
    x = m_out + 2.0 * rng.random(n)
    got = online_scores(x, phi, inside, ~inside, Choice(np.inf, 2))[0]
    level = phi.mean(axis=0)
    s_in, s_out = spreads_by_hand(level, list(phi[:200].T), list(phi[200:].T))
    expected = norm.logpdf(x, m_in, np.sqrt(s_in)) - norm.logpdf(x, m_out, np.sqrt(s_out))
    np.testing.assert_allclose(got, expected, rtol=0.02)
    plain = norm.logpdf(x, m_in, np.sqrt(s_in * 1.005)) - norm.logpdf(x, m_out, np.sqrt(s_out * 1.005))
    np.testing.assert_allclose(got, plain, rtol=1e-4)  # 200 a side: the means' own variance is 1 / 200
