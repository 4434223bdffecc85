"""RMIA by hand, its ties, the choice of a, its thresholds, and when it is not defined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from attacks.inputs import AttackInputs
from attacks.interface import AttackResult, AttackSettings, AttackUnavailable
from attacks.metrics import evaluate_scores
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.rmia import GRID_OF_A, PUBLISHED_A, choose_a, standing
from attacks.statistics import phi as phi_of
from tests.attacks.conftest import MakeCell


def rmia(
    inputs: AttackInputs, rmia_gamma: float = AttackSettings.rmia_gamma, rmia_a: float | None = None
) -> dict[str, AttackResult]:
    return ATTACKS["rmia"].run(inputs, AttackSettings(rmia_gamma=rmia_gamma, rmia_a=rmia_a))


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


def confident(models: int = 9, examples: int = 1400, seed: int = 0, queries: int = 1) -> tuple[Models, np.ndarray]:
    """Networks that are as sure of nearly everything as those trained on digits are: phi about 7 +- 2.5."""
    rng = np.random.default_rng(seed)
    membership = rng.random((models, examples)).argsort(axis=0) < models // 2
    level = 7.0 + 2.0 * rng.normal(size=(examples, 1))
    values = level + 1.2 * membership[:, :, None] + 1.5 * rng.normal(size=(models, examples, queries))
    population = 7.0 + 2.0 * rng.normal(size=(400, 1)) + 1.5 * rng.normal(size=(models, 400, queries))
    logits = np.stack([values[:, :, 0], np.zeros_like(values[:, :, 0])], axis=2)
    labels = np.zeros(examples, dtype=np.int64)
    assert np.allclose(phi_of(logits, labels), values[:, :, 0])
    return Models(logits, values.astype(np.float32), membership, labels, seed, population=population), membership


def ratio_online(inputs: AttackInputs) -> np.ndarray:
    """p(x) / p_bar(x) of one query, [n]."""
    p = expit(inputs.shadow_phi[:, :, 0].astype(np.float64))
    sides = [np.where(side, p, 0.0).sum(axis=0) / side.sum(axis=0) for side in (inputs.shadow_in, inputs.shadow_out)]
    ratio: np.ndarray = expit(inputs.target_phi[:, 0].astype(np.float64)) / (0.5 * (sides[0] + sides[1]))
    return ratio


def test_one_example_by_hand() -> None:
    """p_bar(z) = (1.3 * 0.5 + 0.7) / 2 = 0.675, so z has ratios 0.5 and 1; x has 0.9 / 0.6 = 1.5 online.

    With a = 1 p_bar(z) = 0.5, so z has 0.675 and 1.35. Offline p_bar(x) = (1.3 * 0.4 + 0.7) / 2 = 0.61 and the ratio is
    1.475...; with a = 1 it is 0.9 / 0.4 = 2.25.
    """
    inputs = one_example()
    for gamma, share in ((1.0, 1.0), (1.4, 1.0), (1.6, 0.5), (2.9, 0.5), (3.1, 0.0)):
        assert rmia(inputs, rmia_gamma=gamma)["rmia_published"].scores.tolist() == [share]
    offline = replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in))
    for gamma, a, share in ((1.47, 0.3, 1.0), (1.48, 0.3, 0.5), (3.3, 1.0, 0.5), (3.4, 1.0, 0.0)):
        assert rmia(offline, rmia_gamma=gamma, rmia_a=a)["rmia_published"].scores.tolist() == [share]
    assert rmia(inputs, rmia_gamma=2.2, rmia_a=1.0)["rmia_published"].scores.tolist() == [0.5]


def test_ties_are_broken_by_hand() -> None:
    """Online x has the ratio 1.5, above both z (0.5 and 1): with s = log(1 + log 1.5 / log 2) it stands at
    (2 + s / (1 + s)) / 3.

    Offline with a = 0.3 it has 0.9 / 0.61, with a = 1 it has 0.9 / 0.4 = 2.25 against z at 0.675 and 1.35.
    """
    for key, a, ratio, top in (
        ("rmia_online", 0.3, 1.5, 1.0),
        ("rmia_offline", 0.3, 0.9 / 0.61, 1.0),
        ("rmia_offline", 1.0, 2.25, 1.35),
    ):
        s = np.log(1.0 + np.log(ratio / top) / np.log(2.0))
        expected = 1.0 + (2.0 + s / (1.0 + s)) / 3.0 / 2.0
        assert rmia(one_example(), rmia_a=a)[key].scores == pytest.approx([expected], rel=1e-12)


def test_standing_by_hand() -> None:
    others = np.array([2.0, 0.0, 2.0, 3.0])
    far = 3.0 * (np.e - 1.0)  # log(1 + far / 3) = 1
    values = np.array([-far, 0.0, 1.0, 2.0, 2.25, 3.0, 3.0 + far])
    assert standing(values, others) == pytest.approx(np.array([0.5, 1.0, 1.5, 2.0, 2.25, 3.0, 3.5]) / 4.0)
    assert standing(np.array([1.0, 2.0]), np.array([1.0])).tolist() == pytest.approx(
        [0.5, (1.0 + np.log(2.0) / (1.0 + np.log(2.0))) / 2.0]
    )


def test_gamma_two_is_ties_where_networks_are_confident_and_rmia_is_not() -> None:
    models, membership = confident()
    inputs = models.leave_out(0)
    results = rmia(inputs)
    assert results["rmia_published"].tied > 0.9
    assert np.unique(results["rmia_published"].scores).size < 100
    assert results["rmia"].tied == results["rmia_offline"].tied == 0.0
    assert roc_auc_score(membership[0], results["rmia"].scores) > 0.6


def test_with_one_query_it_ranks_exactly_as_the_ratio() -> None:
    """BASE (arXiv 2505.24089): whatever the population, gamma 1 with ties broken is the ratio's order."""
    models, _ = confident(seed=1)
    inputs = models.leave_out(2)
    assert inputs.target_population is not None
    assert inputs.shadow_population is not None
    for size in (400, 3, 1):
        few = replace(
            inputs,
            target_population=inputs.target_population[:size],
            shadow_population=inputs.shadow_population[:, :size],
        )
        scores = rmia(few)["rmia_online"].scores
        assert np.array_equal(np.argsort(scores), np.argsort(ratio_online(inputs)))


