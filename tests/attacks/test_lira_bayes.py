"""Bayes LiRA: against its definition, by hand, on noise, its thresholds, and degenerate signals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.inputs import AttackInputs
from attacks.interface import AttackResult, AttackSettings, AttackUnavailable, TooFewShadows
from attacks.lira_bayes import ONLINE, _of_inputs, lira_bayes, lira_bayes_each, mean_phi
from attacks.lira_bayes_definition import PRIOR_FLOOR, TILT, Choice, log_ratio, offline_scores, online_scores
from attacks.lira_bayes_model import OffLine, Predictive, Spreads, Trend
from attacks.models import Models
from attacks.registry import Attack
from attacks.thresholds import calibration

KEYS = ("lira_bayes", "lira_bayes_online", "lira_bayes_offline")
ATTACK = Attack("lira_bayes", "advanced", "Bayes LiRA", "attacks.lira_bayes:lira_bayes", 5, KEYS)
SETTINGS = AttackSettings()
IDENTITY = Choice(np.inf, 0)


def made_up(
    models: int,
    examples: int,
    seed: int,
    gap: float = 1.0,
    split: str = "balanced",
    scatter: float = 0.3,
    r: float = 0.0,
) -> Models:
    """Examples differ in level; the gap falls with it, give or take `scatter`; members' values spread less.

    r: correlation of what partners of a pair differ by at random.
    """
    rng = np.random.default_rng(seed)
    if split == "pairs":
        coins = rng.random((models // 2, examples)) < 0.5
        membership = np.stack([coins, ~coins], axis=1).reshape(models, examples)
    else:
        halves = models // 2 + rng.integers(models % 2 + 1, size=examples)
        membership = rng.random((models, examples)).argsort(axis=0).argsort(axis=0) < halves
    level = 2.0 + 2.0 * rng.normal(size=examples)
    leak = gap * np.maximum(2.0 - 0.3 * level + scatter * rng.normal(size=examples), 0.0)
    spread = (1.0 + 0.1 * np.abs(level)) * np.where(membership, 1.0 - 0.3 * min(gap, 1.0), 1.0)
    luck = rng.normal(size=membership.shape)
    if split == "pairs":
        luck[1::2] = r * luck[0::2] + np.sqrt(1.0 - r**2) * luck[1::2]
    plain = level + membership * leak + spread * luck
    phi = np.stack([plain, plain + 0.3 * rng.normal(size=plain.shape)], axis=2).astype(np.float32)
    return Models(None, phi, membership, rng.integers(3, size=examples), seed)


def run(inputs: AttackInputs) -> dict[str, AttackResult]:
    return ATTACK.run(inputs, SETTINGS)


def plain_arrays(inputs: AttackInputs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the definition takes."""
    return mean_phi(inputs.target_phi), mean_phi(inputs.shadow_phi), inputs.shadow_in, inputs.shadow_out


