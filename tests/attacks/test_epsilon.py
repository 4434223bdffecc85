"""The lower bound on epsilon: the theorem written out, noise, a known epsilon, and what may not be seen."""

from __future__ import annotations

from dataclasses import replace
from math import comb, exp, log

import numpy as np
import pytest

from attacks.epsilon import DELTA, GUESSED, epsilon_lower, lower_bound, p_value, right_guesses
from attacks.evaluate import learn_each, score
from attacks.interface import AttackSettings
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.statistics import phi

CHEAP = [name for name, attack in ATTACKS.items() if not attack.trains_network]


def slow_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """Theorem 5.2 word by word: sums over the binomial distribution, the maximum over all i from 1 to m."""
    q = exp(epsilon) / (1 + exp(epsilon))

    def f(at_least: int) -> float:
        return sum(comb(r, w) * q**w * (1 - q) ** (r - w) for w in range(max(at_least, 0), r + 1))

    alpha = max((f(v - i) - f(v)) / i for i in range(1, m + 1))
    return min(1.0, f(v) + 2 * m * delta * alpha)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize(("m", "r", "v"), [(40, 12, 12), (40, 12, 9), (300, 60, 45), (90, 30, 1), (50, 10, 0)])
def test_the_p_value_is_the_theorem(m: int, r: int, v: int, delta: float) -> None:
    for epsilon in (0.0, 0.3, 1.0, 2.5, 6.0):
        assert p_value(m, r, v, epsilon, delta) == pytest.approx(slow_p_value(m, r, v, epsilon, delta), abs=1e-12)


def test_the_bound_is_the_last_epsilon_that_is_refuted() -> None:
    for m, r, v in ((60, 30, 27), (300, 60, 45), (200, 40, 40), (60, 20, 11)):
        for level in (0.05, 0.05 / 8):
            found = lower_bound(m, r, v, 1 - level)
            if found == 0:
                assert slow_p_value(m, r, v, 0.0, DELTA) >= level
                continue
            assert slow_p_value(m, r, v, found, DELTA) < level <= slow_p_value(m, r, v, found + 1e-6, DELTA)


def test_published_bounds() -> None:
    """Of the paper: 75 right of 100 guesses on 1,000 examples; 1,439 of 1,510 on 100,000."""
    assert lower_bound(1000, 100, 75, 0.95, 1e-4) == pytest.approx(0.673, abs=1e-3)
    assert lower_bound(100_000, 1510, 1439, 0.95, 1e-5) == pytest.approx(2.675, abs=1e-3)


def test_a_perfect_attack_has_the_closed_form() -> None:
    """All of r guesses right refutes q^r < level, that is epsilon = log(q / (1 - q)) up to q = level^(1/r)."""
    for r in (10, 140, 5000):
        q = 0.05 ** (1 / r)
        assert lower_bound(r, r, r, 0.95, 0.0) == pytest.approx(log(q / (1 - q)), abs=1e-6)
    perfect = np.arange(1000) >= 400
    assert right_guesses(perfect.astype(float), perfect) == (100, 100)


@pytest.mark.parametrize(("m", "r", "v"), [(10, 11, 3), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(m: int, r: int, v: int) -> None:
    with pytest.raises(ValueError, match="0 <= v <= r <= m"):
        p_value(m, r, v, 1.0)


def test_both_ends_are_guessed_and_ties_are_no_secret() -> None:
    scores = np.array([0.5] * 30 + [0.1] + [0.9] + [0.5] * 8)
    membership = np.zeros(40, dtype=bool)
    membership[[31, 39]] = True  # the highest, and of equal scores the last
    assert round(GUESSED * 40) == 2
    assert right_guesses(scores, membership) == (4, 4)
    assert epsilon_lower([scores], [membership]) == 0.0  # four guesses refute nothing
    assert epsilon_lower([np.ones(3)], [np.array([True, False, True])]) == 0.0  # nobody is guessed


def test_several_targets_share_the_confidence() -> None:
    rng = np.random.default_rng(0)
    membership = rng.random((4, 400)) < 0.5
    scores = [rng.normal(size=400) + 2 * membership[0], *rng.normal(size=(3, 400))]
    guesses, right = right_guesses(scores[0], membership[0])
    assert epsilon_lower(scores, list(membership)) == lower_bound(400, guesses, right, 1 - 0.05 / 4)
    assert epsilon_lower(scores[:1], list(membership[:1])) > epsilon_lower(scores, list(membership)) > 0


def draws(targets: int, examples: int, epsilon: float, seed: int, number: int = 400) -> np.ndarray:
    """Bounds on randomised response, whose answers are right with probability e^epsilon / (1 + e^epsilon)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        membership = rng.random((targets, examples)) < 0.5
        right = rng.random(membership.shape) < 1 / (1 + exp(-epsilon))
        answers = np.where(right, membership, ~membership)
        found.append(epsilon_lower(list(answers + rng.random(answers.shape) / 2), list(membership)))
    return np.array(found)


@pytest.mark.parametrize("targets", [1, 8])
def test_noise_refutes_nothing(targets: int) -> None:
    assert (draws(targets, 400, 0.0, seed=targets) == 0).mean() >= 0.95


@pytest.mark.parametrize("epsilon", [0.5, 1.5, 3.0])
def test_randomised_response_is_bounded_from_below(epsilon: float) -> None:
    found = draws(4, 1000, epsilon, seed=7)
    assert (found > epsilon).mean() <= 0.05
    assert np.median(found) > epsilon / 4


def pairs(seed: int = 0, examples: int = 200) -> Models:
    """Eight models in complementary pairs; whoever is held has a higher logit."""
    rng = np.random.default_rng(seed)
    heads = rng.random((4, examples)) < 0.5
    membership = np.stack([side for one in heads for side in (one, ~one)])
    labels = rng.integers(3, size=examples)
    logits = rng.normal(size=(8, examples, 3)) + (1.0 + membership)[:, :, None] * np.eye(3)[labels]
    population = rng.normal(size=(8, 50, 1))
    return Models(logits, phi(logits, labels)[:, :, None], membership, labels, seed, population=population)


def scores_of(models: Models, target: int) -> dict[str, np.ndarray]:
    knowledge = next(learn_each(models, [target, 6], CHEAP, AttackSettings()))
    return {key: result.scores for key, result in score(knowledge, models.outputs(target)).items()}


def test_no_score_of_a_target_knows_its_coins_or_its_partner() -> None:
    """Other coins with the same answers give the same guesses; so do other answers of the partner."""
    models, target, partner = pairs(), 2, 3
    before = scores_of(models, target)
    assert {"lira_bayes", "lira", "rmia", "confidence", "entropy", "loss"} <= set(before)
    membership = models.membership.copy()
    coins = np.random.default_rng(1).random(membership.shape[1]) < 0.5
    membership[target], membership[partner] = coins, ~coins
    logits, answers, population = (models.logits.copy(), models.phi.copy(), models.population.copy())  # type: ignore[union-attr]
    logits[partner], answers[partner], population[partner] = logits[partner] ** 2, -answers[partner], 7.0
    for changed in (
        replace(models, membership=membership),
        replace(models, logits=logits, phi=answers, population=population),
    ):
        after = scores_of(changed, target)
        assert set(after) == set(before)
        for key in before:
            # sums are centred over all models, target and partner too, which moves last digits and nothing else
            np.testing.assert_allclose(after[key], before[key], rtol=1e-7, atol=1e-9, err_msg=key)
