"""From targets to a cell's figure: one number of false positives, in a cell and in a pair of cells."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.interface import AttackResult
from attacks.metrics import allowed_false_positives, evaluate_scores
from evaluation.estimates import Measured, common_weights, estimate, low_fpr, measured, paired_samples

AT_ONE_PERCENT = "tpr_at_fpr_0.01"


def cell(memberships: np.ndarray, seed: int) -> dict[int, Measured]:
    """An attack's targets, by index, on scores that members have a little more of."""
    rng = np.random.default_rng(seed)
    allowed = allowed_false_positives(memberships)
    weights = common_weights([memberships], seed=0, resamples=20)
    found = {}
    for target, inside in enumerate(memberships):
        result = AttackResult(rng.normal(size=inside.size) + inside)
        values = evaluate_scores(result.scores, inside, None, resamples=0, allowed=allowed)
        found[target] = measured(result, inside, values, weights, allowed)
    return found


def memberships(*non_members: int, examples: int = 1600) -> np.ndarray:
    """bool [T, examples]; target t has non_members[t]."""
    return np.stack([np.random.default_rng(t).permutation(examples) >= count for t, count in enumerate(non_members)])


def test_a_cell_states_its_false_positives_and_its_mean_expected_fpr() -> None:
    found = cell(memberships(820, 640, 760), seed=1)
    assert low_fpr(found, AT_ONE_PERCENT) == {
        "false_positives": 6,
        "expected_fpr": pytest.approx((7 / 821 + 7 / 641 + 7 / 761) / 3),
    }
    assert low_fpr(found, "auc") == {}
    assert low_fpr(found, "tpr_at_fpr_0.001") == {}
    assert estimate(found, "tpr_at_fpr_0.001") is None


def test_a_cell_of_too_few_non_members_in_one_target_has_no_figure() -> None:
    found = cell(memberships(820, 499), seed=1)
    assert estimate(found, AT_ONE_PERCENT) is None
    assert low_fpr(found, AT_ONE_PERCENT) == {}


def test_cells_of_other_targets_are_compared_at_the_same_false_positives() -> None:
    """b has a target more, with fewer non-members: on the common targets both get b's number."""
    some = memberships(820, 760)
    a, b = cell(some, seed=1), cell(memberships(820, 760, 640), seed=2)
    assert (a[0].allowed[AT_ONE_PERCENT], b[0].allowed[AT_ONE_PERCENT]) == (7, 6)
    paired = paired_samples([a, b], AT_ONE_PERCENT, [0, 1])
    assert paired is not None
    for sample, found in zip(paired, (a, b), strict=True):
        expected = [
            evaluate_scores(found[t].result.scores, some[t], None, 0, allowed={AT_ONE_PERCENT: 6})[AT_ONE_PERCENT].value
            for t in (0, 1)
        ]
        assert sample.values.tolist() == expected
    assert paired[0].resampled.shape == (2, 20)
    same = paired_samples([a, a], AT_ONE_PERCENT, [0, 1])
    assert same is not None
    assert np.array_equal(same[0].resampled, np.stack([a[t].drawn[AT_ONE_PERCENT] for t in (0, 1)]))


def test_a_metric_that_one_of_two_cells_lacks_is_not_compared() -> None:
    a, b = cell(memberships(820, 760), seed=1), cell(memberships(820, 760, 499), seed=2)
    assert paired_samples([a, b], AT_ONE_PERCENT, [0, 1]) is None
    assert paired_samples([a, b], "auc", [0, 1]) is not None
