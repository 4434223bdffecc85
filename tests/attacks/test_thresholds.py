"""Thresholds against exhaustive search, and the per-class attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import statistics
from attacks.interface import AttackSettings, TooFewShadows
from attacks.registry import ATTACKS
from attacks.thresholds import best_threshold, class_thresholds, of_phi, shadow_values
from tests.attacks.conftest import MakeCell

SETTINGS = AttackSettings()
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


def worth(values: np.ndarray, is_in: np.ndarray, threshold: float) -> float:
    return float((values[is_in] >= threshold).mean() + (values[~is_in] < threshold).mean()) / 2


@given(PAIRS.filter(lambda pairs: len({inside for _, inside in pairs}) == 2))
def test_best_threshold_is_the_best(pairs: list[tuple[int, bool]]) -> None:
    values = np.array([value for value, _ in pairs], dtype=np.float64)
    is_in = np.array([inside for _, inside in pairs])
    found = best_threshold(values, is_in)
    candidates = np.unique(values)
    worths = np.array([worth(values, is_in, t) for t in candidates])
    assert found == candidates[np.flatnonzero(np.isclose(worths, worths.max(), rtol=0, atol=1e-12))[0]]


def test_best_threshold_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="members and of non-members"):
        best_threshold(np.zeros(3), np.ones(3, dtype=bool))


def test_score_is_the_distance_to_the_classs_threshold(cell: MakeCell) -> None:
    inputs = cell(9, 400, seed=0, gap=2.0)[0]
    result = ATTACKS["confidence"].run(inputs, SETTINGS)["confidence"]
    values = shadow_values(inputs, of_phi(statistics.confidence))
    thresholds = class_thresholds(inputs, values, inputs.num_classes)
    p_y = statistics.confidence(inputs.target_phi[:, 0])
    assert result.threshold == 0.0
    assert np.array_equal(result.scores >= 0.0, p_y >= thresholds[inputs.labels])
    for c in range(inputs.num_classes):
        own = inputs.labels == c
        values = np.concatenate([statistics.confidence(one[own, 0]) for one in inputs.shadow_phi])
        side_in, side_out = inputs.shadow_in[:, own].ravel(), inputs.shadow_out[:, own].ravel()
        assert thresholds[c] == best_threshold(values[side_in | side_out], side_in[side_in | side_out])


def test_an_absent_class_takes_the_global_threshold(cell: MakeCell) -> None:
    inputs = cell(9, 60, seed=0)[0]
    inputs = replace(inputs, labels=np.where(inputs.labels == 3, 0, inputs.labels))
    values = shadow_values(inputs, of_phi(statistics.confidence))
    pairs = inputs.shadow_in | inputs.shadow_out
    assert class_thresholds(inputs, values, inputs.num_classes)[3] == best_threshold(
        values[pairs], inputs.shadow_in[pairs]
    )


def test_per_class_attacks_need_shadows_and_loss_does_not(cell: MakeCell) -> None:
    inputs = cell(2, 30, seed=0)[0]
    with pytest.raises(TooFewShadows, match="entropy needs at least 3 shadow models; this cell has 1"):
        ATTACKS["entropy"].run(inputs, SETTINGS)
    result = ATTACKS["loss"].run(inputs, SETTINGS)["loss"]
    assert result.threshold is None
    assert result.note is not None
    np.testing.assert_allclose(result.scores, statistics.log_confidence(inputs.target_phi[:, 0]))
