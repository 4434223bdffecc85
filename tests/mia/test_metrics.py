"""Metrics by hand, against scikit-learn, and the bootstrap against explicit resamples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from mia.metrics import METRICS, bootstrap_values, evaluate_scores, majority_baseline, roc, weighted_values


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
    """One false positive of 100 is allowed at 1 %: the two tied non-members at 5 are one too many."""
    scores = np.concatenate([[9.0, 7.0, 5.0, 5.0], [8.0, 5.0, 5.0], np.zeros(97)])
    membership = np.arange(104) < 4
    figures = evaluate_scores(scores, membership, None, resamples=20)
    assert figures["tpr_at_fpr_0.01"].value == 0.5
    assert figures["tpr_at_fpr_0.001"].value is None
    assert figures["accuracy"].value is None
    assert figures["accuracy"].ci_low is None


def test_point_values_match_sklearn() -> None:
    scores, membership = sample(5000, 0)
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
        assert figure.ci_low is not None
        assert figure.ci_high is not None
        assert figure.ci_low <= figure.value <= figure.ci_high


def test_weighted_values_match_sklearn_on_an_explicit_resample() -> None:
    scores, membership = sample(3000, 1)
    rng = np.random.default_rng(0)
    inside, outside = np.flatnonzero(membership), np.flatnonzero(~membership)
    drawn = np.concatenate([rng.choice(inside, inside.size), rng.choice(outside, outside.size)])
    distinct = -np.unique(-scores)
    true, false = (
        np.array([[(scores[drawn[membership[drawn] == side]] == value).sum() for value in distinct]])
        for side in (True, False)
    )
    values = weighted_values(true, false, claimed=int((distinct >= 0.3).sum()))
    figures = evaluate_scores(scores[drawn], membership[drawn], 0.3, resamples=0)
    assert set(values) == set(METRICS)
    for name, value in values.items():
        assert value[0] == pytest.approx(figures[name].value, abs=1e-12), name


def test_bootstrap_is_seeded_chunked_and_centred(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, membership = sample(2000, 2)
    one = bootstrap_values(scores, membership, 0.0, 300, seed=1)
    monkeypatch.setattr("mia.metrics.CHUNK_VALUES", 7 * 2000)
    chunked = bootstrap_values(scores, membership, 0.0, 300, seed=1)
    assert all(np.array_equal(one[name], chunked[name]) for name in one)
    assert not np.array_equal(one["auc"], bootstrap_values(scores, membership, 0.0, 300, seed=2)["auc"])
    assert one["auc"].mean() == pytest.approx(roc_auc_score(membership, scores), abs=0.003)


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


def test_majority_baseline() -> None:
    assert majority_baseline(np.array([True, False, False, False])) == 0.75
