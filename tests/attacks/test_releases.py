"""The joint attack on several networks: one network is Bayes LiRA, two are the formulas written out, noise is noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from attacks.arrays import BoolArray, Float64Array, IntArray
from attacks.interface import AttackSettings, TooFewShadows
from attacks.lira_bayes_definition import PRIOR_FLOOR, Choice, log_ratio, spline, spreads, summarise, transform
from attacks.metrics import evaluate_scores
from attacks.models import from_models
from attacks.registry import ATTACKS
from attacks.releases import RIDGE, joint_scores, learn_network


def coins(models: int, examples: int, seed: int) -> BoolArray:
    """Complementary pairs, bool [M, n]."""
    heads = np.random.default_rng(seed).random((models // 2, examples)) < 0.5
    return np.stack([side for one in heads for side in (one, ~one)])


def networks(
    membership: BoolArray, gaps: tuple[float, ...], seed: int, shared: float = 0.5, r: float = -0.3
) -> Float64Array:
    """phi [K, M, n] of networks whose members gain `gaps`, and of which model j of each shares noise.

    r: correlation of the noise of the models of a pair, of what networks share and of what is each one's own.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(1.0, 2.0, size=membership.shape[1])
    common = rng.normal(size=membership.shape)
    own = rng.normal(size=(len(gaps), *membership.shape))
    for noise in (common, *own):
        noise[1::2] = r * noise[::2] + np.sqrt(1.0 - r**2) * noise[1::2]
    rise = 1.0 + rng.exponential(size=membership.shape[1]) * (level < 1.0)
    noise = np.sqrt(shared) * common + np.sqrt(1.0 - shared) * own
    return np.asarray(level + np.array(gaps)[:, None, None] * rise * membership + noise)


def attack(phi: Float64Array, membership: BoolArray, target: int, which: tuple[int, ...]) -> Float64Array:
    labels = np.zeros(membership.shape[1], dtype=np.int64)
    inputs = from_models(None, phi[which[0]][:, :, None], membership, labels, target, 0)
    inside, outside = inputs.shadow_in, inputs.shadow_out
    learned = [learn_network(np.delete(phi[k], target, axis=0), inside, outside) for k in which]
    return joint_scores(phi[list(which), target], learned, inside, outside, inputs.whole_pairs)


def auc(scores: Float64Array, inside: BoolArray) -> float:
    value = evaluate_scores(scores, inside, None, resamples=0)["auc"].value
    assert value is not None
    return value


@pytest.mark.parametrize(("seed", "r"), [(0, -0.3), (1, -0.97)])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_one_network_is_bayes_lira(gap: float, seed: int, r: float) -> None:
    membership = coins(8, 400, seed)
    phi = networks(membership, (gap,), seed, r=r)
    labels = np.zeros(400, dtype=np.int64)
    for target in (0, 5):
        inputs = from_models(None, phi[0][:, :, None], membership, labels, target, 0)
        expected = ATTACKS["lira_bayes"].run(inputs, AttackSettings(calibrate=False))["lira_bayes"].scores
        np.testing.assert_allclose(attack(phi, membership, target, (0,)), expected, rtol=1e-8, atol=1e-8)


def written_out(
    x: Float64Array, phi: Float64Array, inside: BoolArray, outside: BoolArray, choices: list[Choice], pairs: IntArray
) -> Float64Array:
    """The docstring's formulas, an example at a time, with the posterior from inverses of precisions."""
    count, n = len(phi), phi.shape[2]
    own = [summarise(one, inside, outside, choice.c, offline=False) for one, choice in zip(phi, choices, strict=True)]
    k = own[0].k_in
    level = np.mean([(one.level - one.level.mean()) / one.level.std() for one in own], axis=0)
    values = np.stack([transform(one, choice.c) for one, choice in zip(phi, choices, strict=True)])
    s = np.empty((2, n, count))
    for i, (one, choice) in enumerate(zip(own, choices, strict=True)):
        at = type(one)(k, k, one.m_in, one.m_out, one.rss_in, one.rss_out, level)
        for side, function in enumerate(spreads(at, choice.terms)):
            s[side, :, i] = np.sqrt(function(level))
    products = np.zeros((count, count))
    for example in range(n):
        for shadow in range(len(inside)):
            side = 0 if inside[shadow, example] else 1
            middle = np.array([(one.m_in, one.m_out)[side][example] for one in own])
            away = (values[:, shadow, example] - middle) / s[side, example]
            products += np.outer(away, away)
    correlation = products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    correlation = (1.0 - RIDGE) * correlation + RIDGE * np.eye(count)
    cov_in, cov_out = (np.array([np.diag(one) @ correlation @ np.diag(one) for one in side]) for side in s)
    m_in, m_out = (np.stack([getattr(one, name) for one in own], axis=1) for name in ("m_in", "m_out"))
    between = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            total, sizes = 0.0, 0.0
            for example in range(n):
                for pair in pairs:
                    a, b = pair if inside[pair[0], example] else pair[::-1]  # IN and OUT
                    for p, q in ((i, j), (j, i)):
                        held = values[p, a, example] - own[p].m_in[example]
                        total += held * (values[q, b, example] - own[q].m_out[example]) / (k - 1)
                sizes += s[0, example, i] * s[1, example, j] + s[0, example, j] * s[1, example, i]
            between[i, j] = total / sizes
    assert (between < -0.1).any()
    assert np.abs(np.linalg.eigvals(np.linalg.solve(correlation, between))).max() < 0.9
    shared = np.array([np.diag(one) @ between @ np.diag(other) for one, other in zip(s[0], s[1], strict=True)]) / k
    noise = (cov_in + cov_out) / k - shared - shared.transpose(0, 2, 1)
    gap = m_in - m_out
    d = np.stack([spline(level, gap[:, i], 1.0 / noise[:, i, i])(level) for i in range(count)], axis=1)

    def positive(matrix: Float64Array) -> Float64Array:
        scale = np.diag(1.0 / np.sqrt(np.mean(s[0] ** 2 + s[1] ** 2, axis=0) / 2.0))
        found, vectors = np.linalg.eigh(scale @ matrix @ scale)
        back = np.linalg.inv(scale)
        return np.asarray(back @ vectors @ np.diag(np.maximum(found, PRIOR_FLOOR)) @ vectors.T @ back)

    w = positive(np.mean([np.outer(row, row) for row in gap - d], axis=0) - noise.mean(axis=0))
    m0 = m_out.mean(axis=0)
    t = positive(np.cov(m_out.T, bias=True).reshape(count, count) - cov_out.mean(axis=0) / k)
    scores = np.empty(n)
    eye, nothing = np.eye(count), np.zeros((count, count))
    seen_as = np.block([[eye, eye], [eye, nothing]])  # m_in and m_out, of mu and g
    before = np.block([[np.linalg.inv(t), nothing], [nothing, np.linalg.inv(w)]])
    for example in range(n):
        around = np.block([[cov_in[example] / k, shared[example]], [shared[example].T, cov_out[example] / k]])
        weight = seen_as.T @ np.linalg.inv(around)
        covariance = np.linalg.inv(before + weight @ seen_as)
        both_means = np.concatenate([m_in[example], m_out[example]])
        mean = covariance @ (before @ np.concatenate([m0, d[example]]) + weight @ both_means)
        mu, held = mean[:count], mean[:count] + mean[count:]
        both = np.hstack([np.eye(count), np.eye(count)])
        v0, v1 = cov_out[example] + covariance[:count, :count], cov_in[example] + both @ covariance @ both.T
        a = np.linalg.inv(v0 + v1) @ np.maximum(held - mu, 0.0)
        a = a / np.abs(a).sum() if np.abs(a).sum() > 0 else np.full(count, 1.0 / count)
        seen = np.array([transform(x[i, example], choices[i].c) for i in range(count)])
        scores[example] = log_ratio(a @ seen, a @ held, a @ v1 @ a, a @ mu, a @ v0 @ a)
    return scores


