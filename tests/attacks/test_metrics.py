"""Metrics by hand, against scikit-learn, and the bootstrap against explicit resamples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score, roc_auc_score, roc_curve

from attacks.metrics import (
    FPR_LIMITS,
    METRICS,
    allowed_false_positives,
    clopper_pearson,
    evaluate_scores,
    example_weights,
    resampled_values,
    roc,
)


def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    membership = rng.random(n) < 0.4
    return (rng.normal(size=n) + 0.5 * membership).round(1), membership  # rounding makes ties


def test_four_examples_with_a_tie_by_hand() -> None:
    """Scores 3 (member), 2 (member and non-member tie), 1 (non-member): 3.5 of 4 pairs in order."""
    scores, membership = np.array([2.0, 3.0, 1.0, 2.0]), np.array([True, True, False, False])
    figures = evaluate_scores(scores, membership, 2.0, resamples=0)
    assert figures["auc"].value == 0.875
    assert figures["max_accuracy"].value == 0.75
    assert figures["accuracy"].value == 0.75
    assert figures["precision"].value == pytest.approx(2 / 3)
    assert figures["recall"].value == 1.0
    assert figures["f1"].value == pytest.approx(0.8)
    assert figures["advantage"].value == 0.5
    assert figures["tpr_at_fpr_0.01"].value is None
    fpr, tpr = roc(scores, membership)
    assert fpr.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert tpr.tolist() == [0.0, 0.5, 1.0, 1.0]


def test_tpr_at_fpr_by_hand() -> None:
    """Five false positives of 500 are allowed at 1 %: the two tied non-members at 5 are one too many."""
    scores = np.concatenate([[9.0, 7.0, 5.0, 5.0], [8.0, 8.0, 8.0, 8.0, 5.0, 5.0], np.zeros(494)])
    membership = np.arange(504) < 4
    figures = evaluate_scores(scores, membership, None, resamples=20)
    assert figures["tpr_at_fpr_0.01"].value == 0.5
    assert figures["tpr_at_fpr_0.001"].value is None
    assert figures["accuracy"].value is None
    assert figures["accuracy"].ci_low is None


@pytest.mark.parametrize("digits", [0, 1, 15])
def test_curve_and_area_are_those_of_sklearn_to_the_last_bit(digits: int) -> None:
    for seed in range(20):
        scores, membership = sample(15 * (seed + 1), seed)
        scores = (scores + np.random.default_rng(seed).normal(size=scores.size)).round(digits) * 10.0 ** (seed - 10)
        fpr, tpr, _ = roc_curve(membership, scores, drop_intermediate=False)
        for ours, theirs in zip(roc(scores, membership), (fpr, tpr), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert evaluate_scores(scores, membership, None, resamples=0)["auc"].value == roc_auc_score(membership, scores)


def test_point_values_match_sklearn() -> None:
    scores, membership = sample(10_000, 0)
    figures, claimed = evaluate_scores(scores, membership, 0.3, resamples=50), scores >= 0.3
    assert tuple(figures) == METRICS
    expected = {
        "auc": roc_auc_score(membership, scores),
        "accuracy": balanced_accuracy_score(membership, claimed),
        "precision": precision_score(membership, claimed),
        "recall": recall_score(membership, claimed),
        "f1": f1_score(membership, claimed),
    }
    for name, value in expected.items():
        assert figures[name].value == pytest.approx(value, abs=1e-12)
    thresholds = np.unique(scores)
    for name, limit in (("tpr_at_fpr_0.001", 0.001), ("tpr_at_fpr_0.01", 0.01)):
        allowed = [t for t in thresholds if (scores[~membership] >= t).mean() <= limit]
        assert figures[name].value == pytest.approx(max((scores[membership] >= t).mean() for t in allowed))
    for figure in figures.values():
        assert figure.value is not None
        assert figure.ci_low is not None
        assert figure.ci_high is not None
        assert figure.ci_low <= figure.value <= figure.ci_high


@pytest.mark.parametrize("targets", [1, 3])
def test_resampled_values_match_sklearn_on_explicit_resamples(targets: int) -> None:
    """Of a resample too, as many non-members are accused as of the examples themselves."""
    scores, membership = sample(9000, 1)
    others = np.random.default_rng(5).random((targets - 1, 9000)) < 0.5
    weights = example_weights(np.vstack([membership, others]), 3, seed=0)
    values = resampled_values(scores, membership, 0.3, weights)
    allowed = allowed_false_positives(membership)
    assert set(values) == set(METRICS)
    for b, counts in enumerate(weights):
        drawn = np.repeat(np.arange(9000), counts)
        figures = evaluate_scores(scores[drawn], membership[drawn], 0.3, resamples=0, allowed=allowed)
        for name, value in values.items():
            assert value[b] == pytest.approx(figures[name].value, abs=1e-12), name


def test_one_target_keeps_its_sides_and_several_draw_whole_columns() -> None:
    membership = np.random.default_rng(0).random((3, 500)) < 0.4
    one = example_weights(membership[:1], 40, seed=1)
    assert (one[:, membership[0]].sum(axis=1) == membership[0].sum()).all()
    assert (one.sum(axis=1) == 500).all()
    several = example_weights(membership, 400, seed=1)
    assert (several.sum(axis=1) == 500).all()
    assert np.ptp(several[:, membership[0]].sum(axis=1)) > 20
    assert several.mean(axis=0) == pytest.approx(np.ones(500), abs=0.3)
    assert several.var(axis=0).mean() == pytest.approx(1.0, abs=0.02)


def test_a_draw_without_a_side_is_drawn_again() -> None:
    membership = np.array([[True, False, False], [False, True, False]])
    weights = example_weights(membership, 200, seed=0)
    assert (weights.sum(axis=1) == 3).all()
    assert (weights[:, :2] > 0).all()


def test_bootstrap_is_seeded_chunked_and_centred(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, membership = sample(2000, 2)
    weights = example_weights(membership[None], 300, seed=1)
    one = resampled_values(scores, membership, 0.0, weights)
    monkeypatch.setattr("attacks.metrics.CHUNK_VALUES", 7 * 2000)
    assert np.array_equal(weights, example_weights(membership[None], 300, seed=1))
    assert not np.array_equal(weights, example_weights(membership[None], 300, seed=2))
    chunked = resampled_values(scores, membership, 0.0, weights)
    assert all(np.array_equal(one[name], chunked[name]) for name in one)
    assert one["auc"].mean() == pytest.approx(roc_auc_score(membership, scores), abs=0.003)


def test_clopper_pearson_by_hand() -> None:
    """No success of 10: the upper end solves (1 - p)^10 = 0.025."""
    low, high = clopper_pearson(0.0, 10)
    assert low == 0.0
    assert (1 - high) ** 10 == pytest.approx(0.025)
    assert clopper_pearson(0.5, 10) == pytest.approx((0.187086, 0.812914), abs=1e-6)


def test_low_fpr_intervals_are_never_narrower_than_exact_ones() -> None:
    """Nobody is found at 1 %: a bootstrap alone would say [0, 0]."""
    scores, membership = np.concatenate([np.zeros(50), np.ones(550)]), np.arange(600) < 50
    figure = evaluate_scores(scores, membership, None, resamples=50)["tpr_at_fpr_0.01"]
    assert figure.value == figure.ci_low == 0.0
    assert (1 - (figure.ci_high or 0.0)) ** 50 == pytest.approx(0.025)
    scores, membership = sample(9000, 4)
    for name in FPR_LIMITS:
        figure = evaluate_scores(scores, membership, None, resamples=100)[name]
        assert figure.value is not None
        low, high = clopper_pearson(figure.value, int(membership.sum()))
        assert (figure.ci_low or 0.0) <= low
        assert (figure.ci_high or 0.0) >= high


def test_nobody_claimed() -> None:
    scores, membership = sample(200, 3)
    figures = evaluate_scores(scores, membership, 99.0, resamples=10)
    assert (figures["precision"].value, figures["f1"].value, figures["accuracy"].value) == (0.0, 0.0, 0.5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one side is empty"):
        evaluate_scores(np.zeros(3), np.ones(3, dtype=bool), None)
    with pytest.raises(ValueError, match="NaN or infinite"):
        evaluate_scores(np.array([0.0, np.nan]), np.array([True, False]), None)
    with pytest.raises(ValueError, match="bool"):
        evaluate_scores(np.zeros(3), np.ones(2, dtype=bool), None)
