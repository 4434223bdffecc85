"""Cells of one pipeline: that one leaks less is said no more often than is stated, and never of one target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackResult
from attacks.metrics import Metric, WeightArray
from evaluation.compare import compare, correct
from evaluation.estimates import Measured
from evaluation.pairing import pairs
from reporting.dissent import dissent
from reporting.verdicts import comparison, finding
from tests.evaluation.asked_cells import asked

EXAMPLES, RESAMPLES, RUNS = 200, 100, 80
ATTACKS = ("lira", "rmia", "loss")


# result, membership, weights and allowed false positives, which are not looked at
SHOWN: tuple[AttackResult, BoolArray, WeightArray, dict[str, int]] = (
    AttackResult(np.zeros(EXAMPLES)),
    np.arange(EXAMPLES) < EXAMPLES // 2,
    np.ones((1, EXAMPLES), dtype=np.uint8),
    {},
)


@pytest.fixture(autouse=True)
def one_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.compare.METRICS", ("auc",))


def attacked(
    rng: np.random.Generator, targets: int, examples: Float64Array, weights: Float64Array, effect: float
) -> dict[str, dict[int, Measured]]:
    """One cell: a figure of each target is a mean over examples, which all cells share; networks differ, too.

    Attacks see the same networks and have noise of their own.
    """
    networks = effect + rng.normal(0.0, 0.1, (targets, 1)) + rng.normal(size=(targets, EXAMPLES))
    found: dict[str, dict[int, Measured]] = {}
    for attack in ATTACKS:
        table = examples + networks + 0.5 * rng.normal(size=networks.shape)
        found[attack] = {
            target: Measured(*SHOWN, {"auc": Metric(float(row.mean()), None, None)}, {"auc": weights @ row})
            for target, row in enumerate(table)
        }
    return found


def said(seed: int, targets: int, effect: float = 0.0) -> tuple[list[str], list[str], list[str]]:
    """Sentences, fields and dissent of a sweep of four cells, one of them trained again; effect: of DPF alone."""
    rng = np.random.default_rng(seed)
    examples = rng.normal(size=EXAMPLES)
    weights = rng.multinomial(EXAMPLES, np.full(EXAMPLES, 1 / EXAMPLES), size=RESAMPLES) / EXAMPLES
    cells = [asked("dense", models=targets), asked("dense", train_seed=1, models=targets)]
    cells += [asked(method, 0.9, models=targets) for method in ("static", "dpf")]
    effects = {cell.experiment: effect if cell.cell.names["method"] == "dpf" else 0.0 for cell in cells}
    found = {name: attacked(rng, targets, examples, weights, own) for name, own in effects.items()}
    rows: list[dict[str, Any]] = []
    for attack in ATTACKS:
        for pair in pairs(cells):
            rows += compare(pair, attack, found[pair.a.experiment][attack], found[pair.b.experiment][attack])
    correct(rows, "lira")
    frame = pd.DataFrame(rows)
    labels = {cell.experiment: cell.experiment for cell in cells}
    told = frame[(frame["attack"] == "lira") & (frame["metric"] == "auc")]
    sentences = [comparison(row, labels) for _, row in told.iterrows()]
    return sentences, [finding(row) for _, row in frame.iterrows()], dissent(frame, labels)


def test_cells_of_one_pipeline_are_told_apart_no_more_often_than_stated() -> None:
    """In 5 % of sweeps at most any sentence claims a difference, and as rarely do attacks disagree."""
    outcomes = [said(seed, 8) for seed in range(RUNS)]
    claimed = sum(any("leaks" in sentence for sentence in sentences) for sentences, _, _ in outcomes)
    disagreed = sum(bool(words) for _, _, words in outcomes)
    for count in (claimed, disagreed):
        assert stats.binomtest(count, RUNS, 0.05, alternative="greater").pvalue > 0.001
    for sentences, _, _ in outcomes:
        assert sum("the same trained again" in sentence for sentence in sentences) == 1
        for sentence in sentences:
            assert "No difference" not in sentence or "would have been found with a chance of 80 %" in sentence


def test_a_difference_that_is_there_is_found() -> None:
    """So that the null above is not held by saying nothing."""
    sentences = [sentence for seed in range(3) for sentence in said(seed, 8, effect=-0.8)[0]]
    assert sum("leaks less" in sentence for sentence in sentences) == 6  # DPF against dense and static, three times


@pytest.mark.parametrize("effect", [0.0, -0.8])
def test_one_target_never_leaks_less(effect: float) -> None:
    for seed in range(10):
        sentences, fields, words = said(seed, 1, effect)
        assert not [text for text in (*sentences, *fields) if "leaks" in text or "no difference" in text.lower()]
        assert not words
        assert sum("these two networks differ by" in sentence for sentence in sentences) == 3
