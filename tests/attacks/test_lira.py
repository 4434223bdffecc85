"""LiRA by hand, and against its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks.inputs import AttackInputs
from attacks.interface import AttackResult, AttackSettings, AttackUnavailable, TooFewShadows
from attacks.leave_one_out import NOBODY, make_side, moments
from attacks.lira import gaussians, lira_each, variant_scores
from attacks.lira_definition import lira_scores
from attacks.metrics import evaluate_scores
from attacks.models import Models
from attacks.registry import ATTACKS
from tests.attacks.conftest import MakeCell

SETTINGS = AttackSettings()


def lira(inputs: AttackInputs) -> dict[str, AttackResult]:
    return ATTACKS["lira"].run(inputs, SETTINGS)


def test_four_shadows_by_hand() -> None:
    """IN 3 and 5, OUT 0 and 2, target 4: z is 0 and 3 / sqrt 2 about medians 4 and 1, both spreads sqrt 2.

    The tail beyond 3 / sqrt 2 is erfc(1.5) / 2, and erfc(1.5) = 0.0338948535...
    """
    phi = np.array([[3.0], [0.0], [5.0], [2.0]])[:, :, None]
    held = np.array([[True], [False], [True], [False]])
    nobody = np.empty((0, 1), dtype=np.int64)
    inside, outside = (
        gaussians(moments(make_side(phi, side), 0, np.array([0]), nobody, 2), 1.0) for side in (held, ~held)
    )
    assert (inside.centre[0], outside.centre[0]) == (4.0, 1.0)
    assert inside.spread is not None
    assert outside.spread is not None
    np.testing.assert_allclose([inside.spread[0], outside.spread[0]], np.sqrt(2.0))
    scores = variant_scores(np.array([4.0]), inside, outside, reference=1.0)
    np.testing.assert_allclose(scores["lira_online"], 9.0 / 4.0)
    np.testing.assert_allclose(scores["lira_online_fixed"], 9.0 / 2.0)
    np.testing.assert_allclose(scores["lira_online_fixed_reference"], 9.0 / 2.0)
    np.testing.assert_allclose(scores["lira_offline"], -np.log(0.033894853524689274 / 2.0), rtol=1e-9)
    np.testing.assert_allclose(scores["lira_offline_reference"], 9.0 / 4.0 + 0.5 * np.log(4.0 * np.pi))


@pytest.mark.parametrize(("models", "dtype"), [(6, np.float64), (9, np.float64), (12, np.float32)])
def test_variants_are_those_of_the_definition(models: int, dtype: type, cell: MakeCell) -> None:
    inputs = cell(models, 25, seed=models, gap=1.0, own=2.0)[0]
    inputs = replace(inputs, target_phi=inputs.target_phi.astype(dtype), shadow_phi=inputs.shadow_phi.astype(dtype))
    exact = replace(inputs, target_phi=inputs.target_phi.astype(float), shadow_phi=inputs.shadow_phi.astype(float))
    results, expected = lira(inputs), lira_scores(exact)
    assert set(results) == {"lira", *expected}
    for key, values in expected.items():
        np.testing.assert_allclose(results[key].scores, values, rtol=1e-9, atol=1e-9)


def test_chunks_do_not_change_scores(cell: MakeCell, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = cell(9, 50, seed=3)[0]
    whole = lira(inputs)
    monkeypatch.setattr("attacks.leave_one_out.CHUNK_VALUES", 8 * 7)
    for key, result in lira(inputs).items():
        np.testing.assert_array_equal(result.scores, whole[key].scores)
        assert result.threshold == whole[key].threshold


@pytest.mark.parametrize("kept", [1, 2, 3, 6])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_removed_models_leave_the_fit_of_the_rest(kept: int, most: int) -> None:
    rng = np.random.default_rng(kept)
    examples, models = 8, 12
    fewer = rng.integers(most + 1, size=examples)  # an example's removals, 0 to `most`
    side = rng.random((models, examples)).argsort(axis=0) < kept + fewer
    phi = rng.normal(size=(models, examples, 2)).round(1)  # rounding makes ties
    gone = np.full((most, examples), NOBODY)
    for i in range(examples):
        gone[: fewer[i], i] = rng.permutation(np.flatnonzero(side[:, i]))[: fewer[i]]
    columns = rng.permutation(examples)
    for q in range(2):
        left = moments(make_side(phi, side), q, columns, gone[:, columns], kept)
        got = gaussians(left, 1.0)
        for position, i in enumerate(columns):
            rest = phi[np.setdiff1d(np.flatnonzero(side[:, i]), gone[:, i]), i, q]
            assert len(rest) == kept
            assert got.centre[position] == pytest.approx(np.median(rest), abs=1e-12)
            assert left.mean[position] == pytest.approx(np.mean(rest), abs=1e-12)
            if kept > 1:
                assert got.spread is not None
                assert got.spread[position] == pytest.approx(max(np.std(rest, ddof=1), 0.1), abs=1e-7)
        assert (got.spread is None) == (kept == 1)


def made_up(models: int, examples: int, seed: int) -> Models:
    """A cell in which examples are IN floor or ceil of half of the models, as the splits draw them."""
    rng = np.random.default_rng(seed)
    halves = models // 2 + rng.integers(models % 2 + 1, size=examples)
    membership = rng.random((models, examples)).argsort(axis=0).argsort(axis=0) < halves
    phi = rng.normal(size=(models, examples, 2)) + 2 * rng.normal(size=(examples, 1)) + membership[:, :, None]
    logits = rng.normal(size=(models, examples, 3)).astype(np.float32)
    return Models(logits, phi.astype(np.float32), membership, rng.integers(3, size=examples), seed)


@pytest.mark.parametrize(("models", "examples"), [(6, 30), (9, 200), (12, 50), (33, 40)])
def test_every_model_a_target_at_once_is_every_target_by_itself(models: int, examples: int) -> None:
    signals = made_up(models, examples, seed=models)
    each = lira_each(signals, SETTINGS)
    assert each is not None
    for target in range(models):
        expected, got = lira(signals.leave_out(target)), each(target)(signals.outputs(target))
        assert list(got) == list(expected)
        for key, result in expected.items():
            np.testing.assert_allclose(got[key].scores, result.scores, rtol=1e-9, atol=1e-9)
            assert got[key].note == result.note
            assert (got[key].threshold is None) == (result.threshold is None)
            if result.threshold is not None:
                assert got[key].threshold == pytest.approx(result.threshold, rel=1e-9, abs=1e-9)


def test_drawn_pairs_calibrate_as_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds from a draw of the pairs are close in worth, and the same for one target and for each."""
    signals = made_up(12, 2000, seed=1)
    whole = lira(signals.leave_out(3))["lira"]
    monkeypatch.setattr("attacks.lira.CALIBRATION_PAIRS", 4000)
    drawn = lira(signals.leave_out(3))["lira"]
    each = lira_each(signals, SETTINGS)
    assert each is not None
    assert each(3)(signals.outputs(3))["lira"].threshold == pytest.approx(drawn.threshold, rel=1e-9)
    assert drawn.threshold != whole.threshold
    accuracies = [
        evaluate_scores(result.scores, signals.membership[3], result.threshold, resamples=0)["accuracy"].value
        for result in (whole, drawn)
    ]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.02)


