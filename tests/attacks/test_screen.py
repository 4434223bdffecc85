"""What one network says by itself, against slow code and against networks that hold nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attacks.screen import losses, screen, trace_iqr


def test_losses_are_cross_entropies() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    labels = [0, 2]
    slow = [-math.log(math.exp(row[y]) / sum(map(math.exp, row))) for row, y in zip(logits, labels, strict=True)]
    phi = np.array([row[y] - np.log(np.exp(np.delete(row, y)).sum()) for row, y in zip(logits, labels, strict=True)])
    assert losses(phi) == pytest.approx(slow)
    assert losses(np.array([-800.0, 800.0])) == pytest.approx([800.0, 0.0])  # neither overflows


def test_figures_by_hand() -> None:
    phi = np.array([3.0, 1.0, 2.0, -1.0, 0.0])
    inside = np.array([True, True, False, False, False])
    loss = [math.log1p(math.exp(-one)) for one in phi]
    found = screen(phi, inside)
    assert found.loss_gap == pytest.approx(sum(loss[2:]) / 3 - sum(loss[:2]) / 2)
    assert found.loss_auc.value == pytest.approx(5 / 6)  # of the six pairs one is out of order
    with pytest.raises(ValueError, match="member"):
        screen(phi, np.ones(5, dtype=bool))


def test_a_network_that_holds_nothing_is_at_one_half() -> None:
    draws = np.random.default_rng(0)
    inside, gaps = 0, []
    for seed in range(60):
        member = draws.permutation(300) < 150
        found = screen(draws.normal(2.0, 1.5, 300), member, seed)
        assert found.loss_auc.ci_low is not None
        assert found.loss_auc.ci_high is not None
        inside += found.loss_auc.ci_low <= 0.5 <= found.loss_auc.ci_high
        gaps.append(found.loss_gap)
    assert inside >= 53  # of 57 expected
    assert np.mean(gaps) == pytest.approx(0.0, abs=4 * np.std(gaps) / math.sqrt(60))


def test_the_range_of_a_trace_is_that_of_its_order_statistics() -> None:
    """Of five epochs the quartiles are the second and the fourth smallest; of six they lie between two."""
    traces = np.array([[4.0, 1.0], [2.0, 1.0], [1.0, 1.0], [0.5, 1.0], [0.25, 1.0]], dtype=np.float16)
    assert list(trace_iqr(traces)) == [2.0 - 0.5, 0.0]
    six = np.random.default_rng(0).permuted(np.array([[0.0, 1.0, 2.0, 4.0, 8.0, 16.0]]), axis=1).T
    assert trace_iqr(six)[0] == pytest.approx((4.0 + 0.75 * (8.0 - 4.0)) - (1.0 + 0.25 * (2.0 - 1.0)))