def test_breaking_ties_never_reaches_the_next_share() -> None:
    """Several queries: first the mean share, then the mean log ratio."""
    models, _ = confident(seed=2, queries=3)
    inputs = models.leave_out(0)
    shares = rmia(inputs, rmia_gamma=1.0, rmia_a=0.3)["rmia_published"].scores
    broken = rmia(inputs, rmia_a=0.3)["rmia"].scores
    assert ((broken - shares > 0) & (broken - shares < 1 / (400 * 3) + 1e-15)).all()
    assert np.unique(shares).size < np.unique(broken).size == broken.size


def test_a_is_chosen_on_the_shadows_of_the_target_alone() -> None:
    """Neither the target's membership nor its answers move it, and other targets of the cell may have another."""
    models, membership = confident(models=12, seed=3)
    flipped = membership.copy()
    flipped[4] = ~flipped[4]
    first = rmia(models.leave_out(4))
    second = rmia(replace(models, membership=flipped).leave_out(4))
    for key, result in first.items():
        assert np.array_equal(result.scores, second[key].scores)
        assert (result.threshold, result.chosen) == (second[key].threshold, second[key].chosen)
    inputs = models.leave_out(4)
    assert inputs.target_population is not None
    other = replace(inputs, target_phi=-inputs.target_phi, target_population=-inputs.target_population)
    assert rmia(other)["rmia"].chosen == first["rmia"].chosen == {"a": choose_a(inputs)}
    assert first["rmia_published"].chosen == {}
    unsure = replace(models, phi=models.phi - np.float32(6.0))
    assert len({choose_a(unsure.leave_out(t)) for t in range(12)}) > 1


def test_a_by_plain_loops() -> None:
    """Each shadow in the target's place, each a of the grid, the AUC of p / p_bar; the smallest of the best."""
    rng = np.random.default_rng(5)
    membership = rng.random((6, 60)).argsort(axis=0) < 3  # five shadows: each example keeps two a side
    models = Models(
        np.zeros((6, 60, 2)),
        rng.normal(size=(6, 60, 1)) + 2.0 * membership[:, :, None],
        membership,
        np.zeros(60, dtype=np.int64),
        0,
        population=rng.normal(size=(6, 30, 1)),
    )
    inputs = models.leave_out(0)
    assert (inputs.in_count, inputs.out_count) == (2, 2)
    totals = []
    for a in GRID_OF_A:
        total = 0.0
        for s in range(5):
            scores, truth = [], []
            for i in range(60):
                if not (inputs.shadow_in[s, i] or inputs.shadow_out[s, i]):
                    continue
                outside = [r for r in range(5) if inputs.shadow_out[r, i]]
                gone = s if s in outside else _removed(inputs, s, i)
                mean = float(np.mean([expit(inputs.shadow_phi[r, i, 0]) for r in outside if r != gone]))
                scores.append(expit(inputs.shadow_phi[s, i, 0]) / (0.5 * ((1 + a) * mean + 1 - a)))
                truth.append(bool(inputs.shadow_in[s, i]))
            total += roc_auc_score(truth, scores)
        totals.append(round(total, 9))
    assert choose_a(inputs) == GRID_OF_A[totals.index(max(totals))]