@pytest.mark.parametrize("gaps", [(1.0, 0.4), (0.7, 0.0, 1.2)])
def test_several_networks_are_the_formulas_written_out(gaps: tuple[float, ...]) -> None:
    membership = coins(8, 60, 3)
    phi = networks(membership, gaps, 3)
    inputs = from_models(None, phi[0][:, :, None], membership, np.zeros(60, dtype=np.int64), 2, 0)
    inside, outside = inputs.shadow_in, inputs.shadow_out
    shadows = np.delete(phi, 2, axis=1)
    serving = inside.any(axis=1) | outside.any(axis=1)
    learned = [learn_network(one, inside, outside) for one in shadows]
    pairs = inputs.whole_pairs
    assert pairs is not None
    choices = [one.choice for one in learned]
    among = np.searchsorted(np.flatnonzero(serving), pairs)
    expected = written_out(phi[:, 2], shadows[:, serving], inside[serving], outside[serving], choices, among)
    found = joint_scores(phi[:, 2], learned, inside, outside, pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_two_trainings_say_more_than_one_and_a_network_without_leak_adds_nothing() -> None:
    membership = coins(8, 3000, 4)
    phi = networks(membership, (0.8, 0.8, 0.0), 4)
    gains, useless = [], []
    for target in range(8):
        alone = auc(attack(phi, membership, target, (0,)), membership[target])
        gains.append(auc(attack(phi, membership, target, (0, 1)), membership[target]) - alone)
        useless.append(auc(attack(phi[:, :, :], membership, target, (0, 2)), membership[target]) - alone)
    assert np.mean(gains) > 0.01
    # what the two share of their noise helps a little; a network that knows nothing of members costs nothing
    assert np.mean(useless) > -0.005


def test_on_noise_there_is_nothing_to_find() -> None:
    values = []
    for seed in range(6):
        used, asked = coins(8, 500, seed), coins(8, 500, 100 + seed)
        phi = networks(used, (1.0, 0.5), seed)
        values += [auc(attack(phi, asked, target, (0, 1)), asked[target]) for target in range(0, 8, 2)]
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < 4 * error
    assert error < 0.01


def test_the_weights_are_those_of_the_best_line_between_two_normals() -> None:
    """With equal variances a'h(x) orders examples as the ratio of the two normal densities does."""
    rng = np.random.default_rng(0)
    covariance, apart = np.array([[1.0, 0.6], [0.6, 2.0]]), np.array([1.0, 0.8])
    x = rng.normal(size=(200, 2))
    ratio = multivariate_normal(apart, covariance).logpdf(x) - multivariate_normal(np.zeros(2), covariance).logpdf(x)
    from attacks.releases import _weights

    a = _weights(apart[None], 2.0 * covariance[None])[0]
    assert np.array_equal(np.argsort(x @ a), np.argsort(ratio))


def test_a_copy_of_a_network_adds_nothing() -> None:
    membership = coins(8, 300, 6)
    phi = np.repeat(networks(membership, (1.0,), 6), 2, axis=0)
    both, alone = (attack(phi, membership, 0, which) for which in ((0, 1), (0,)))
    assert auc(both, membership[0]) == pytest.approx(auc(alone, membership[0]), abs=0.005)


def test_one_shadow_model_per_side_is_too_few() -> None:
    membership = coins(4, 50, 0)
    with pytest.raises(TooFewShadows):
        attack(networks(membership, (1.0,), 0), membership, 0, (0,))
