"""Rows of releases.csv: what is released together, from which models, and how often a gain is found that is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackResult, AttackSettings
from attacks.metrics import WeightArray, example_weights
from attacks.models import from_models
from attacks.registry import ATTACKS
from evaluation import releases
from evaluation.attack import Answers, CellScores
from evaluation.releases import planned_releases, release_rows
from tests.attacks.test_releases import auc, coins, networks
from tests.evaluation.asked_cells import asked

RESAMPLES = 60
WORLDS = 12  # of a rate of 5 %, three or fewer come with a chance of 99.8 %
CELLS: tuple[dict[str, Any], ...] = (
    {"method": "dense"},
    {"method": "dense", "train_seed": 1},
    {"method": "static", "sparsity": 0.9},
)


def cell(phi: Float64Array, membership: BoolArray, name: str, **changes: Any) -> CellScores:
    """An attacked cell; of its attacks, the joint one needs to know only that they were run."""
    about = asked(models=len(membership), name=name, **changes)
    index = np.arange(membership.shape[1])
    own = dataclasses.replace(about, index=index, label=np.zeros_like(index), membership=membership)
    answers = Answers(tuple(range(len(membership))), phi, membership)
    return CellScores(own, results={"lira_bayes": [AttackResult(np.zeros(len(index)))]}, answers=answers)


def world(
    seed: int, gaps: Sequence[float], examples: int = 600, models: int = 8, shared: float = 0.5
) -> list[CellScores]:
    membership = coins(models, examples, seed)
    phi = networks(membership, tuple(gaps), 50 + seed, shared)
    return [cell(one, membership, f"cell {i}", **CELLS[i]) for i, one in enumerate(phi)]


def rows_of(cells: Sequence[CellScores]) -> list[dict[str, Any]]:
    weights = example_weights(cells[0].asked.membership, RESAMPLES, 0)

    def of(split: tuple[str, ...], rows: BoolArray | None) -> WeightArray:
        return weights if rows is None else weights[:, rows]

    found, notes = release_rows(cells, of)
    assert not notes
    return found


@cache
def three() -> tuple[list[CellScores], list[dict[str, Any]]]:
    cells = world(0, (0.8, 0.8, 0.5))
    return cells, rows_of(cells)


def test_pairs_a_cell_with_itself_and_all_at_once() -> None:
    _, rows = three()
    released = [(row["kind"], row["experiments"]) for row in rows if row["metric"] == "auc"]
    assert released == [
        ("replicate", "cell 0 + cell 1"),
        ("pair", "cell 0 + cell 2"),
        ("pair", "cell 1 + cell 2"),
    ]  # two cells but for replicates: all at once is a pair


def test_figures_are_those_of_the_attacks() -> None:
    cells, rows = three()
    pair = next(row for row in rows if row["experiments"] == "cell 0 + cell 2" and row["metric"] == "auc")
    alone = []
    for target in range(8):
        answers = cells[0].answers
        assert answers is not None
        inputs = from_models(None, answers.phi[:, :, None], answers.membership, cells[0].asked.label, target, 0)
        scores = ATTACKS["lira_bayes"].run(inputs, AttackSettings(calibrate=False))["lira_bayes"].scores
        alone.append(auc(scores, answers.membership[target]))
    assert pair["alone_a"] == pytest.approx(np.mean(alone), abs=1e-9)
    assert pair["better"] == "cell 0"
    assert pair["gain"] == pytest.approx(pair["together"] - pair["alone_a"])
    null = next(row for row in rows if row["kind"] == "replicate" and row["metric"] == "auc")
    assert pair["null_gain"] == pytest.approx(null["gain"])
    assert pair["beyond_null"] == pytest.approx(pair["gain"] - null["gain"])
    assert (pair["ci_low"], pair["gain_low"]) < (pair["together"], pair["gain"]) < (pair["ci_high"], pair["gain_high"])
    assert null.get("p_value") is None
    assert pair["p_holm"] >= pair["p_value"]


def test_two_trainings_add_up_and_that_is_the_null() -> None:
    _, rows = three()
    null = next(row for row in rows if row["kind"] == "replicate" and row["metric"] == "auc")
    assert null["gain_low"] > 0


def test_the_targets_own_members_and_their_partners_do_not_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other coins of a pair leave the scores of its two models as they are, in every cell of a release."""
    cells, _ = three()
    shared = releases._Shared.of(cells)
    names = ("cell 0", "cell 2")
    before = shared.attack([names], 4)[names]
    other = shared.membership.copy()
    other[[4, 5]] = other[[5, 4]]
    phi = {name: own.copy() for name, own in shared.phi.items()}
    for own in phi.values():
        own[5] += 3.0
    after = dataclasses.replace(shared, membership=other, phi=phi).attack([names], 4)[names]
    np.testing.assert_array_equal(before.scores, after.scores)


