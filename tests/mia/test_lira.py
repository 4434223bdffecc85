"""LiRA by hand, and against slow loops over scipy's densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from mia.interface import AttackInputs, AttackResult, AttackSettings, AttackUnavailable, TooFewShadows, removals, trim
from mia.lira import fit, fit_without, shared_spreads, side_values, variant_scores
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS

SETTINGS = AttackSettings()


def lira(inputs: AttackInputs) -> dict[str, AttackResult]:
    return ATTACKS["lira"].run(inputs, SETTINGS)


def test_four_shadows_by_hand() -> None:
    """IN 3 and 5, OUT 0 and 2, target 4: z is 0 and 3 / sqrt 2 about medians 4 and 1, both spreads sqrt 2.

    The tail beyond 3 / sqrt 2 is erfc(1.5) / 2, and erfc(1.5) = 0.0338948535...
    """
    phi = np.array([[3.0], [0.0], [5.0], [2.0]])
    held = np.array([[True], [False], [True], [False]])
    inside, outside = fit(side_values(phi, held), 1.0), fit(side_values(phi, ~held), 1.0)
    assert (inside.centre[0], outside.centre[0]) == (4.0, 1.0)
    np.testing.assert_allclose([inside.spread[0], outside.spread[0]], np.sqrt(2.0))
    scores = variant_scores(np.array([4.0]), inside, outside, reference=1.0)
    np.testing.assert_allclose(scores["lira_online"], 9.0 / 4.0)
    np.testing.assert_allclose(scores["lira_online_fixed"], 9.0 / 2.0)
    np.testing.assert_allclose(scores["lira_online_fixed_reference"], 9.0 / 2.0)
    np.testing.assert_allclose(scores["lira_offline"], -np.log(0.033894853524689274 / 2.0), rtol=1e-9)
    np.testing.assert_allclose(scores["lira_offline_reference"], 9.0 / 4.0 + 0.5 * np.log(4.0 * np.pi))


def slow(inputs: AttackInputs) -> dict[str, np.ndarray]:
    """Every variant, example by example and query by query."""
    n, queries = inputs.target_phi.shape
    shared = shared_spreads(inputs)
    out: dict[str, np.ndarray] = {}
    for q in range(queries):
        fixed = [np.sqrt(np.mean([np.var(inputs.shadow_phi[side[:, i], i, q], ddof=1) for i in range(n)]))
                 for side in (inputs.shadow_in, inputs.shadow_out)]  # fmt: skip
        raw = np.std(inputs.shadow_phi[inputs.shadow_in])
        np.testing.assert_allclose(fixed, [shared.inside[q], shared.outside[q]])
        for i in range(n):
            x = inputs.target_phi[i, q]
            held, rest = (inputs.shadow_phi[side[:, i], i, q] for side in (inputs.shadow_in, inputs.shadow_out))
            m_in, m_out = np.median(held), np.median(rest)
            s_in, s_out = max(held.std(ddof=1), 0.1 * fixed[0]), max(rest.std(ddof=1), 0.1 * fixed[1])
            values = {
                "lira_online": norm.logpdf(x, m_in, s_in) - norm.logpdf(x, m_out, s_out),
                "lira_online_fixed": norm.logpdf(x, m_in, fixed[0]) - norm.logpdf(x, m_out, fixed[1]),
                "lira_online_fixed_reference": norm.logpdf(x, m_in, raw) - norm.logpdf(x, m_out, raw),
                "lira_offline": -norm.logsf((x - m_out) / s_out),
                "lira_offline_fixed": -norm.logsf((x - m_out) / fixed[1]),
                "lira_offline_reference": -norm.logpdf(x, m_out, s_out),
            }
            for key, value in values.items():
                out.setdefault(key, np.zeros(n))[i] += value / queries
    return out


@pytest.mark.parametrize(("models", "dtype"), [(6, np.float64), (9, np.float64), (12, np.float32)])
def test_variants_match_slow_loops(models: int, dtype: type, cell: Callable) -> None:
    inputs = cell(models, 25, seed=models, gap=1.0, own=2.0)[0]
    inputs = replace(inputs, target_phi=inputs.target_phi.astype(dtype), shadow_phi=inputs.shadow_phi.astype(dtype))
    results, expected = lira(inputs), slow(
        replace(inputs, target_phi=inputs.target_phi.astype(float), shadow_phi=inputs.shadow_phi.astype(float))
    )  # fmt: skip
    assert set(results) == {"lira", *expected}
    for key, values in expected.items():
        np.testing.assert_allclose(results[key].scores, values, rtol=1e-9, atol=1e-9)


def test_chunks_do_not_change_scores(cell: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = cell(9, 50, seed=3)[0]
    whole = lira(inputs)
    monkeypatch.setattr("mia.lira.CHUNK_VALUES", 8 * 7)
    for key, result in lira(inputs).items():
        np.testing.assert_allclose(result.scores, whole[key].scores, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_removed_shadow_leaves_the_fit_of_the_rest(count: int) -> None:
    rng = np.random.default_rng(count)
    side, _ = trim(rng.random((12, 6)).argsort(axis=0) < count, 0)
    phi = rng.normal(size=side.shape).round(1)  # rounding makes ties
    gone = removals(side, rng.integers(100, size=side.shape))
    values = side_values(phi, side)
    got = fit_without(values, gone, 1.0)
    for s, i in np.ndindex(*side.shape):
        assert side[gone[s, i], i]
        assert gone[s, i] == s or not side[s, i]
        left = np.delete(phi[:, i], gone[s, i])[np.delete(side[:, i], gone[s, i])]
        assert got.centre[s, i] == pytest.approx(np.median(left), abs=1e-12)
        if count > 2:
            assert got.spread is not None
            assert got.spread[s, i] == pytest.approx(max(np.std(left, ddof=1), 0.1), abs=1e-7)
    assert (got.spread is None) == (count == 2)


def test_thresholds_come_from_shadows_and_work_on_the_target(cell: Callable) -> None:
    inputs, membership = cell(9, 2000, seed=0, gap=3.0, own=3.0)
    for key, result in lira(inputs).items():
        assert result.threshold is not None
        figures = evaluate_scores(result.scores, membership, result.threshold, resamples=0)
        accuracy, best = figures["accuracy"].value, figures["max_accuracy"].value
        assert accuracy is not None
        assert best is not None
        assert best - 0.02 < accuracy <= best, key


def test_headline_follows_the_number_of_shadows(cell: Callable) -> None:
    small, large = lira(cell(9, 20, seed=0)[0]), lira(cell(34, 20, seed=0)[0])
    assert small["lira"] is small["lira_online_fixed"]
    assert large["lira"] is large["lira_online"]


def test_two_shadows_a_side_calibrate_only_the_fixed_spread(cell: Callable) -> None:
    results = lira(cell(6, 30, seed=0)[0])
    assert results["lira_online_fixed"].threshold is not None
    assert results["lira_online"].threshold is None
    assert "too few shadow models" in str(results["lira_online"].note)


def test_without_in_shadows_only_offline_is_defined(cell: Callable) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, shadow_in=np.zeros_like(inputs.shadow_in))
    results = lira(inputs)
    assert set(results) == {"lira", "lira_offline", "lira_offline_fixed", "lira_offline_reference"}
    assert results["lira"] is results["lira_offline"]
    assert results["lira"].threshold is None


def test_offline_does_not_saturate(cell: Callable) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, target_phi=inputs.target_phi + 1000.0 + np.arange(30.0)[:, None])
    assert np.unique(lira(inputs)["lira_offline"].scores).size == 30


def test_constant_signals_give_finite_scores(cell: Callable) -> None:
    inputs = cell(9, 30, seed=0)[0]
    inputs = replace(inputs, shadow_phi=np.zeros_like(inputs.shadow_phi))
    assert all(np.isfinite(result.scores).all() for result in lira(inputs).values())


def test_too_few_shadows(cell: Callable) -> None:
    with pytest.raises(TooFewShadows, match="lira needs at least 5 shadow models; this cell has 4"):
        lira(cell(5, 30, seed=0)[0])
    inputs = cell(9, 30, seed=0)[0]
    with pytest.raises(AttackUnavailable, match="do not hold an example; this cell has 0"):
        lira(replace(inputs, shadow_out=np.zeros_like(inputs.shadow_out)))


def test_global_needs_no_shadows(cell: Callable) -> None:
    inputs = cell(1, 30, seed=0)[0]
    result = ATTACKS["lira_global"].run(inputs, SETTINGS)["lira_global"]
    np.testing.assert_allclose(result.scores, inputs.target_phi.mean(axis=1))
    assert result.threshold is None
