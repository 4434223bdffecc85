"""Statistics of logits against the formulas they are named after, and where those formulas break down."""

from __future__ import annotations

import numpy as np
import pytest

from attacks import statistics
from attacks.statistics import phi

LABELS = np.array([0, 2, 1, 3])


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 2.0, (5, 4, 4))


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits)
    p: np.ndarray = e / e.sum(axis=-1, keepdims=True)
    return p


def test_moderate_logits_match_the_direct_formulas(logits: np.ndarray) -> None:
    p = softmax(logits)
    p_y = np.stack([p[:, i, y] for i, y in enumerate(LABELS)], axis=1)
    wrong = np.ones((4, 4)) - np.eye(4)[LABELS]
    direct = (1 - p_y) * np.log(p_y) + (wrong * p * np.log(1 - p)).sum(axis=-1)
    np.testing.assert_allclose(statistics.log_softmax(logits), np.log(p), rtol=1e-12)
    np.testing.assert_allclose(statistics.confidence(phi(logits, LABELS)), p_y, rtol=1e-12)
    np.testing.assert_allclose(statistics.doubt(phi(logits, LABELS)), 1 - p_y, rtol=1e-12)
    np.testing.assert_allclose(statistics.entropy(logits, LABELS), (p * np.log(p)).sum(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(statistics.modified_entropy(logits, LABELS), direct, rtol=1e-12)
    np.testing.assert_allclose(phi(logits, LABELS), np.log(p_y / (1 - p_y)), rtol=1e-9)


def test_saturated_logits_are_neither_nan_nor_capped() -> None:
    z, right, wrong = np.array([[1000.0, 0.0]]), np.array([0]), np.array([1])
    assert statistics.log_confidence(phi(z, wrong))[0] == -1000.0
    assert phi(z, right)[0] == 1000.0
    assert phi(z, wrong)[0] == -1000.0
    assert statistics.modified_entropy(z, right)[0] == 0.0
    assert statistics.modified_entropy(z, wrong)[0] == -2000.0  # (1 - 0) * -1000 + 1 * log(1 - 1) with 1 - p = e^-1000
    assert statistics.entropy(z, right)[0] == 0.0


def test_confident_outputs_are_told_apart() -> None:
    """p rounds to 1.0 in float64 beyond a margin of 37; the log-confidence must not."""
    z = np.array([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0]], dtype=np.float32)
    log_p = statistics.log_confidence(phi(z, np.array([0, 0])))
    np.testing.assert_allclose(log_p, -2.0 * np.exp([-50.0, -60.0]), rtol=1e-12)
    assert log_p.dtype == np.float64
    np.testing.assert_allclose(statistics.doubt(phi(z, np.array([0, 0]))), 2.0 * np.exp([-50.0, -60.0]), rtol=1e-12)


def test_ties_and_two_classes() -> None:
    assert phi(np.zeros((1, 2)), np.array([1]))[0] == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(phi(np.zeros((2, 5)), np.array([0, 4])), -np.log(4.0))
