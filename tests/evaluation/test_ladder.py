"""Equal accuracy: the control by its plain form, the null and what is found on simulated cells, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attacks.arrays import Float64Array
from attacks.interface import AttackResult
from attacks.intervals import Sample, difference
from attacks.metrics import Metric
from evaluation.accuracy import Summaries, accuracy_difference
from evaluation.compare import compare, correct
from evaluation.estimates import Measured
from evaluation.ladder import STEPS, Control, Point, against, control
from evaluation.pairing import pairs
from reporting.controls import control_sentences
from reporting.verdicts import finding
from tests.evaluation.asked_cells import asked

EPOCHS = (5, 10, 20, 40)
EXAMPLES, RESAMPLES, TARGETS, PICTURES = 200, 100, 8, 400
# What dense training of 5, 10, 20 and 40 epochs has come to: ease of the test pictures (logit) and leakage. Later it
# leaks more and is hardly more accurate.
SKILL, LEAK = (0.0, 0.8, 1.3, 1.4), (0.0, 0.5, 1.2, 2.0)


def summaries(accuracies: Sequence[float], num_test: int | None = PICTURES) -> list[dict[str, Any]]:
    return [{"test_accuracy": float(value), "num_test": num_test} for value in accuracies]


class World:
    """Cells that share examples, resamples, and test pictures, some of them hard for every network."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.examples = self.rng.normal(size=EXAMPLES)
        self.weights = self.rng.multinomial(EXAMPLES, np.full(EXAMPLES, 1 / EXAMPLES), size=RESAMPLES) / EXAMPLES
        self.ease = self.rng.normal(1.5, 1.5, PICTURES)

    def cell(self, skill: float, leak: float) -> tuple[Sample, Summaries]:
        """Networks of one training differ in both, and the more accurate one leaks more."""
        own = self.rng.normal(0.0, 0.1, (TARGETS, 1))
        table = self.examples + leak + own + self.rng.normal(size=(TARGETS, EXAMPLES))
        right = self.rng.random((TARGETS, PICTURES)) < 1 / (1 + np.exp(-self.ease - skill - 0.5 * own))
        return Sample(table.mean(axis=1), table @ self.weights.T), summaries(right.mean(axis=1))

    def ladder(self) -> tuple[list[Sample], list[Summaries]]:
        cells = [self.cell(*rung) for rung in zip(SKILL, LEAK, strict=True)]
        return [sample for sample, _ in cells], [accuracy for _, accuracy in cells]


def on_the_ladder(share: float, rung: int) -> tuple[float, float]:
    """Skill and leak of a cell between two rungs."""
    return tuple((1 - share) * of[rung] + share * of[min(rung + 1, 3)] for of in (SKILL, LEAK))  # type: ignore[return-value]


def plain(
    ours: Sample, accuracy: Summaries, rungs: Sequence[Sample], accuracies: Sequence[Summaries]
) -> tuple[float, float, bool]:
    """The definition, point by point: ends of the hull, and whether every point's difference is found, to one side."""
    order = np.argsort([np.mean([one["test_accuracy"] for one in cell]) for cell in accuracies])
    found = []
    for lower, upper in pairwise(order):
        for share in np.linspace(0.0, 1.0, STEPS + 1):
            mixed = summaries(
                [
                    (1 - share) * one["test_accuracy"] + share * other["test_accuracy"]
                    for one, other in zip(accuracies[lower], accuracies[upper], strict=True)
                ]
            )
            apart = accuracy_difference(accuracy, mixed)
            assert apart is not None
            assert apart.ci_low is not None
            assert apart.ci_high is not None
            if apart.ci_low <= 0.0 <= apart.ci_high:
                values = (1 - share) * rungs[lower].values + share * rungs[upper].values
                drawn = (1 - share) * rungs[lower].resampled + share * rungs[upper].resampled
                found.append(difference(ours, Sample(values, drawn)))
    lows, highs = ([float(getattr(one, end) or 0.0) for one in found] for end in ("ci_low", "ci_high"))
    signs = {np.sign(one.difference) for one in found}
    return min(lows), max(highs), len(signs) == 1 and max(one.p_value or 0.0 for one in found) < 0.05


