"""TPR at a low FPR: how many false positives it allows, when that is too few, and what FPR it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.evaluate import measure
from attacks.interface import AttackResult
from attacks.metrics import allowed_false_positives, evaluate_scores, expected_fpr, resampled_values

AT_ONE_PERCENT = "tpr_at_fpr_0.01"


def target(members: int, non_members: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and membership: every second member stands above all non-members, no two scores are equal."""
    membership = np.arange(members + non_members) < members
    scores = np.where(membership & (np.arange(membership.size) % 2 == 0), 1e6, 0.0) + np.arange(membership.size)
    return scores, membership


@pytest.mark.parametrize(("non_members", "count"), [(499, None), (500, 5), (599, 5), (600, 6), (700, 7), (5000, 50)])
def test_the_limit_times_the_non_members_rounded_down_and_none_below_five(non_members: int, count: int | None) -> None:
    scores, membership = target(20, non_members)
    assert allowed_false_positives(membership).get(AT_ONE_PERCENT) == count
    figure = evaluate_scores(scores, membership, None, resamples=20)[AT_ONE_PERCENT]
    weights = np.ones((2, scores.size), dtype=np.uint8)
    drawn = resampled_values(scores, membership, None, weights)
    if count is None:
        assert (figure.value, figure.ci_low, figure.ci_high) == (None, None, None)
        assert AT_ONE_PERCENT not in drawn
    else:
        assert figure.value == 0.5
        assert drawn[AT_ONE_PERCENT].tolist() == [0.5, 0.5]


def test_a_tenth_of_a_percent_needs_five_thousand() -> None:
    assert "tpr_at_fpr_0.001" not in allowed_false_positives(target(9, 4999)[1])
    assert allowed_false_positives(target(9, 5000)[1])["tpr_at_fpr_0.001"] == 5


def test_the_target_with_fewest_non_members_decides_for_all() -> None:
    membership = np.zeros((2, 1500), dtype=bool)
    membership[0, :800], membership[1, :650] = True, True
    assert allowed_false_positives(membership) == {AT_ONE_PERCENT: 7}
    membership[0, :1010] = True
    assert allowed_false_positives(membership) == {}


def test_exactly_that_many_are_accused() -> None:
    """Members and non-members in turn from the top: with k accused, k + 1 of the members stand above."""
    membership = np.arange(2000) % 2 == 0
    scores = -np.arange(2000.0)
    for count in (5, 10):
        value = evaluate_scores(scores, membership, None, 0, allowed={AT_ONE_PERCENT: count})[AT_ONE_PERCENT].value
        assert value == (count + 1) / 1000


def test_the_expected_fpr_is_the_mean_over_draws() -> None:
    """Uniform non-members: the FPR of a threshold at the (k + 1)-th highest of n is 1 minus that score."""
    scores = np.sort(np.random.default_rng(0).random((4000, 600)), axis=1)
    fpr = 1.0 - scores[:, -7]
    assert fpr.mean() == pytest.approx(expected_fpr(6, 600), abs=4 * fpr.std() / np.sqrt(4000))
    assert expected_fpr(7, 700) == 8 / 701


def test_rows_state_both_for_the_metrics_that_have_them() -> None:
    memberships = np.zeros((2, 1500), dtype=bool)
    memberships[0, :700], memberships[1, :900] = True, True
    result = AttackResult(np.random.default_rng(1).normal(size=1500))
    rows = {row["metric"]: row for row in measure({"loss": result}, memberships[0], 0, memberships)}
    low = rows[AT_ONE_PERCENT]
    assert (low["n_non_members"], low["false_positives"], low["expected_fpr"]) == (800, 6, 7 / 801)
    assert (
        low["value"]
        == evaluate_scores(result.scores, memberships[0], None, 0, allowed={AT_ONE_PERCENT: 6})[AT_ONE_PERCENT].value
    )
    assert {rows[name]["false_positives"] for name in ("auc", "tpr_at_fpr_0.001")} == {None}
    alone = {row["metric"]: row for row in measure({"loss": result}, memberships[0], 0)}[AT_ONE_PERCENT]
    assert (alone["false_positives"], alone["expected_fpr"]) == (8, 9 / 801)


def test_a_part_that_was_scored_counts_its_own_non_members() -> None:
    memberships = np.arange(2000)[None] < np.array([[1000], [900]])
    rows = np.zeros(2000, dtype=bool)
    rows[:100], rows[-500:] = True, True
    result = AttackResult(np.arange(600.0), rows=rows)
    (low,) = [
        row for row in measure({"samia": result}, memberships[0], 0, memberships) if row["metric"] == AT_ONE_PERCENT
    ]
    assert (low["n_non_members"], low["false_positives"], low["expected_fpr"]) == (500, 5, 6 / 501)
    rows[-1] = False
    fewer = AttackResult(np.arange(599.0), rows=rows)
    (low,) = [
        row for row in measure({"samia": fewer}, memberships[0], 0, memberships) if row["metric"] == AT_ONE_PERCENT
    ]
    assert (low["value"], low["false_positives"], low["expected_fpr"]) == (None, None, None)
