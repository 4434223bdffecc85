"""Bayes LiRA on complementary pairs: the correlation of partners, what it does to the gaps' spread and is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.interface import AttackSettings
from attacks.lira_bayes import _of_inputs, lira_bayes_each
from attacks.lira_bayes_definition import Choice, Shadows, out_prior, pair_correlation, summarise
from attacks.lira_bayes_model import fit_trend, gap_prior, predict_online, spreads_of
from attacks.models import Models
from tests.attacks.test_lira_bayes import made_up


def test_without_pairs_the_sides_are_independent() -> None:
    """The posterior from two independent means, to the last bit; with pairs it is not."""
    inputs = made_up(9, 150, seed=2).leave_out(0)
    serving = _of_inputs(inputs)
    one = serving.shadows(serving.sums(4.0), 4.0)
    assert one.cross is None
    spreads = spreads_of(one, 2)
    s2_in, s2_out, gap = spreads.inside, spreads.outside, one.m_in - one.m_out
    noise = s2_out / one.k_out + s2_in / one.k_in
    d = fit_trend(one.level, gap, 1.0 / noise)[1]
    w2 = float(np.mean((gap - d) ** 2 - noise))
    m0, t2 = out_prior(one.m_out, s2_out / one.k_out, 0.0)
    a, c = 1.0 / t2 + one.k_out / s2_out, one.k_in / s2_in
    held, rest = c * one.m_in, m0 / t2 + one.k_out * one.m_out / s2_out
    whole = a + c * (1.0 + a * w2)
    assert w2 > 0
    got = predict_online(one, Choice(4.0, 2))
    assert np.array_equal(got.m1, (rest + held + a * (d + w2 * held)) / whole)
    assert np.array_equal(got.v1, s2_in + (1.0 + a * w2) / whole)
    assert np.array_equal(got.m0, (rest + held + c * (w2 * rest - d)) / whole)
    assert np.array_equal(got.v0, s2_out + (1.0 + c * w2) / whole)
    paired = replace(one, cross=-0.4 * np.sqrt(one.rss_in * one.rss_out))
    assert not np.allclose(predict_online(paired, Choice(4.0, 2)).m1, got.m1)


def test_the_correlation_of_partners_by_hand() -> None:
    """Two pairs: residuals (1, -1) and (-2, 2) multiply to -4, beside a mean spread of 5; bounded by 0.9."""
    three = np.ones(3)
    shadows = Shadows(2, 2, three, three, 2.0 * three, 8.0 * three, three, -4.0 * three)
    assert pair_correlation(shadows, 5.0 * three, 5.0 * three) == pytest.approx(-0.8)
    assert pair_correlation(shadows, 2.0 * three, 8.0 * three) == -0.9
    assert pair_correlation(replace(shadows, cross=None), three, three) == 0.0
    assert pair_correlation(replace(shadows, k_in=1, k_out=1, cross=0.0 * three), three, three) == 0.0
    inside = np.array([[True], [False], [True], [False]])
    found = summarise(
        np.array([[3.0], [-2.0], [1.0], [2.0]]), inside, ~inside, np.inf, False, np.array([[0, 1], [2, 3]])
    )
    assert found.cross == pytest.approx([-4.0])


def test_of_correlated_partners_the_gaps_spread_is_unbiased_and_scores_are_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gaps N(1, 0.3), partners' residuals correlated by -0.4: taken as independent, the gaps seem to spread by more."""
    truth, found, gains = 0.3, [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        coins = rng.random((4, 1500)) < 0.5
        membership = np.stack([coins, ~coins], axis=1).reshape(8, 1500)
        luck = rng.normal(size=(8, 1500))
        luck[1::2] = -0.4 * luck[0::2] + np.sqrt(1.0 - 0.16) * luck[1::2]
        level, gap = 2.0 * rng.normal(size=1500), 1.0 + np.sqrt(truth) * rng.normal(size=1500)
        models = Models(None, (level + membership * gap + luck)[:, :, None], membership, np.zeros(1500, np.int64), 0)
        aucs: list[list[float]] = []
        for correlate in (pair_correlation, lambda *_: 0.0):
            monkeypatch.setattr("attacks.lira_bayes_model.pair_correlation", correlate)
            each = lira_bayes_each(models, AttackSettings(calibrate=False))
            assert each is not None
            values = [each(target)(models.outputs(target))["lira_bayes"].scores for target in range(8)]
            aucs.append([roc_auc_score(own, one) for own, one in zip(membership, values, strict=True)])
        gains.append(np.mean(aucs[0]) - np.mean(aucs[1]))
        serving = _of_inputs(models.leave_out(0))
        shadows = serving.shadows(serving.sums(np.inf), np.inf)
        spreads = spreads_of(shadows, 0)
        r = pair_correlation(shadows, spreads.inside, spreads.outside)
        found.append([gap_prior(shadows, spreads, one)[1] for one in (r, 0.0)])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    correlated, independent = np.mean(found, axis=0)
    assert abs(correlated - truth) < 4.0 * error[0]
    assert independent - truth > 0.2
    assert np.mean(gains) > 4.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))
