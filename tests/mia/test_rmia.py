"""RMIA by hand, its thresholds, and when it is not defined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from mia.interface import AttackInputs, AttackResult, AttackSettings, AttackUnavailable
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS


def rmia(inputs: AttackInputs, **knobs: float) -> dict[str, AttackResult]:
    return ATTACKS["rmia"].run(inputs, AttackSettings(**knobs))


def one_example() -> AttackInputs:
    """p(x): target 0.9, IN 0.8, OUT 0.4. p(z): shadows 0.4 and 0.6, target 0.3375 and 0.675."""
    return AttackInputs(
        labels=np.array([0]),
        target_logits=np.zeros((1, 2)),
        target_phi=logit([[0.9]]),
        shadow_logits=np.zeros((2, 1, 2)),
        shadow_phi=logit([[[0.8]], [[0.4]]]),
        shadow_in=np.array([[True], [False]]),
        shadow_out=np.array([[False], [True]]),
        target_population=logit([[0.3375], [0.675]]),
        shadow_population=logit([[[0.4], [0.4]], [[0.6], [0.6]]]),
    )


def test_one_example_by_hand() -> None:
    """p_bar(z) = (1.3 * 0.5 + 0.7) / 2 = 0.675, so z has ratios 0.5 and 1; x has 0.9 / 0.6 = 1.5 online.

    Offline p_bar(x) = (1.3 * 0.4 + 0.7) / 2 = 0.61 and the ratio is 1.475...; with a = 1 it is 0.9 / 0.4 = 2.25 and
    p_bar(z) = 0.5, so z has 0.675 and 1.35.
    """
    inputs = one_example()
    for gamma, share in ((1.0, 1.0), (1.4, 1.0), (1.6, 0.5), (2.9, 0.5), (3.1, 0.0)):
        assert rmia(inputs, rmia_gamma=gamma)["rmia_online"].scores.tolist() == [share]
    assert rmia(inputs, rmia_gamma=1.47)["rmia_offline"].scores.tolist() == [1.0]
    assert rmia(inputs, rmia_gamma=1.48)["rmia_offline"].scores.tolist() == [0.5]
    assert rmia(inputs, rmia_gamma=3.3, rmia_a=1.0)["rmia_offline"].scores.tolist() == [0.5]
    assert rmia(inputs, rmia_gamma=3.4, rmia_a=1.0)["rmia_offline"].scores.tolist() == [0.0]


def test_thresholds_come_from_shadows_and_work_on_the_target(cell: Callable) -> None:
    inputs, membership = cell(9, 2000, seed=0, gap=3.0, own=3.0)
    results = rmia(inputs)
    assert results["rmia"] is results["rmia_online"]
    for key, result in results.items():
        assert result.threshold is not None
        figures = evaluate_scores(result.scores, membership, result.threshold, resamples=0)
        accuracy, best = figures["accuracy"].value, figures["max_accuracy"].value
        assert accuracy is not None
        assert best is not None
        assert best - 0.03 < accuracy <= best, key


def test_one_pair_a_side_scores_without_a_threshold(cell: Callable) -> None:
    results = rmia(cell(4, 40, seed=0)[0])
    assert set(results) == {"rmia", "rmia_online", "rmia_offline"}
    assert results["rmia"].threshold is None
    assert "too few shadow models" in str(results["rmia"].note)


def test_without_in_shadows_it_is_offline(cell: Callable) -> None:
    inputs = cell(9, 40, seed=0)[0]
    results = rmia(replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in)))
    assert set(results) == {"rmia", "rmia_offline"}
    assert results["rmia"] is results["rmia_offline"]
    assert results["rmia"].threshold is None


def test_it_says_what_is_missing(cell: Callable) -> None:
    inputs = cell(9, 40, seed=0)[0]
    with pytest.raises(AttackUnavailable, match="rmia needs the population queries"):
        rmia(replace(inputs, target_population=None, shadow_population=None))
    with pytest.raises(AttackUnavailable, match="does not hold an example; this cell has 0"):
        rmia(replace(inputs, shadow_out=np.zeros_like(inputs.shadow_out)))
