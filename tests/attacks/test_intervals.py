"""Standard errors by hand and by simulation, paired differences, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attacks.intervals import Sample, difference, half_width, holm, mean_interval


def test_one_target_has_the_examples_part_alone() -> None:
    found = mean_interval(Sample(np.array([0.6]), np.array([[0.5, 0.6, 0.7]])), "auc")
    assert (found.mean, found.sd, found.num_targets) == (0.6, None, 1)
    assert found.ci_low == pytest.approx(0.6 - 1.959964 * 0.1)
    assert found.ci_high == pytest.approx(0.6 + 1.959964 * 0.1)


def test_two_targets_by_hand() -> None:
    """Values 0 and 4 have s^2 = 8. Equal resamples (-1, 0, 1) have variance and covariance 1: V = 1 + 8 / 2 = 5.

    Resamples that mirror each other have covariance -1, which counts as 0: V = 8 / 2, all of it with T - 1 degrees,
    whose 97.5 % point is 12.706.
    """
    values, drawn = np.array([0.0, 4.0]), np.array([-1.0, 0.0, 1.0])
    dof = (5 / 4) ** 2
    assert half_width(Sample(values, np.stack([drawn, drawn]))) == pytest.approx(stats.t.ppf(0.975, dof) * np.sqrt(5.0))
    assert half_width(Sample(values, np.stack([drawn, -drawn]))) == pytest.approx(12.7062 * 2.0, rel=1e-5)


def test_values_that_agree_by_accident_leave_the_examples_part() -> None:
    drawn = np.array([-1.0, 0.0, 1.0])
    apart = np.stack([drawn, np.array([1.0, -1.0, 0.0])])
    half = 1.959964 * np.std(apart.mean(axis=0), ddof=1)
    assert half_width(Sample(np.full(2, 0.5), apart)) == pytest.approx(half)
    found = difference(Sample(np.full(2, 0.5), apart), Sample(np.full(2, 0.25), np.zeros((2, 3))))
    z = 0.25 / np.std(apart.mean(axis=0), ddof=1)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(z))


def test_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(0.0, 0.1, size=(4, 400))
    a = Sample(np.full(4, 0.7), 0.7 + common)
    b = Sample(np.full(4, 0.6), 0.6 + common + rng.normal(0.0, 0.01, size=common.shape))
    found = difference(a, b)
    assert found.difference == pytest.approx(0.1)
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_high - found.ci_low < 0.03
    assert found.p_value is not None
    assert found.p_value < 1e-6
    back = difference(b, a)
    assert (back.difference, back.ci_low, back.ci_high) == pytest.approx((-0.1, -found.ci_high, -found.ci_low))


def test_p_value_and_interval_agree() -> None:
    rng = np.random.default_rng(2)
    for shift in np.linspace(0.0, 0.1, 21):
        a = Sample(shift + rng.normal(0.0, 0.01, 5), shift + rng.normal(0.0, 0.05, (5, 200)))
        b = Sample(rng.normal(0.0, 0.01, 5), rng.normal(0.0, 0.05, (5, 200)))
        found = difference(a, b)
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.p_value is not None
        assert (found.p_value < 0.05) == (found.ci_low > 0 or found.ci_high < 0)


def test_no_spread_means_no_interval() -> None:
    a = Sample(np.array([0.7, 0.7]), np.full((2, 10), 0.7))
    assert mean_interval(a, "auc").ci_low is None
    found = difference(a, a)
    assert (found.difference, found.ci_low, found.ci_high, found.p_value) == (0.0, None, None, None)


def test_intervals_stay_in_the_metrics_range() -> None:
    sample = Sample(np.array([0.01]), np.random.default_rng(0).normal(0.0, 0.2, (1, 100)))
    assert mean_interval(sample, "recall").ci_low == 0.0
    low = mean_interval(sample, "advantage").ci_low
    assert low is not None
    assert low < 0.0


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        difference(Sample(np.zeros(2), np.zeros((2, 5))), Sample(np.zeros(3), np.zeros((3, 5))))


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2 (not below 0.06), 0.5 * 1; None keeps out."""
    assert holm([0.03, None, 0.01, 0.5, 0.02]) == [pytest.approx(0.06), None, 0.04, 0.5, 0.06]
    assert holm([None]) == [None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    rejected = set()
    for i, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - i) > level:
            break
        rejected.add(int(place))
    assert {i for i, p in enumerate(holm(p_values)) if p is not None and p <= level} == rejected


def test_coverage_of_a_crossed_random_effects_mean() -> None:
    """Examples and networks as crossed random effects, the mean of all as the metric: 95 % intervals cover."""
    rng, covered, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        examples, networks = rng.normal(size=200), rng.normal(0.0, 0.1, size=(5, 1))
        table = examples + networks + rng.normal(size=(5, 200))
        weights = rng.multinomial(200, np.full(200, 1 / 200), size=100)
        found = mean_interval(Sample(table.mean(axis=1), table @ weights.T / 200), "advantage")
        assert found.ci_low is not None
        assert found.ci_high is not None
        covered += found.ci_low <= 0.0 <= found.ci_high
    assert stats.binomtest(covered, runs, 0.95).pvalue > 0.001