def test_what_cannot_be_done_at_once_is_left_to_each_target() -> None:
    assert lira_each(made_up(5, 40, seed=0), SETTINGS) is None
    lopsided = replace(made_up(9, 40, seed=0), membership=np.arange(9)[:, None] < np.full(40, 2))
    assert lira_each(lopsided, SETTINGS) is None


def test_thresholds_come_from_shadows_and_work_on_the_target(cell: MakeCell) -> None:
    inputs, membership = cell(9, 2000, seed=0, gap=3.0, own=3.0)
    for key, result in lira(inputs).items():
        assert result.threshold is not None
        figures = evaluate_scores(result.scores, membership, result.threshold, resamples=0)
        accuracy, best = figures["accuracy"].value, figures["max_accuracy"].value
        assert accuracy is not None
        assert best is not None
        assert best - 0.02 < accuracy <= best, key


def test_headline_follows_the_number_of_shadows(cell: MakeCell) -> None:
    """62 models give 30 shadows a side, 64 give 31."""
    small, large = lira(cell(62, 20, seed=0)[0]), lira(cell(64, 20, seed=0)[0])
    assert small["lira"] is small["lira_online_fixed"]
    assert large["lira"] is large["lira_online"]


def test_two_shadows_a_side_calibrate_only_the_fixed_spread(cell: MakeCell) -> None:
    results = lira(cell(6, 30, seed=0)[0])
    assert results["lira_online_fixed"].threshold is not None
    assert results["lira_online"].threshold is None
    assert "too few shadow models" in str(results["lira_online"].note)


def test_without_in_shadows_only_offline_is_defined(cell: MakeCell) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in))
    results = lira(inputs)
    assert set(results) == {"lira", "lira_offline", "lira_offline_fixed", "lira_offline_reference"}
    assert results["lira"] is results["lira_offline"]
    assert results["lira"].threshold is None


def test_offline_does_not_saturate(cell: MakeCell) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, target_phi=inputs.target_phi + 1000.0 + np.arange(30.0)[:, None])
    assert np.unique(lira(inputs)["lira_offline"].scores).size == 30


def test_constant_signals_give_finite_scores(cell: MakeCell) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, shadow_phi=np.zeros_like(inputs.shadow_phi))
    assert all(np.isfinite(result.scores).all() for result in lira(inputs).values())


def test_too_few_shadows(cell: MakeCell) -> None:
    with pytest.raises(TooFewShadows, match="lira needs at least 5 shadow models; this cell has 4"):
        lira(cell(5, 30, seed=0)[0])
    inputs = cell(9, 30, seed=0)[0]
    with pytest.raises(AttackUnavailable, match="do not hold an example; this cell has 0"):
        lira(replace(inputs, shadow_out=np.zeros_like(inputs.shadow_out)))


def test_global_needs_no_shadows(cell: MakeCell) -> None:
    inputs = cell(1, 30, seed=0)[0]
    result = ATTACKS["lira_global"].run(inputs, SETTINGS)["lira_global"]
    np.testing.assert_allclose(result.scores, inputs.target_phi.mean(axis=1))
    assert result.threshold is None