def test_controls_and_cells_of_other_splits_are_not_released_together() -> None:
    first, second, _ = three()[0]
    elsewhere = dataclasses.replace(second, asked=dataclasses.replace(second.asked, split=("data", "other")))
    assert rows_of([first, elsewhere]) == []
    control = cell(np.zeros((8, 600)), coins(8, 600, 0), "short", method="dense", control="accuracy", epochs=5)
    assert rows_of([first, control]) == []


def test_cells_with_other_models_are_attacked_on_those_that_all_have() -> None:
    cells = world(0, (0.8, 0.8, 0.5))
    one = cells[2].answers
    assert one is not None
    fewer = Answers(one.indices[:6], one.phi[:6], one.membership[:6])
    short = dataclasses.replace(cells[2].asked, targets=tuple(range(6)), membership=one.membership[:6])
    rows = rows_of([cells[0], dataclasses.replace(cells[2], answers=fewer, asked=short)])
    assert {(row["num_models"], row["num_targets"]) for row in rows} == {(6, 6)}


def test_too_few_shadow_models_are_said() -> None:
    membership = coins(4, 200, 0)
    phi = networks(membership, (1.0, 1.0), 0)
    cells = [cell(one, membership, f"cell {i}", **CELLS[2 * i]) for i, one in enumerate(phi)]
    rows, notes = release_rows(cells, lambda split, rows: example_weights(membership, RESAMPLES, 0))
    assert rows == []
    assert notes == ["nothing is said of several releases: lira_bayes needs at least 5 shadow models; this cell has 3 "
                     "(--num-shadows)"]  # fmt: skip


def test_of_very_many_cells_some_pairs_are_left_out_and_said() -> None:
    membership = coins(8, 10, 0)
    many = [cell(np.zeros((8, 10)), membership, f"cell {i}", method="static", sparsity=i / 10) for i in range(1, 9)]
    many.insert(0, cell(np.zeros((8, 10)), membership, "dense", method="dense"))
    found, left_out = planned_releases(many)
    assert left_out
    assert [one.kind for one in found] == ["pair"] * 8 + ["all"]
    assert all("dense" in one.experiments for one in found)


def test_beyond_the_null_nothing_is_found_of_a_third_training() -> None:
    """The pruned cell of these worlds is the dense one, trained a third time: together they gain what the null does."""
    found = [between(world(seed, (0.8, 0.8, 0.8), 250, models=6)) for seed in range(WORLDS)]
    assert all(row["gain"] > 0.0 for row in found)
    assert sum(not row["beyond_null_low"] <= 0.0 <= row["beyond_null_high"] for row in found) <= 3


def test_no_gain_is_found_of_a_network_that_knows_no_member() -> None:
    """Unless it shares the other's noise, which then can be told from a member's gain."""
    cells = [world(seed, (0.8, 0.8, 0.0), 250, models=6, shared=0.0)[::2] for seed in range(WORLDS)]
    assert sum(between(own)["gain_low"] > 0.0 for own in cells) <= 3


def between(cells: Sequence[CellScores]) -> dict[str, Any]:
    """The row of the dense cell and the pruned one."""
    return next(row for row in rows_of(cells) if row["experiments"] == "cell 0 + cell 2")
