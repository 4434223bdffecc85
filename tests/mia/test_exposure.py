"""Exposure and agreement by hand, and their intervals on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mia.exposure import agreement, chance_jaccard, exposure, split_half


def flat(n: int, resamples: int = 5) -> np.ndarray:
    return np.ones((resamples, n), dtype=np.uint8)


def test_exposure_is_the_mean_over_models_that_hold_the_example() -> None:
    scores = np.array([[1.0, 2.0, 9.0], [3.0, 8.0, 9.0]])
    membership = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(exposure(scores, membership), [2.0, 2.0, np.nan])


def test_agreement_by_hand() -> None:
    """Top 2 of {0, 1} and {1, 2}: one shared of three; the NaN is out of both."""
    a = np.array([9.0, 8.0, 7.0, 1.0, 0.0, np.nan])
    b = np.array([1.0, 9.0, 8.0, 0.5, 0.0, 99.0])
    found = agreement(a, b, flat(6), share=0.4)
    assert found is not None
    assert (found.num_examples, found.top) == (5, 2)
    assert found.jaccard == pytest.approx(1 / 3)
    assert (found.jaccard_low, found.jaccard_high) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.spearman == pytest.approx(stats.spearmanr(a[:5], b[:5]).statistic)


def test_a_resamples_top_is_the_share_of_its_weight() -> None:
    """Weights 3, 1, 0, 1: the top 2 of 5 is example 0 twice in a, 1 and 3 in b (2 is not drawn)."""
    a, b = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 4.0, 3.0, 2.0])
    weights = np.array([[3, 1, 0, 1]], dtype=np.uint8)
    found = agreement(a, b, weights, share=0.4)
    assert found is not None
    assert (found.jaccard_low, found.jaccard_high) == (0.0, 0.0)
    same = agreement(a, a, weights, share=0.4)
    assert same is not None
    assert (same.jaccard, same.jaccard_low, same.spearman) == (1.0, 1.0, pytest.approx(1.0))


def test_chance_jaccard_matches_random_sets() -> None:
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        shared = np.intersect1d(rng.choice(60, 12, replace=False), rng.choice(60, 12, replace=False)).size
        drawn.append(shared / (24 - shared))
    assert chance_jaccard(60, 12) == pytest.approx(np.mean(drawn), abs=0.005)
    assert chance_jaccard(4, 4) == 1.0


def test_intervals_cover_the_truth() -> None:
    """Two noisy readings of one exposure: the truth of both figures from two million examples."""

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=n) + 0.5 * rng.normal(size=(2, n))

    a, b = draw(2_000_000, np.random.default_rng(0))
    top_a, top_b = a >= np.quantile(a, 0.95), b >= np.quantile(b, 0.95)
    jaccard, spearman = (top_a & top_b).sum() / (top_a | top_b).sum(), stats.spearmanr(a, b).statistic
    covered = np.zeros(2)
    for seed in range(300):
        rng = np.random.default_rng([1, seed])
        a, b = draw(800, rng)
        weights = rng.multinomial(800, np.full(800, 1 / 800), size=200).astype(np.uint8)
        found = agreement(a, b, weights, share=0.05)
        assert found is not None
        covered += (
            found.jaccard_low <= jaccard <= found.jaccard_high,
            found.spearman_low <= spearman <= found.spearman_high,
        )
    assert (covered / 300 > 0.91).all(), covered


def test_split_half_of_a_cell_with_itself() -> None:
    rng = np.random.default_rng(2)
    membership, own = rng.random((8, 3000)) < 0.5, rng.normal(size=3000)
    scores = own + 0.3 * rng.normal(size=(8, 3000))
    found = split_half(scores, membership, scores, flat(3000))
    assert found is not None
    assert found.spearman > 0.9
    assert found.jaccard > 0.4
    noise = rng.normal(size=(8, 3000))
    nothing = split_half(noise, membership, noise, flat(3000))
    assert nothing is not None
    assert abs(nothing.spearman) < 0.06
    assert split_half(scores[:1], membership[:1], scores[:1], flat(3000)) is None


def test_too_few_examples_say_nothing() -> None:
    assert agreement(np.array([1.0, 2.0, np.nan, np.nan]), np.arange(4.0), flat(4)) is None
