"""A cell's figures without each of its models: by variant and metric, and today's interval with a word where not."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.evaluate import learn_each, score
from attacks.interface import AttackResult, AttackSettings
from attacks.jackknife import TRIMMINGS, delete
from attacks.metrics import allowed_false_positives, evaluate_scores
from attacks.models import Models
from attacks.statistics import phi
from evaluation.deletion import RESAMPLES, Deletions, deletions
from evaluation.estimates import common_weights, estimate, measured

SETTINGS = AttackSettings()
Found = tuple[dict[str, list[Deletions]], dict[str, str]]


def cell(models: int, examples: int = 150) -> Models:
    rng = np.random.default_rng(models)
    rank = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    membership = rank < models // 2 + rng.integers(models % 2 + 1, size=examples)
    labels = rng.integers(4, size=examples)
    logits = rng.normal(size=(models, examples, 4)) + (1 + membership)[:, :, None] * np.eye(4)[labels]
    return Models(logits, phi(logits, labels)[:, :, None], membership, labels, 0)


def results_of(models: Models, names: list[str], targets: range) -> dict[str, list[AttackResult]]:
    found: dict[str, list[AttackResult]] = {}
    for target, knowledge in zip(targets, learn_each(models, targets, names, SETTINGS), strict=True):
        for key, result in score(knowledge, models.outputs(target)).items():
            found.setdefault(key, []).append(result)
    return found


def deleted(models: Models, names: list[str], targets: range | None = None, more: tuple[str, ...] = ()) -> Found:
    targets = range(len(models.membership)) if targets is None else targets
    results = results_of(models, names, targets)
    results |= {key: results["loss"] for key in more}  # noqa: C420
    membership = models.membership[list(targets)]
    weights = common_weights([membership], seed=0, resamples=60)
    groups = [[m] for m in range(len(models.membership))]
    return deletions(models, groups, targets, membership, results, SETTINGS, weights)


def test_each_figure_is_that_of_the_attack_without_the_model() -> None:
    models = cell(9)
    found, words = deleted(models, ["lira", "loss"])
    assert not words
    assert set(found["lira"][0]) == {"auc", "max_accuracy"}  # too few non-members for a TPR, and no thresholds
    assert found["lira"] is found["lira_online_fixed"]
    values = found["lira"][2]["auc"]
    assert values.shape == (9, 1 + RESAMPLES)
    assert np.isnan(values[2]).all()
    expected = []
    assert TRIMMINGS > 1
    for seed in range(TRIMMINGS):
        other = Models(models.logits, models.phi, models.membership, models.labels, seed)
        scores = delete(other, [5], 2, ["lira"], SETTINGS)["lira"].scores
        auc = evaluate_scores(scores, models.membership[2], None, 0)["auc"].value
        assert auc is not None
        expected.append(auc)
    assert values[5, 0] == pytest.approx(np.mean(expected))
    loss = found["loss"][2]["auc"]
    assert np.ptp(np.delete(loss, 2, axis=0), axis=0).max() == 0  # scores of loss do not depend on shadows


def test_the_interval_of_a_mean_takes_them_in() -> None:
    models = cell(9)
    found, _ = deleted(models, ["lira"])
    weights = common_weights([models.membership], seed=0, resamples=60)
    allowed = allowed_false_positives(models.membership)
    results = results_of(models, ["lira"], range(9))["lira"]
    widths = []
    nothing: list[Deletions] = [{}] * 9
    for kept in (found["lira"], nothing):
        targets = {}
        for t, (result, inside, without) in enumerate(zip(results, models.membership, kept, strict=True)):
            wider = {metric: values * (1 + np.arange(9)[:, None]) for metric, values in without.items()}
            figures = evaluate_scores(result.scores, inside, result.threshold, 0)
            targets[t] = measured(result, inside, figures, weights, allowed, wider)
        mean = estimate(targets, "auc")
        assert mean is not None
        widths.append((mean.ci_high or 0.0) - (mean.ci_low or 0.0))
    assert widths[0] > widths[1] > 0


def test_an_attack_that_is_undefined_with_a_model_fewer_says_so() -> None:
    """Of 7 models 3 or 4 hold an example: without the target and another, one holder may be left; LiRA needs two."""
    found, words = deleted(cell(7), ["lira", "loss"])
    assert "loss" in found
    assert "loss" not in words
    assert "lira" in words.keys() - found.keys()
    assert "not defined with a model fewer" in words["lira"]
    assert words["lira"] == words["lira_online_fixed"]


def test_attacks_that_train_networks_and_large_cells_and_lone_targets() -> None:
    found, words = deleted(cell(7), ["loss"], more=("shokri_nn",))
    assert (set(found), set(words)) == ({"loss"}, {"shokri_nn"})
    assert "it is not fitted again" in words["shokri_nn"]
    found, words = deleted(cell(18, examples=40), ["loss"], range(3))
    assert not found
    assert "more than 17 models" in words["loss"]
    assert deleted(cell(5), ["loss"], range(1)) == ({}, {})


def test_a_headline_is_fitted_again_as_the_variant_that_it_is() -> None:
    """Another name for the same results, such as that of the strongest attack, is no variant of the attack."""
    found, words = deleted(cell(9), ["lira", "loss"], more=("strongest",))
    assert found["lira"] is found["lira_online_fixed"]
    assert found["lira"] is not found["lira_offline"]
    assert "strongest" not in found
    assert set(words) == {"strongest"}


def test_a_group_that_holds_all_targets_leaves_nothing() -> None:
    models = cell(14)
    results = results_of(models, ["loss"], range(2))
    membership, weights = models.membership[:2], np.ones((5, 150), dtype=np.uint8)
    others = [[m, m + 1] for m in range(4, 14, 2)]
    of = range(2), membership, results, SETTINGS, weights
    assert deletions(models, [[0, 1], [2, 3], *others], *of) == ({}, {})
    found, _ = deletions(models, [[0, 2], [1, 3], *others], *of)
    assert np.isnan(found["loss"][0]["auc"]).all(axis=1).tolist() == [True] + [False] * 6