def test_the_ends_of_stretches_stand_for_all_points() -> None:
    for seed in range(4):
        world = World(seed)
        rungs, accuracies = world.ladder()
        ours, accuracy = world.cell(*on_the_ladder(0.5, seed % 3))
        held = control(accuracy, accuracies)
        assert isinstance(held, Control)
        outcome = against(ours, rungs, held)
        low, high, is_found = plain(ours, accuracy, rungs, accuracies)
        # the control has the very accuracy of the cell as one point more
        assert (outcome.ci_low, outcome.ci_high) == pytest.approx((low, high), abs=1e-9)
        assert outcome.p_value is not None
        assert (outcome.p_value < 0.05) == is_found


def test_a_control_by_hand() -> None:
    """Three rungs of 0.6, 0.8 and 0.9; 0.75 on 10,000 pictures is three quarters from the first to the second."""
    rungs = [summaries([value] * 2, 10_000) for value in (0.8, 0.6, 0.9)]  # in any order
    held = control(summaries([0.74, 0.76], 10_000), rungs)
    assert isinstance(held, Control)
    assert (held.nearest.lower, held.nearest.upper) == (1, 0)
    assert held.nearest.share == pytest.approx(0.75)
    assert held.apart.difference == pytest.approx(0.0)
    assert [(one.lower, one.upper) for one in held.ends] == [(1, 0), (1, 0)]
    assert held.rungs == [0, 1]
    half = 1.96 * np.sqrt(2 * 0.75 * 0.25 / 10_000 + 0.01**2)
    assert [one.share for one in held.ends] == pytest.approx(
        [0.75 - half / 0.2, 0.75 + half / 0.2], abs=0.03
    )  # one step of the grid


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (0.5, "50.0 % lies below that of every dense training here, 60.0 to 90.0 %"),
        (0.95, "95.0 % lies above that of every dense training here, 60.0 to 90.0 %"),
    ],
)
def test_outside_of_the_ladder_there_is_none(own: float, words: str) -> None:
    rungs = [summaries([value] * 2, 10_000) for value in (0.6, 0.9)]
    held = control(summaries([own] * 2, 10_000), rungs)
    assert isinstance(held, str)
    assert words in held
    near = control(summaries([own] * 2, 10_000), [*rungs, summaries([own + 0.001] * 2, 10_000)])
    assert isinstance(near, Control)  # just outside, and not to be told apart from the last rung
    unknown = control(summaries([own] * 2, None), rungs)
    assert isinstance(unknown, str)
    assert "not known" in unknown


def test_where_accuracy_is_flat_the_control_is_the_hull() -> None:
    """Rungs of 0.90, 0.91 and 0.91 on 400 pictures: the lowest end and the highest of the three intervals."""
    world = World(0)
    rungs = [world.cell(0.0, leak)[0] for leak in (0.0, 1.0, 2.0)]
    ours = world.cell(0.0, 1.0)[0]
    held = control(summaries([0.905] * TARGETS), [summaries([value] * TARGETS) for value in (0.90, 0.91, 0.91)])
    assert isinstance(held, Control)
    assert held.rungs == [0, 1, 2]
    each = [difference(ours, rung) for rung in rungs]
    outcome = against(ours, rungs, held)
    assert (outcome.ci_low, outcome.ci_high) == pytest.approx((each[2].ci_low, each[0].ci_high))
    assert outcome.p_value == 1.0  # less than one and more than another
    assert outcome.detectable is not None
    assert outcome.detectable > 1.0


def test_one_rung_alone_is_an_ordinary_difference() -> None:
    world = World(0)
    ours, rung = world.cell(0.0, 0.0)[0], world.cell(0.0, 0.3)[0]
    here = Point(0, 1, 0.0)
    apart = accuracy_difference(summaries([0.9] * 2), summaries([0.9] * 2))
    assert apart is not None
    assert against(ours, [rung, ours], Control(here, apart, (here,))) == difference(ours, rung)


def share_found(skill: float, leak: float, runs: int, seed: int) -> tuple[float, float]:
    """How often the cell is found to leak less, and more, than the control that it has."""
    found = []
    for run in range(runs):
        world = World(1000 * seed + run)
        rungs, accuracies = world.ladder()
        ours, accuracy = world.cell(skill, leak)
        held = control(accuracy, accuracies)
        outcome = against(ours, rungs, held) if isinstance(held, Control) else None
        hit = outcome is not None and outcome.p_value is not None and outcome.p_value < 0.05
        found.append(np.sign(outcome.difference) if hit and outcome is not None else 0.0)
    return float(np.mean(np.equal(found, -1))), float(np.mean(np.equal(found, 1)))


