"""Scores against values computed here by slow, obvious code: loops, scipy's densities, formulas as they are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import numpy as np
import pytest
from scipy.stats import norm

from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.registry import ATTACKS
from tests.attacks.conftest import MakeCell


class Tolerance(TypedDict):
    """Of `np.testing.assert_allclose`."""

    rtol: float
    atol: float


EXACT: Tolerance = {"rtol": 1e-9, "atol": 1e-9}
CELLS = [(6, 12), (9, 30), (13, 20)]  # models, examples


@pytest.fixture(params=CELLS, ids=str)
def inputs(request: pytest.FixtureRequest, cell: MakeCell) -> AttackInputs:
    models, examples = request.param
    return cell(models, examples, seed=models, gap=1.5, own=1.0)[0]


def shadows_of(inputs: AttackInputs, side: str, i: int) -> list[int]:
    """The shadows IN or OUT for example i."""
    mask = inputs.shadow_in if side == "in" else inputs.shadow_out
    return [s for s in range(inputs.num_shadows) if mask[s, i]]


def pooled_spread(inputs: AttackInputs, side: str, q: int) -> float:
    """sqrt of the mean over examples of the unbiased variance about the example's own mean."""
    variances = []
    for i in range(inputs.num_examples):
        values = [float(inputs.shadow_phi[s, i, q]) for s in shadows_of(inputs, side, i)]
        mean = sum(values) / len(values)
        variances.append(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return math.sqrt(sum(variances) / len(variances))


def median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values: list[float], floor: float) -> float:
    mean = sum(values) / len(values)
    return max(math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)), floor)


def lira_by_loops(inputs: AttackInputs) -> dict[str, list[float]]:
    """Every variant of LiRA, example by example and query by query."""
    held = [float(inputs.shadow_phi[s, i, q]) for q in range(inputs.num_queries)
            for i in range(inputs.num_examples) for s in shadows_of(inputs, "in", i)]  # fmt: skip
    raw = math.sqrt(sum((value - sum(held) / len(held)) ** 2 for value in held) / len(held))
    fixed = [{side: pooled_spread(inputs, side, q) for side in ("in", "out")} for q in range(inputs.num_queries)]
    scores: dict[str, list[float]] = {}
    for i in range(inputs.num_examples):
        totals: dict[str, float] = {}
        for q in range(inputs.num_queries):
            x = float(inputs.target_phi[i, q])
            ins = [float(inputs.shadow_phi[s, i, q]) for s in shadows_of(inputs, "in", i)]
            outs = [float(inputs.shadow_phi[s, i, q]) for s in shadows_of(inputs, "out", i)]
            m_in, m_out = median(ins), median(outs)
            s_in, s_out = spread(ins, 0.1 * fixed[q]["in"]), spread(outs, 0.1 * fixed[q]["out"])
            found = {
                "lira_online": norm.logpdf(x, m_in, s_in) - norm.logpdf(x, m_out, s_out),
                "lira_online_fixed": norm.logpdf(x, m_in, fixed[q]["in"]) - norm.logpdf(x, m_out, fixed[q]["out"]),
                "lira_online_fixed_reference": norm.logpdf(x, m_in, raw) - norm.logpdf(x, m_out, raw),
                "lira_offline": -norm.logsf((x - m_out) / s_out),
                "lira_offline_fixed": -norm.logsf((x - m_out) / fixed[q]["out"]),
                "lira_offline_reference": -norm.logpdf(x, m_out, s_out),
            }
            for key, value in found.items():
                totals[key] = totals.get(key, 0.0) + float(value) / inputs.num_queries
        for key, value in totals.items():
            scores.setdefault(key, []).append(value)
    return scores


def test_lira(inputs: AttackInputs) -> None:
    results = ATTACKS["lira"].run(inputs, AttackSettings())
    expected = lira_by_loops(inputs)
    assert set(results) == {"lira", *expected}
    for key, values in expected.items():
        np.testing.assert_allclose(results[key].scores, values, err_msg=key, **EXACT)


def test_lira_global_and_loss(inputs: AttackInputs) -> None:
    phi = [sum(map(float, row)) / len(row) for row in inputs.target_phi]
    np.testing.assert_allclose(ATTACKS["lira_global"].run(inputs, AttackSettings())["lira_global"].scores, phi, **EXACT)
    assert inputs.target_logits is not None
    log_p = [math.log(softmax(z)[y]) for z, y in zip(inputs.target_logits, inputs.labels, strict=True)]
    np.testing.assert_allclose(ATTACKS["loss"].run(inputs, AttackSettings())["loss"].scores, log_p, **EXACT)


