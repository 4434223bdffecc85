"""The jackknife over models: its formula by hand, the attacks refitted, and what a deletion may not look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from attacks.evaluate import learn, score
from attacks.interface import AttackSettings
from attacks.intervals import Sample, difference, half_width
from attacks.jackknife import Deleted, delete, delete_each, networks_variance, without
from attacks.metrics import example_weights, resampled_values
from attacks.models import Models, from_models
from attacks.registry import ATTACKS
from attacks.statistics import phi

SETTINGS = AttackSettings()
CLOSED_FORM = [name for name, attack in ATTACKS.items() if not attack.trains_network]


def cell(models: int = 9, examples: int = 120, seed: int = 0, gap: float = 1.0) -> Models:
    rng = np.random.default_rng(seed)
    rank = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    membership = rank < models // 2 + rng.integers(models % 2 + 1, size=examples)
    labels = rng.integers(4, size=examples)
    logits = rng.normal(size=(models, examples, 4)) + (1 + gap * membership)[:, :, None] * np.eye(4)[labels]
    population = rng.normal(size=(models, 80, 1))
    return Models(logits, phi(logits, labels)[:, :, None], membership, labels, seed, population=population)


def three(values: list[float], drawn: list[list[float]]) -> Deleted:
    """Three targets, each a group: theta_(-g) is values[g] for both targets that are left, and so are its resamples."""
    inside = np.eye(3, dtype=bool)
    return Deleted(
        np.where(inside, np.nan, np.array(values)),
        np.where(inside[:, :, None], np.nan, np.array(drawn)),
    )


def test_the_networks_variance_by_hand() -> None:
    """Figures 1, 2 and 9 lie -3, -2 and 5 from their mean: V_J = 2 / 3 * 38. Resamples 1, 1 and -2 of one weighting,
    -1, -1 and 2 of another, have the mean 0 and the variances 2, 2 and 8: V_int = 2 / 3 * 12.
    """
    deleted = three([1.0, 2.0, 9.0], [[1.0, -1.0], [1.0, -1.0], [-2.0, 2.0]])
    assert networks_variance(deleted) == pytest.approx(2 / 3 * (38 - 12))
    louder = three([1.0, 2.0, 9.0], [[3.0, -3.0], [3.0, -3.0], [-6.0, 6.0]])
    assert networks_variance(louder) == pytest.approx(0.2 * 2 / 3 * 38)  # V_int = 2 / 3 * 108
    common = three([1.0, 2.0, 9.0], [[1.0, -1.0]] * 3)
    assert networks_variance(common) == pytest.approx(2 / 3 * 38)


def test_the_wider_interval_and_its_degrees_of_freedom_by_hand() -> None:
    """V_ex = 2 (of resamples +-1 in all targets) and V_J = 28 / 3, V_int = 0: V = 34 / 3, dof = 2 (34 / 28)^2."""
    values, drawn = np.full(3, 2.0), np.array([[1.0, -1.0]] * 3)
    deleted = three([1.0, 2.0, 6.0], [[1.0, -1.0]] * 3)
    expected = stats.t.ppf(0.975, 2 * (34 / 28) ** 2) * np.sqrt(34 / 3)
    sample = Sample(values, drawn, deleted)
    assert half_width(sample) == pytest.approx(expected)
    assert half_width(Sample(values, drawn)) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(2.0))
    found = difference(sample, Sample(np.zeros(3), np.zeros((3, 2)), three([0.0] * 3, [[0.0, 0.0]] * 3)))
    assert (found.ci_high or 0.0) - found.difference == pytest.approx(expected)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.0 / np.sqrt(34 / 3), 2 * (34 / 28) ** 2))


def test_figures_that_no_model_moves_and_an_estimate_that_is_narrower_change_nothing() -> None:
    """V_J = 0 leaves what the examples give; an s^2 that is larger than V decides."""
    drawn = np.array([[1.0, -1.0]] * 3)
    still = three([1.0, 1.0, 1.0], [[5.0, -5.0], [-5.0, 5.0], [0.0, 0.0]])
    assert networks_variance(still) == 0
    for values, deleted in (
        (np.full(3, 2.0), still),
        (np.array([0.0, 2.0, 9.0]), three([0.0, 1.0, 1.0], [[0.0, 0.0]] * 3)),
    ):
        assert half_width(Sample(values, drawn, deleted)) == half_width(Sample(values, drawn))


def test_differences_are_paired_by_target_and_group() -> None:
    """What both cells have in common without a model is no variance of their difference."""
    drawn = np.random.default_rng(0).normal(size=(3, 20))
    a = Sample(np.full(3, 0.7), drawn, three([1.0, 2.0, 6.0], [[0.0, 0.0]] * 3))
    b = Sample(np.full(3, 0.6), 0.5 * drawn, three([0.0, 1.0, 5.0], [[0.0, 0.0]] * 3))
    assert difference(a, b).ci_high == difference(replace(a, deleted=None), b).ci_high
    other = replace(b, deleted=three([5.0, 1.0, 0.0], [[0.0, 0.0]] * 3))
    assert (difference(a, other).ci_high or 0) > 10 * (difference(a, b).ci_high or 0)
    fewer = replace(b, deleted=Deleted(np.zeros((3, 2)), np.zeros((3, 2, 2))))
    assert difference(a, fewer).ci_high == difference(a, b).ci_high


def test_one_deletion_is_the_attack_on_the_other_models_alone() -> None:
    """Written out: the arrays without the model, its shadows trimmed from their own membership."""
    models = cell()
    found = delete(models, [3], 5, ["lira", "loss"], SETTINGS)
    kept = [0, 1, 2, 4, 5, 6, 7, 8]
    assert models.logits is not None
    inputs = from_models(models.logits[kept], models.phi[kept], models.membership[kept], models.labels, 4, seed=0)
    expected = score(learn(inputs, ["lira", "loss"], SETTINGS), inputs.target)
    assert found.keys() == expected.keys()
    for key, result in found.items():
        assert np.array_equal(result.scores, expected[key].scores), key
    with_all = score(learn(models.leave_out(5), ["lira"], SETTINGS), models.outputs(5))
    assert not np.allclose(found["lira"].scores, with_all["lira"].scores)


@pytest.mark.parametrize("groups", [[[m] for m in range(9)], [[0, 4], [1, 2], [3], [5, 6], [7], [8]]])
def test_deleting_for_all_targets_gives_the_same(groups: list[list[int]]) -> None:
    models = cell()
    seen = []
    for g, target, results in delete_each(models, groups, range(9), CLOSED_FORM, SETTINGS, trimmings=1):
        seen.append((g, target))
        if g in (0, 5):
            plain = delete(models, groups[g], target, CLOSED_FORM, SETTINGS)
            assert results.keys() == plain.keys()
            for key, result in results.items():
                # Bayes LiRA takes a model's values out of sums: the fits of 120 examples then differ in late digits
                atol = 1e-7 if key.startswith("lira_bayes") else 1e-9
                np.testing.assert_allclose(result.scores, plain[key].scores, rtol=1e-6, atol=atol, err_msg=key)
    assert seen == [(g, t) for g, group in enumerate(groups) for t in range(9) if t not in group]


def test_trimmings_differ_and_the_first_is_the_cells_own() -> None:
    found = list(delete_each(cell(), [[0], [1]], [2], ["lira"], SETTINGS, trimmings=2))
    assert [(g, target) for g, target, _ in found] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    first, second = (results["lira"].scores for _, _, results in found[:2])
    assert np.allclose(first, delete(cell(), [0], 2, ["lira"], SETTINGS)["lira"].scores)
    assert not np.allclose(first, second)


def test_a_deletion_never_reads_the_targets_membership() -> None:
    models = cell()
    turned = models.membership.copy()
    turned[4] = ~turned[4]
    other = replace(models, membership=turned)
    for group in ([0], [7, 8]):
        ours, theirs = (delete(one, group, 4, CLOSED_FORM, SETTINGS) for one in (models, other))
        assert ours.keys() == theirs.keys()
        for key, result in ours.items():
            assert np.array_equal(result.scores, theirs[key].scores), key
            assert result.threshold == theirs[key].threshold, key


def test_a_group_leaves_all_of_its_models_out() -> None:
    models = cell()
    left, kept = without(models, [2, 5])
    assert kept == [0, 1, 3, 4, 6, 7, 8]
    assert np.array_equal(left.membership, models.membership[kept])
    assert left.population is not None
    assert models.population is not None
    assert np.array_equal(left.population, models.population[kept])
    assert left.sensitivity is None


def test_networks_that_all_differ_are_seen_where_targets_agree() -> None:
    """Each network's members stand higher by a shift of its own: what shadows share moves all targets at once, and what
    the networks add is many times what it is without such shifts.
    """
    means: list[float] = []
    for spread in (0.0, 1.5):
        found = []
        for seed in range(12):
            rng, models = np.random.default_rng([seed, 1]), cell(examples=150, seed=seed)
            shift = spread * rng.normal(size=(9, 1, 1)) * models.membership[:, :, None]
            found.append(networks_variance(deleted_auc(replace(models, phi=models.phi + shift))))
        means.append(float(np.mean(found)))
    assert means[1] > 10 * means[0]


def deleted_auc(models: Models) -> Deleted:
    weights = np.vstack([np.ones((1, models.labels.size), dtype=np.uint8), example_weights(models.membership, 20, 0)])
    values = np.full((9, 9, 21), np.nan)
    for g, target, results in delete_each(models, [[m] for m in range(9)], range(9), ["lira_global"], SETTINGS, 1):
        scores = results["lira_global"].scores
        values[target, g] = resampled_values(scores, models.membership[target], None, weights)["auc"]
    return Deleted(values[:, :, 0], values[:, :, 1:])