def _removed(inputs: AttackInputs, s: int, i: int) -> int:
    """Which OUT shadow of example i goes when s, which holds it, plays the target."""
    outside = [r for r in range(inputs.num_shadows) if inputs.shadow_out[r, i]]
    np.random.default_rng([inputs.seed, 5]).permutation(inputs.num_examples)  # all of the few examples are taken
    drawn = np.random.default_rng([inputs.seed, 3]).integers(1 << 62, size=inputs.shadow_in.shape)[s, i]
    return outside[int(drawn) % len(outside)]


@pytest.mark.parametrize(("true_a", "low", "high"), [(0.0, 0.0, 0.3), (1.0, 0.7, 1.0)])
def test_a_follows_what_in_models_say(true_a: float, low: float, high: float) -> None:
    """IN models that say a p_out + 1 - a of every example: close to that a is chosen."""
    rng = np.random.default_rng(7)
    membership = rng.random((17, 3000)).argsort(axis=0) < 8
    p_out = rng.uniform(0.05, 0.95, size=3000)
    p_in = true_a * p_out + 1.0 - true_a if true_a < 1 else np.minimum(p_out * 1.05, 0.999)
    level = np.where(membership, p_in, p_out)
    values = logit(np.clip(level, 1e-4, 1 - 1e-4))[:, :, None] + 0.3 * rng.normal(size=(17, 3000, 1))
    population = rng.normal(size=(17, 50, 1))
    models = Models(np.zeros((17, 3000, 2)), values, membership, np.zeros(3000, np.int64), 0, population=population)
    found = choose_a(models.leave_out(0))
    assert found is not None
    assert low <= found <= high


def test_a_given_is_taken_and_nothing_chosen(cell: MakeCell) -> None:
    inputs = cell(9, 200, seed=0, gap=1.0)[0]
    given = rmia(inputs, rmia_a=0.7)
    assert all(result.chosen == {} and result.note is None for result in given.values())
    published = rmia(inputs)["rmia_published"]
    assert np.array_equal(published.scores, rmia(inputs, rmia_a=PUBLISHED_A)["rmia_published"].scores)
    assert not np.array_equal(given["rmia_published"].scores, published.scores)


def test_confident_beyond_float64_stays_finite() -> None:
    models, _ = confident(seed=4)
    assert models.population is not None
    wild = replace(models, phi=models.phi * np.float32(1e4), population=models.population * 1e4)
    for sign in (1.0, -1.0):
        for result in rmia(replace(wild, phi=wild.phi * np.float32(sign)).leave_out(0)).values():
            assert np.isfinite(result.scores).all()


def test_thresholds_come_from_shadows_and_work_on_the_target(cell: MakeCell) -> None:
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


def test_one_pair_a_side_scores_without_a_threshold(cell: MakeCell) -> None:
    inputs = cell(4, 40, seed=0)[0]
    results = rmia(inputs)
    assert set(results) == {"rmia", "rmia_online", "rmia_offline", "rmia_published"}
    assert results["rmia"].threshold is None
    assert results["rmia"].chosen == {}
    assert "too few shadow models" in str(results["rmia"].note)
    assert str(results["rmia"].note).endswith("; a is the published 0.3")
    assert np.array_equal(results["rmia"].scores, rmia(inputs, rmia_a=0.3)["rmia"].scores)


def test_without_in_shadows_it_is_offline(cell: MakeCell) -> None:
    inputs = cell(9, 40, seed=0)[0]
    results = rmia(replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in)))
    assert set(results) == {"rmia", "rmia_offline", "rmia_published"}
    assert results["rmia"] is results["rmia_offline"]
    assert results["rmia"].threshold is None
    assert str(results["rmia"].note).endswith("calibrate a threshold on; a is the published 0.3")


def test_it_says_what_is_missing(cell: MakeCell) -> None:
    inputs = cell(9, 40, seed=0)[0]
    with pytest.raises(AttackUnavailable, match="rmia needs the population queries"):
        rmia(replace(inputs, target_population=None, shadow_population=None))
    with pytest.raises(AttackUnavailable, match="does not hold an example; this cell has 0"):
        rmia(replace(inputs, shadow_out=np.zeros_like(inputs.shadow_out)))