@pytest.mark.parametrize(
    ("models", "examples", "split"),
    [(6, 40, "balanced"), (9, 120, "balanced"), (13, 60, "balanced"), (8, 12, "balanced"), (8, 120, "pairs")],
)
def test_scores_are_those_of_the_definition(models: int, examples: int, split: str) -> None:
    inputs = made_up(models, examples, seed=models, split=split, r=-0.5).leave_out(1)
    x, phi, inside, outside = plain_arrays(inputs)
    pairs = inputs.whole_pairs
    assert (pairs is None) == (split == "balanced")
    results = run(inputs)
    online, chosen = online_scores(x, phi, inside, outside, pairs=pairs)
    offline, chosen_offline = offline_scores(x, phi, outside, phi, inside, outside, pairs=pairs)
    assert tuple(results) == KEYS
    assert results["lira_bayes"] is results["lira_bayes_online"]
    np.testing.assert_allclose(results["lira_bayes_online"].scores, online, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(results["lira_bayes_offline"].scores, offline, rtol=1e-8, atol=1e-10)
    assert results["lira_bayes_online"].chosen == {"c": chosen.c}
    assert results["lira_bayes_offline"].chosen == {"c": chosen_offline.c}


@pytest.mark.parametrize("split", ["balanced", "pairs"])
def test_every_c_and_form_of_rho_is_that_of_the_definition(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made_up(10, 80, seed=0, split=split, r=-0.4).leave_out(0)
    x, phi, inside, outside = plain_arrays(inputs)
    pairs = inputs.whole_pairs
    for c in (1.0, 4.0, np.inf):
        for terms in (0, 1, 2):
            low = [-np.inf] * 3
            low[terms] = 0.0
            monkeypatch.setattr("attacks.lira_bayes.TRANSFORMS", (c,))
            monkeypatch.setattr("attacks.lira_bayes.criteria", lambda shadows, slopes, values=low: values)
            results, choice = run(inputs), Choice(c, terms)
            online = online_scores(x, phi, inside, outside, choice, pairs)[0]
            offline = offline_scores(x, phi, outside, phi, inside, outside, choice, pairs)[0]
            np.testing.assert_allclose(results["lira_bayes_online"].scores, online, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(results["lira_bayes_offline"].scores, offline, rtol=1e-8, atol=1e-10)


def test_without_in_shadows_of_the_asked_it_is_offline() -> None:
    """Half of the examples are the target's alone (--split disjoint): all shadows are OUT of them."""
    models = made_up(9, 120, seed=4)
    audited = np.arange(120) < 40
    membership = models.membership & ~audited
    inputs = replace(models, membership=membership, audited=audited).leave_out(0)
    results = run(inputs)
    assert tuple(results) == ("lira_bayes", "lira_bayes_offline")
    asked, learned = inputs.asked, inputs.learned
    expected = offline_scores(
        mean_phi(asked.target_phi), mean_phi(asked.shadow_phi), asked.shadow_out, *plain_arrays(learned)[1:]
    )[0]
    assert (asked.out_count, learned.out_count) == (8, learned.num_shadows - 5)
    np.testing.assert_allclose(results["lira_bayes"].scores, expected, rtol=1e-8, atol=1e-10)
    assert results["lira_bayes"].threshold is not None
    assert lira_bayes_each(replace(models, membership=membership, audited=audited), SETTINGS) is None


@pytest.mark.parametrize(
    ("models", "examples", "split"),
    [(6, 30, "balanced"), (9, 150, "balanced"), (12, 50, "balanced"), (8, 200, "pairs"), (10, 200, "pairs")],
)
def test_every_model_a_target_at_once_is_every_target_by_itself(models: int, examples: int, split: str) -> None:
    signals = made_up(models, examples, seed=models, split=split, r=-0.5)
    if models == 10:  # one without a partner, which serves nobody
        signals, models = replace(signals, phi=signals.phi[:9], membership=signals.membership[:9]), 9
    each = lira_bayes_each(signals, SETTINGS)
    assert each is not None
    for target in range(models):
        inputs = signals.leave_out(target)
        expected, got = run(inputs), each(target)(signals.outputs(target))
        assert list(got) == list(expected)
        if split == "pairs":
            assert inputs.whole_pairs is not None
            assert inputs.in_count == inputs.out_count == len(inputs.whole_pairs) == (4 if target == 8 else 3)
        for key, result in expected.items():
            np.testing.assert_allclose(got[key].scores, result.scores, rtol=1e-8, atol=1e-10)
            assert got[key].threshold == pytest.approx(result.threshold, rel=1e-8)
            assert got[key].shadow_auc == pytest.approx(result.shadow_auc, abs=1e-3)
            assert got[key].chosen == result.chosen


def test_what_cannot_be_done_at_once_is_left_to_each_target() -> None:
    assert lira_bayes_each(made_up(5, 40, seed=0), SETTINGS) is None


def test_log_ratio_by_hand() -> None:
    """N(1, 2) over N(0, 1): -log(2) / 2 - (x - 1)^2 / 4 + x^2 / 2, lowest at x = -1, where it is -log(2) / 2 - 1/2."""
    lowest = -0.5 * np.log(2.0) - 0.5
    cases = [
        ((1.0, 1.0, 2.0, 0.0, 1.0), -0.5 * np.log(2.0) + 0.5),
        ((-1.0, 1.0, 2.0, 0.0, 1.0), lowest),
        ((-3.0, 1.0, 2.0, 0.0, 1.0), lowest - 2.0 * TILT),
        ((3.0, 0.0, 1.0, -1.0, 2.0), 0.5 * np.log(2.0) + 0.5 + 2.0 * TILT),  # the mirror image, highest at x = 1
        ((2.0, 1.0, 2.0, 0.0, 2.0), 0.75),  # a line
        ((2.0, 0.0, 2.0, 1.0, 2.0), 1.5 * TILT),  # a falling one
    ]
    for (x, m1, v1, m0, v0), expected in cases:
        assert log_ratio(x, m1, v1, m0, v0) == pytest.approx(expected, abs=1e-12)
        one = Predictive(IDENTITY, *(np.array([value]) for value in (m1, v1, m0, v0)))
        assert one.scores(np.array([x])) == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("score", ["online", "offline"])
def test_scores_rise_with_phi(score: str) -> None:
    inputs = made_up(8, 100, seed=3, split="pairs", r=-0.6).leave_out(0)
    key = f"lira_bayes_{score}"
    fit = lira_bayes(inputs, SETTINGS)
    values = [fit(replace(inputs.target, phi=np.full((100, 2), x)))[key].scores for x in np.linspace(-30, 40, 141)]
    assert (np.diff(values, axis=0) > 0).all()


def test_offline_is_one_sided_where_all_is_flat() -> None:
    """d, s2_in, s2_out flat and s2_in + w2 = s2_out: it ranks as x - u does. Else it does not."""
    rng = np.random.default_rng(1)
    knots, no_values = np.array([-1.0, 0.0, 1.0]), np.empty(0)

    def scores(s2: float, rho: float, w2: float) -> tuple[np.ndarray, np.ndarray]:
        spreads = Spreads(Trend(knots, True, np.array([s2])), 0.0, (rho, 0.0), no_values, no_values)
        offline = OffLine(IDENTITY, spreads, 0.0, 4.0, Trend(knots, True, np.array([1.5])), w2)
        m_out, x = rng.normal(size=50), rng.normal(size=50)
        u = 4.0 * m_out / (4.0 + s2 * (1 - rho) / 3)
        return offline.predict(m_out, 3).scores(x), x - u

    flat, away = scores(1.0, -0.2, 0.4)
    assert np.array_equal(np.argsort(flat), np.argsort(away))
    assert np.polyfit(away, flat, 1)[0] > 0
    np.testing.assert_allclose(flat, np.polyval(np.polyfit(away, flat, 1), away), atol=1e-9)
    bent, away = scores(1.0, -0.2, 0.1)
    assert not np.allclose(bent, np.polyval(np.polyfit(away, bent, 1), away), atol=1e-3)


def test_one_shadow_a_side_by_hand() -> None:
    """Levels all 0: d is the mean gap, s2 half the mean squared residual, and a member is d farther than others."""
    m_in = np.array([1.0, 2.0, 3.0, 2.0])
    phi, inside = np.stack([m_in, -m_in]), np.stack([np.ones(4, dtype=bool), np.zeros(4, dtype=bool)])
    x = np.array([0.0, 1.0, 2.0, 3.0])
    scores, _ = online_scores(x, phi, inside, ~inside, IDENTITY)
    d, s2, m0 = 4.0, 0.5 * np.mean((2.0 * m_in - 4.0) ** 2), -2.0
    t2 = PRIOR_FLOOR * s2  # the OUT means vary by 0.5, less than the 1.0 that one shadow alone makes them
    mean = m0 / t2 + (-m_in + m_in - d) / s2  # w2 = 0: both values measure mu
    variance = 1.0 / (1.0 / t2 + 2.0 / s2)
    expected = d / (s2 + variance) * (x - mean * variance - d / 2.0)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("split", ["balanced", "pairs"])
def test_noise_stays_at_one_half(split: str) -> None:
    """Memberships that no model used."""
    aucs: dict[str, list[float]] = {key: [] for key in KEYS}
    quick = AttackSettings(calibrate=False)
    for seed in range(120):
        models = made_up(8, 200, seed=seed, gap=0.0, split=split, r=-0.6)
        inputs = models.leave_out(0)
        for key, result in lira_bayes(inputs, quick)(inputs.target).items():
            aucs[key].append(roc_auc_score(models.membership[0], result.scores))
    for key, values in aucs.items():
        assert np.mean(values) == pytest.approx(0.5, abs=3.5 * np.std(values) / np.sqrt(len(values))), key


@pytest.mark.parametrize("split", ["balanced", "pairs"])
def test_the_targets_membership_is_not_looked_at(split: str) -> None:
    models = made_up(8, 200, seed=6, split=split)
    membership = models.membership.copy()
    membership[4] = ~membership[4]
    flipped = replace(models, membership=membership)

    def at_once(one: Models) -> dict[str, AttackResult]:
        each = lira_bayes_each(one, SETTINGS)
        assert each is not None
        return each(4)(one.outputs(4))

    for learner in (lambda one: run(one.leave_out(4)), at_once):
        first, second = learner(models), learner(flipped)
        for key, result in first.items():
            np.testing.assert_allclose(second[key].scores, result.scores, rtol=1e-8, atol=1e-10)
            assert second[key].threshold == pytest.approx(result.threshold, rel=1e-8)


@pytest.mark.parametrize(("models", "split"), [(6, "balanced"), (8, "balanced"), (6, "pairs"), (8, "pairs")])
def test_thresholds_come_from_shadows_in_the_targets_place(models: int, split: str) -> None:
    """By the definition, shadow by shadow: with six models one shadow a side is left to serve."""
    inputs = made_up(models, 40, seed=models, split=split, r=-0.5).leave_out(0)
    results = run(inputs)
    _, phi, inside, outside = plain_arrays(inputs)
    serving = _of_inputs(inputs)
    choice = serving.learn()[ONLINE].choice
    scores, is_in = [], []
    for shadow, serves, (goes_in, goes_out) in serving._in_the_targets_place():
        left_in, left_out = inside & (phi != goes_in), outside & (phi != goes_out)
        assert set(left_in.sum(axis=0)) == {inputs.in_count - 1}
        assert set(left_out.sum(axis=0)) == {inputs.out_count - 1}
        assert not (left_in | left_out)[shadow].any()
        assert serves.size == (inside | outside)[shadow].sum()
        pairs = inputs.whole_pairs
        if pairs is not None:  # the shadow's partner is the one that goes with it
            pairs = pairs[(pairs != shadow).all(axis=1)]
            assert len(pairs) == inputs.in_count - 1
            assert (left_in | left_out)[pairs].all()
        scores.append(online_scores(phi[shadow], phi, left_in, left_out, choice, pairs)[0][serves])
        is_in.append(inside[shadow, serves])
    expected = calibration(np.concatenate(scores), np.concatenate(is_in))
    assert results["lira_bayes"].threshold == pytest.approx(expected.threshold, rel=1e-6)
    assert results["lira_bayes"].shadow_auc == pytest.approx(expected.auc, abs=1e-9)


def test_few_of_many_shadows_and_examples_calibrate(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made_up(20, 1000, seed=0).leave_out(0)
    whole = run(inputs)["lira_bayes"]
    monkeypatch.setattr("attacks.lira_bayes.CALIBRATION_PAIRS", 3000)
    calls = list(_of_inputs(inputs)._in_the_targets_place())
    assert len(calls) == 8
    assert 0.8 * 3000 < sum(serves.size for _, serves, _ in calls) <= 3000
    few = run(inputs)["lira_bayes"]
    assert np.array_equal(few.scores, whole.scores)
    assert few.shadow_auc == pytest.approx(whole.shadow_auc, abs=0.03)


def spoiled(models: Models, kind: str) -> Models:
    phi = models.phi.astype(np.float64)
    if kind == "equal":
        phi[:] = 3.3
    elif kind == "no levels":
        phi[:] = np.where(models.membership, 1.0, -1.0)[:, :, None]
    elif kind == "two levels":
        phi = np.round(phi / 100.0) + (np.arange(phi.shape[1]) % 2)[:, None]
    elif kind == "huge":
        phi[0, :3], phi[2, ::2], phi[3, 1] = 1e25, -1e12, 1e308
    elif kind == "infinite":
        phi[0, 0], phi[1, 1] = np.inf, -np.inf
    return replace(models, phi=phi)


@pytest.mark.parametrize("examples", [10, 60])
@pytest.mark.parametrize("kind", ["as they are", "equal", "no levels", "two levels", "huge", "infinite"])
@pytest.mark.parametrize("split", ["balanced", "pairs"])
def test_degenerate_signals_give_finite_scores(split: str, kind: str, examples: int) -> None:
    models = spoiled(made_up(6, examples, seed=1, split=split), kind)
    each = lira_bayes_each(models, SETTINGS)
    assert each is not None
    for target in range(6):
        results = each(target)(models.outputs(target))  # an AttackResult refuses what is not finite
        assert tuple(results) == KEYS
        if kind == "equal":
            assert np.ptp(results["lira_bayes"].scores) < 1e-9


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_very_few_examples_give_finite_scores(examples: int) -> None:
    phi = np.random.default_rng(0).normal(size=(6, examples, 1))
    inside = (np.arange(5) < 2)[:, None] & np.ones(examples, dtype=bool)
    labels = np.zeros(examples, dtype=np.int64)
    results = run(AttackInputs(labels, None, phi[0], None, phi[1:], inside, ~inside))
    expected = online_scores(phi[0, :, 0], phi[1:, :, 0], inside, ~inside)[0]
    np.testing.assert_allclose(results["lira_bayes"].scores, expected, rtol=1e-6)


def test_too_few_shadows() -> None:
    with pytest.raises(TooFewShadows, match="lira_bayes needs at least 5 shadow models; this cell has 4"):
        run(made_up(5, 30, seed=0).leave_out(0))
    inputs = made_up(9, 30, seed=0).leave_out(0)
    with pytest.raises(AttackUnavailable, match="2 that do not; this cell has 0 and 3 for some example"):
        run(replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in)))