@pytest.mark.parametrize(("share", "rung"), [(0.0, 3), (0.0, 1), (0.5, 0), (0.5, 1), (0.5, 2)])
def test_a_cell_on_the_ladder_is_rarely_found_off_it(share: float, rung: int) -> None:
    """The first is a dense cell of another seed. Stated are 5 %; what is found is rarer."""
    runs = 40
    less, more = share_found(*on_the_ladder(share, rung), runs, 5 * rung + round(2 * share))
    count = round(runs * (less + more))
    assert stats.binomtest(count, runs, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("off", [-2.0, 2.5])
def test_a_cell_off_the_ladder_is_found(off: float) -> None:
    skill, leak = on_the_ladder(0.5, 1)
    less, more = share_found(skill, leak + off, 20, 7)
    assert (less if off < 0 else more) >= 0.8
    assert (more if off < 0 else less) == 0.0


def measured(sample: Sample) -> dict[int, Measured]:
    result, inside, weights = AttackResult(np.zeros(50)), np.arange(50) < 25, np.ones((1, 50), dtype=np.uint8)
    drawn: Float64Array = sample.resampled
    return {
        target: Measured(result, inside, weights, {}, {"auc": Metric(float(value), None, None)}, {"auc": drawn[target]})
        for target, value in enumerate(sample.values)
    }


def rows_of(off: float, targets: int, monkeypatch: pytest.MonkeyPatch, skill: float = 1.0) -> pd.DataFrame:
    """comparisons.csv of a ladder and one pruned cell, from its configurations to corrected rows."""
    monkeypatch.setattr("evaluation.compare.METRICS", ("auc",))
    world = World(3)
    rungs, accuracies = world.ladder()
    ours, accuracy = world.cell(skill, on_the_ladder(0.5, 1)[1] + off)
    known = [asked("dense", epochs=epochs, control="accuracy", name=f"e{epochs}") for epochs in EPOCHS[:-1]]
    cells = [*known, asked("dense", epochs=40, name="d"), asked("dpf", 0.9, epochs=40, name="p")]
    found, samples = {}, [*rungs, ours]
    for cell, sample, own in zip(cells, samples, [*accuracies, accuracy], strict=True):
        cell.targets, cell.summaries = tuple(range(targets)), [dict(one) for one in own[:targets]]
        found[cell.experiment] = measured(Sample(sample.values[:targets], sample.resampled[:targets]))
    rows: list[dict[str, Any]] = []
    for pair in pairs(cells):
        rows += compare(pair, "lira_bayes", *(found[cell.experiment] for cell in pair.cells))
    correct(rows, "lira_bayes")
    names = ("control", "p_value", "p_holm", "difference", "ci_low", "ci_high", "detectable", "differing")
    frame: pd.DataFrame = pd.DataFrame([{**dict.fromkeys(names), **row} for row in rows])
    return frame


LABELS = {"p": "DPF 90 %", "d": "Dense"}


@pytest.mark.parametrize(
    ("off", "targets", "skill", "sentence", "field"),
    [
        (-2.0, 8, 1.0, "At its accuracy, DPF 90 % (-", "first leaks less; control: epochs"),
        (2.5, 8, 1.0, "DPF 90 % (+", "first leaks more; control: epochs"),
        (0.0, 8, 1.0, "At its accuracy, no difference of more than the figure in brackets was found", "no difference"),
        (-2.0, 1, 1.0, "one target network each, which says nothing of other networks", "one target network each"),
        (
            -2.0,
            8,
            -3.0,
            "No dense control of its accuracy has DPF 90 % (its test accuracy of",
            "none: its test accuracy",
        ),
    ],
)
def test_what_is_said(
    off: float, targets: int, skill: float, sentence: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(off, targets, monkeypatch, skill)
    assert sorted(rows["kind"]) == ["against_dense", "equal_accuracy"]
    (row,) = (one for _, one in rows[rows["kind"] == "equal_accuracy"].iterrows())
    assert (row["experiment_a"], row["experiment_b"], row["family"]) == ("p", "d", "primary")
    assert row["num_targets"] == targets
    assert pd.isna(row["p_value"]) == (targets == 1 or skill < 0)
    (said,) = control_sentences(rows, "lira_bayes", LABELS)
    assert sentence in said
    assert ("leaks" in said) == (field.startswith("first leaks"))
    assert field in finding(row)


def test_no_less_is_said_within_a_hundredth_alone() -> None:
    common: dict[str, Any] = {
        "kind": "equal_accuracy",
        "attack": "lira",
        "metric": "auc",
        "experiment_a": "p",
        "experiment_b": "d",
    }
    common |= {"num_targets": 8, "p_value": 0.5, "p_holm": 1.0, "difference": 0.001, "control": "epochs 40"}
    for ends, words in (((-0.009, 0.01), "no less than dense and no more"), ((-0.009, 0.011), "(0.011)")):
        row = {**common, "ci_low": ends[0], "ci_high": ends[1], "differing": "", "family": "primary"}
        (said,) = control_sentences(pd.DataFrame([row]), "lira", LABELS)
        assert words in said
        assert ("no less" in said) == ("no less" in words)


def test_who_is_held_against_which_ladder() -> None:
    cells = [asked("dense", train_seed=seed, name=f"d{seed}") for seed in (0, 1)]
    cells += [
        asked("dense", epochs=epochs, control="accuracy", train_seed=seed, name=f"e{epochs}-{seed}")
        for epochs in (25, 50)
        for seed in (0, 1)
    ]
    cells += [asked("dense", epochs=50, lr=0.01, control="accuracy", name="other")]  # another recipe's
    cells += [asked("static", 0.8, name="s0"), asked("static", 0.8, train_seed=1, name="s1")]
    cells += [asked("dpf", 0.8, train_seed=2, name="p2")]
    found = pairs(cells)
    ladders = [
        (pair.a.experiment, pair.b.experiment, [one.experiment for one in pair.ladder])
        for pair in found
        if pair.kind == "equal_accuracy"
    ]
    assert ladders == [
        ("s0", "d0", ["e25-0", "e50-0"]),
        ("s1", "d1", ["e25-1", "e50-1"]),
        ("p2", "d0", ["e25-0", "e50-0"]),  # without a train seed in common, the first
    ]
    others = {(pair.kind, pair.a.experiment, pair.b.experiment) for pair in found if pair.kind != "equal_accuracy"}
    assert ("replicate", "e25-0", "e25-1") in others
    assert not {name for kind, *names in others for name in names if kind != "replicate"} & {"e25-0", "e50-1", "other"}


def sized(*given: Any, parameters: int, zeros: float = 0.0, **more: Any) -> Any:
    cell = asked(*given, **more)
    for summary in cell.summaries:
        summary |= {"parameters": parameters, "sparsity_all_parameters": zeros}
    return cell


def test_equal_size_is_within_fifteen_percent_and_else_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 parameters 80 % zeros leave 200: 180 are 0.9 of it. 60 % leave 400, and 5 % nearly all."""
    monkeypatch.setattr("evaluation.compare.METRICS", ("auc",))
    cells = [sized("dense", parameters=1000, name="d")]
    cells += [sized("dense", channels=c, control="size", parameters=20 * c, name=f"c{c}") for c in (6, 9)]
    cells += [sized("static", s, parameters=1000, zeros=s, name=f"s{s:g}") for s in (0.05, 0.6, 0.8)]
    found = [pair for pair in pairs(cells) if pair.kind == "equal_size"]
    assert [(pair.a.experiment, pair.b.experiment) for pair in found] == [("s0.6", "d"), ("s0.8", "c9")]
    assert [pair.size_ratio for pair in found] == [None, pytest.approx(0.9)]
    assert [pair.differing for pair in found] == ["", ""]
    scores = measured(World(0).cell(0.0, 0.0)[0])
    rows = [row for pair in found for row in compare(pair, "lira", scores, scores)]
    words = "none: no dense network here comes within 15 % of the 400 parameters that it keeps"
    assert [row["control"] for row in rows] == [words, "channels 9"]
    assert [row.get("difference") for row in rows] == [None, 0.0]
    assert [row["size_ratio"] for row in rows] == [None, pytest.approx(0.9)]
    correct(rows, "lira")
    assert {row["family"] for row in rows} == {"primary"}
    columns = ("p_value", "p_holm", "difference", "ci_low", "ci_high", "detectable")
    said = list(control_sentences(pd.DataFrame([{**dict.fromkeys(columns), **row} for row in rows]), "lira", NAMED))
    assert said[-1] == f"No dense control of its size has Static 60 % ({words.removeprefix('none: ')})."


NAMED = {"s0.6": "Static 60 %", "s0.8": "Static 80 %", "d": "Dense", "c9": "Dense, channels 9"}


def test_a_ladder_is_climbed_with_the_models_that_all_have() -> None:
    cells = [asked("dense"), asked("dense", epochs=9, control="accuracy", models=7), asked("dpf", 0.9, models=8)]
    models = {pair.kind: pair.models for pair in pairs(cells)}
    assert models == {"against_dense": tuple(range(8)), "equal_accuracy": tuple(range(7))}