def softmax(logits: np.ndarray) -> list[float]:
    powers = [math.exp(float(z)) for z in logits]
    return [power / sum(powers) for power in powers]


def confidence(p: list[float], y: int) -> float:
    return p[y]


def entropy(p: list[float], y: int) -> float:
    return sum(value * math.log(value) for value in p)


def modified_entropy(p: list[float], y: int) -> float:
    others = sum(value * math.log(1 - value) for c, value in enumerate(p) if c != y)
    return (1 - p[y]) * math.log(p[y]) + others


def best_threshold(ins: list[float], outs: list[float]) -> float:
    """The smallest of the values at which (P(in >= t) + P(out < t)) / 2 is largest, by trying all of them."""
    best, worth = math.nan, -1.0
    for t in sorted([*ins, *outs]):
        found = sum(value >= t for value in ins) / len(ins) + sum(value < t for value in outs) / len(outs)
        if found > worth + 1e-12:
            best, worth = t, found
    return best


@pytest.mark.parametrize("statistic", [confidence, entropy, modified_entropy])
def test_threshold_attacks(statistic: Callable[[list[float], int], float], inputs: AttackInputs) -> None:
    shadow_logits, target_logits = inputs.shadow_logits, inputs.target_logits
    assert shadow_logits is not None
    assert target_logits is not None

    def value(logits: np.ndarray, i: int) -> float:
        return statistic(softmax(logits), int(inputs.labels[i]))

    def pairs(side: str, label: int | None) -> list[float]:
        return [
            value(shadow_logits[s, i], i)
            for i in range(inputs.num_examples)
            if label is None or inputs.labels[i] == label
            for s in shadows_of(inputs, side, i)
        ]

    expected = []
    for i, label in enumerate(inputs.labels):
        expected.append(value(target_logits[i], i) - best_threshold(pairs("in", label), pairs("out", label)))
    result = ATTACKS[statistic.__name__].run(inputs, AttackSettings())[statistic.__name__]
    np.testing.assert_allclose(result.scores, expected, **EXACT)
    assert result.threshold == 0.0


@pytest.mark.parametrize(("gamma", "a"), [(1.0, 0.3), (1.3, 0.0), (2.0, 1.0)])
def test_rmia(gamma: float, a: float, inputs: AttackInputs) -> None:
    def p(phi: float) -> float:
        return 1.0 / (1.0 + math.exp(-float(phi)))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    assert inputs.target_population is not None
    assert inputs.shadow_population is not None
    size, queries = inputs.target_population.shape
    shares_of: dict[str, list[float]] = {"rmia_online": [], "rmia_offline": []}
    for i in range(inputs.num_examples):
        shares: dict[str, list[float]] = {"rmia_online": [], "rmia_offline": []}
        for q in range(queries):
            p_in = mean([p(inputs.shadow_phi[s, i, q]) for s in shadows_of(inputs, "in", i)])
            p_out = mean([p(inputs.shadow_phi[s, i, q]) for s in shadows_of(inputs, "out", i)])
            bars = {"rmia_online": (p_in + p_out) / 2, "rmia_offline": ((1 + a) * p_out + (1 - a)) / 2}
            for key, bar in bars.items():
                ratio = p(inputs.target_phi[i, q]) / bar
                beaten = 0
                for z in range(size):
                    others = mean([p(inputs.shadow_population[s, z, q]) for s in range(inputs.num_shadows)])
                    other = p(inputs.target_population[z, q]) / (((1 + a) * others + (1 - a)) / 2)
                    beaten += ratio / other > gamma
                shares[key].append(beaten / size)
        for key, found in shares.items():
            shares_of[key].append(mean(found))
    results = ATTACKS["rmia"].run(inputs, AttackSettings(rmia_gamma=gamma, rmia_a=a))
    assert set(results) == {"rmia", "rmia_published", *shares_of}
    np.testing.assert_allclose(results["rmia_published"].scores, shares_of["rmia_online"], **EXACT)
    assert any(0 < score < 1 for score in shares_of["rmia_online"])
    for key, expected in shares_of.items() if gamma == 1.0 else ():
        extra = results[key].scores - expected
        assert (extra > 0).all(), key
        assert (extra < 1 / (size * queries)).all(), key
