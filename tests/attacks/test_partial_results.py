"""Results on part of the examples: what counts, what is measured, and what is too little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks.evaluate import measure, too_few
from attacks.interface import AttackResult
from attacks.metrics import evaluate_scores
from tests.attacks.conftest import MakeCell


def partial(members: int, others: int, of: int = 100) -> tuple[AttackResult, np.ndarray]:
    """A result on `members` + `others` of the examples, and the membership of all."""
    rng = np.random.default_rng(0)
    membership = rng.permutation(of) < of // 2
    rows = np.zeros(of, dtype=bool)
    rows[np.flatnonzero(membership)[:members]] = True
    rows[np.flatnonzero(~membership)[:others]] = True
    return AttackResult(rng.normal(size=members + others), threshold=0.0, rows=rows), membership


def test_the_scored_examples_are_measured_and_counted() -> None:
    result, membership = partial(12, 30)
    rows = measure({"samia": result}, membership, seed=3)
    expected = evaluate_scores(result.scores, membership[result.rows], 0.0, seed=3)
    assert {row["metric"]: row["value"] for row in rows} == {name: one.value for name, one in expected.items()}
    assert {(row["n_members"], row["n_non_members"]) for row in rows} == {(12, 30)}


def test_scores_stand_in_their_places() -> None:
    result, membership = partial(3, 2)
    assert np.isnan(result.spread()).sum() == 95
    np.testing.assert_array_equal(result.spread()[result.rows], result.scores)
    both = np.stack([membership, ~membership])
    np.testing.assert_array_equal(result.among(both), both[:, result.rows])
    with pytest.raises(ValueError, match="4 scores for 5 examples"):
        replace(result, scores=result.scores[:4])


def test_ten_of_each_side_are_needed_of_a_part_and_none_of_the_whole() -> None:
    assert too_few(*partial(10, 10)) is None
    reason = too_few(*partial(9, 40))
    assert reason is not None
    assert "9 members and 40 non-members" in reason
    assert too_few(AttackResult(np.zeros(4)), np.array([True, False, False, False])) is None


def test_the_same_rows_have_to_be_missing_everywhere(cell: MakeCell) -> None:
    inputs = cell(4, 40, seed=0)[0]
    assert inputs.target_sensitivity is not None
    assert inputs.shadow_sensitivity is not None
    target, shadows = inputs.target_sensitivity.copy(), inputs.shadow_sensitivity.copy()
    target[:5], shadows[:, :5] = np.nan, np.nan
    probed = replace(inputs, target_sensitivity=target, shadow_sensitivity=shadows).probed
    assert probed is not None
    assert probed.sum() == 35
    assert inputs.probed is None
    with pytest.raises(ValueError, match="shadow_sensitivity is missing for other examples"):
        replace(inputs, target_sensitivity=target)
    shadows[1, 7] = np.nan
    with pytest.raises(ValueError, match="shadow_sensitivity holds NaN"):
        replace(inputs, target_sensitivity=target, shadow_sensitivity=shadows)
    target[9, 0] = np.nan
    with pytest.raises(ValueError, match="target_sensitivity holds NaN"):
        replace(inputs, target_sensitivity=target)
