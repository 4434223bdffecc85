"""Rows of examples.csv and risk.csv: each figure from plain loops, and noise, of which nothing may be found.

One file, longer than others: a world that leaks is simulated once for most of it.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackSettings, Outputs
from attacks.lira_bayes_definition import Choice
from attacks.lira_bayes_model import Predictive
from attacks.metrics import WeightArray, allowed_false_positives, evaluate_scores, example_weights
from attacks.models import from_models
from attacks.registry import ATTACKS
from evaluation.attack import Answers, CellScores, Targets
from evaluation.examples import example_risks, example_rows
from evaluation.risk import FEWEST, Concentration, concentration, found_intervals, group_rows, most_exposed, risk_rows
from reporting.frames import to_frame
from reporting.tables import EXAMPLE_COLUMNS, RISK_COLUMNS, write_frames, write_table
from tests.attacks.test_releases import coins, networks
from tests.evaluation.asked_cells import asked

EXAMPLES = 1200
RESAMPLES = 200
DRAWS = 40


def attacked(phi: Float64Array, membership: BoolArray) -> CellScores:
    """A cell with Bayes LiRA run on every model; labels are 0 and 1 in turn, and every third answer is wrong."""
    about = asked("dense", models=len(membership), name="cell")
    index = np.arange(membership.shape[1])
    own = dataclasses.replace(about, index=index + 7, label=index % 2, membership=membership)
    right = np.broadcast_to(index % 3 > 0, membership.shape)
    results = []
    for target in range(len(membership)):
        inputs = from_models(None, phi[:, :, None], membership, own.label, target, 0)
        scorer = ATTACKS["lira_bayes"].fit(inputs, AttackSettings(calibrate=False))
        results.append(scorer(Outputs(None, phi[target][:, None]))["lira_bayes"])
    answers = Answers(tuple(range(len(membership))), phi, membership, right)
    return CellScores(own, results={"lira_bayes": results}, answers=answers)


def weights_of(cell: CellScores) -> WeightArray:
    return example_weights(cell.asked.membership, RESAMPLES, 0)


def world(seed: int, gap: float) -> CellScores:
    membership = coins(8, EXAMPLES, seed)
    return attacked(networks(membership, (gap,), 90 + seed)[0], membership)


@cache
def leaking() -> tuple[CellScores, list[dict[str, Any]], list[dict[str, Any]]]:
    cell = world(0, 1.5)
    risks = example_risks(cell)
    assert risks is not None
    return cell, list(example_rows(cell, risks)), risk_rows([(cell, risks)], weights_of(cell))


@pytest.mark.parametrize(("v1", "v0"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
@pytest.mark.parametrize("m1", [-1.0, 0.5, 3.0])
def test_the_tail_is_that_of_drawn_non_members(m1: float, v1: float, v0: float) -> None:
    """Of models drawn from the OUT predictive, as many score above the threshold as the tail says."""
    draws = 0.25 + np.sqrt(v0) * norm.ppf((np.arange(20000) + 0.5) / 20000)
    one = [np.full(draws.size, value) for value in (m1, v1, 0.25, v0)]
    own = Predictive(Choice(float("inf"), 0), *one)
    for threshold in (-0.5, 0.0, 1.0):
        counted = (own.scores(draws) > threshold).mean()
        assert own.out_tail(threshold)[0] == pytest.approx(counted, abs=1e-4)


def test_examples_are_what_plain_counting_gives() -> None:
    cell, rows, _ = leaking()
    assert cell.answers is not None
    phi, membership = cell.answers.phi, cell.answers.membership
    limits = {}
    for target in range(8):
        scores = cell.results["lira_bayes"][target].scores
        rest = sorted((scores[i] for i in range(EXAMPLES) if not membership[target, i]), reverse=True)
        limits[target] = rest[int(0.01 * min((~membership).sum(axis=1)))]
    hardness = [-np.mean([phi[m, i] for m in range(8) if not membership[m, i]]) for i in range(EXAMPLES)]
    for i in (0, 1, 2, 500, 1199):
        holding = [target for target in range(8) if membership[target, i]]
        hits = [cell.results["lira_bayes"][target].scores[i] > limits[target] for target in holding]
        tails = [cell.results["lira_bayes"][t].out_tail(limits[t])[i] for t in range(8) if not membership[t, i]]  # type: ignore[misc]
        agree = [a == b for j, a in enumerate(hits) for k, b in enumerate(hits) if j != k]
        row = rows[i]
        assert (row["experiment"], row["index"], row["label"]) == ("cell", i + 7, i % 2)
        assert (row["num_held"], row["num_not_held"]) == (4, 4)
        assert row["found"] == pytest.approx(np.mean(hits))
        assert row["agreement"] == pytest.approx(np.mean(agree))
        assert row["false_positive_risk"] == pytest.approx(np.mean(tails))
        assert row["difficulty"] == pytest.approx(np.mean([other < hardness[i] for other in hardness]))
        assert row["right"] == (i % 3 > 0)
    assert set(rows[0]) == set(EXAMPLE_COLUMNS)


def test_frames_of_cells_are_written_as_their_rows_would_be(tmp_path: Path) -> None:
    _, rows, _ = leaking()
    other = [{**row, "experiment": "=other", "right": float("nan")} for row in rows]
    frames = [to_frame(part, EXAMPLE_COLUMNS) for part in (rows, other)]
    write_frames(tmp_path / "frames.csv", frames, EXAMPLE_COLUMNS)
    write_table(tmp_path / "rows.csv", [*rows, *other], EXAMPLE_COLUMNS)
    assert (tmp_path / "frames.csv").read_bytes() == (tmp_path / "rows.csv").read_bytes()
    write_frames(tmp_path / "none.csv", [], EXAMPLE_COLUMNS)
    assert (tmp_path / "none.csv").read_text() == ",".join(EXAMPLE_COLUMNS) + "\n"


def test_the_mean_over_members_is_the_tpr_of_the_summary() -> None:
    cell, _, groups = leaking()
    every = next(row for row in groups if row["kind"] == "all")
    allowed = allowed_false_positives(cell.asked.membership)
    found = 0.0
    for result, inside in zip(cell.results["lira_bayes"], cell.asked.membership, strict=True):
        values = evaluate_scores(result.scores, inside, None, resamples=0, allowed=allowed)
        found += (values["tpr_at_fpr_0.01"].value or 0.0) * inside.sum()
    assert every["found"] == pytest.approx(found / cell.asked.membership.sum())
    top = next(row for row in groups if row["kind"] == "exposed")
    assert set(top) | {"against", "found_low", "found_high"} == set(RISK_COLUMNS)
    assert top["p_holm"] == top["p_value"] < 0.05  # a family of one


def test_groups_share_out_all_pairs() -> None:
    _, _, groups = leaking()
    every = next(row for row in groups if row["kind"] == "all")
    for kind, count in (("class", 2), ("answer", 2), ("difficulty", 5), ("risk", 10)):
        rows = [row for row in groups if row["kind"] == kind]
        assert len(rows) == count
        assert sum(row["num_not_held"] for row in rows) == every["num_not_held"]
        positives = sum(row["num_not_held"] * row["false_positives"] for row in rows)
        assert positives == pytest.approx(every["num_not_held"] * every["false_positives"])
        if kind != "risk":
            assert sum(row["num_held"] for row in rows) == every["num_held"]


def test_predicted_risks_fit_what_is_counted() -> None:
    """Of noise that is normal, as the predictive assumes: by tenth of it, within what the counts' chance leaves."""
    membership = coins(8, EXAMPLES, 4)
    rng = np.random.default_rng(4)
    phi = rng.normal(0.0, 2.0, EXAMPLES) + 1.5 * membership * rng.random(EXAMPLES) + rng.normal(size=membership.shape)
    cell = attacked(phi, membership)
    risks = example_risks(cell)
    assert risks is not None
    rows = [row for row in group_rows(cell, risks, weights_of(cell)) if row["kind"] in ("all", "risk")]
    for row in rows:
        chance = np.sqrt(row["false_positive_risk"] / row["num_not_held"])
        assert abs(row["false_positives"] - row["false_positive_risk"]) < 4 * chance + 0.003


def test_the_targets_partner_has_no_part_in_its_figures() -> None:
    membership = coins(8, EXAMPLES, 0)
    phi = networks(membership, (1.5,), 90)[0]
    before = attacked(phi, membership).results["lira_bayes"][2]
    phi[3] += 5.0
    after = attacked(phi, membership).results["lira_bayes"][2]
    assert before.out_tail is not None
    assert after.out_tail is not None
    np.testing.assert_allclose(before.out_tail(1.0), after.out_tail(1.0), rtol=1e-9)  # sums without it, by subtraction


def test_nothing_is_said_without_the_attack_or_with_too_few_non_members() -> None:
    cell, _, _ = leaking()
    assert example_risks(dataclasses.replace(cell, results={})) is None
    assert example_risks(dataclasses.replace(cell, answers=None)) is None
    membership = coins(8, 300, 0)
    assert example_risks(attacked(networks(membership, (1.5,), 90)[0], membership)) is None


def test_the_top_tenth_is_chosen_on_other_pairs() -> None:
    """Whatever a pair of models says and holds, its own tenth stays; the shares are those of plain counting."""
    cell, _, groups = leaking()
    assert cell.answers is not None
    phi, membership = cell.answers.phi, cell.answers.membership
    top, risks = most_exposed(cell), example_risks(cell)
    assert top is not None
    assert risks is not None
    found_top, found, null = 0, 0, 0.0
    for target in range(8):
        others = [m for m in range(8) if m // 2 != target // 2]
        centred = {(m, side): phi[m][membership[m] == side].mean() for m in others for side in (True, False)}
        values = np.zeros(EXAMPLES)
        for i in range(EXAMPLES):
            away = {side: [phi[m, i] - centred[m, side] for m in others if membership[m, i] == side]
                    for side in (True, False)}  # fmt: skip
            values[i] = np.mean(away[True]) - np.mean(away[False])
        assert set(np.flatnonzero(top[target])) == set(np.argsort(-values)[:120])
        own, accused = 0, []
        for i in map(int, np.flatnonzero(risks.claimed[target])):
            if membership[target, i]:
                own += 1
                found_top += int(top[target, i])
            else:
                accused.append(top[target, i])
        found += own
        null += own * np.mean(accused)
    row = next(row for row in groups if row["kind"] == "exposed")
    assert (row["share_found"], row["share_false_positives"]) == pytest.approx((found_top / found, null / found))
    assert row["difference"] == pytest.approx((found_top - null) / found)
    assert 0.0 < row["difference_low"] < row["difference"] < row["difference_high"]
    other = phi.copy()
    other[[2, 3]] = 9.0
    swapped = membership.copy()
    swapped[[2, 3]] = swapped[[3, 2]]
    answers = dataclasses.replace(cell.answers, phi=other, membership=swapped)
    again = most_exposed(dataclasses.replace(cell, answers=answers))
    assert again is not None
    np.testing.assert_array_equal(again[[2, 3]], top[[2, 3]])
    assert (again != top).any()


def test_noise_gives_no_finding() -> None:
    """Of networks whose members gain nothing, the spread of which differs by example, by two sets of networks on the
    same members: neither a cell by itself nor the two beside each other in more than 5 % of draws, nor in the mean."""
    alone, between, values, shares = 0, 0, [], []
    for seed in range(DRAWS):
        membership = coins(8, EXAMPLES, 1000 + seed)
        rng = np.random.default_rng(seed)
        level, spread = rng.normal(size=EXAMPLES), rng.gamma(2.0, 0.5, EXAMPLES)
        first, second = (tenth_of(attacked(level + spread * rng.normal(size=(8, EXAMPLES)), membership)) for _ in "ab")
        alone += leaves_zero_out(first.drawn)
        between += leaves_zero_out(second.drawn - first.drawn)
        values.append(first.difference)
        shares.append(first.share_false_positives)
    assert alone <= 0.05 * DRAWS
    assert between <= 0.05 * DRAWS
    assert abs(np.mean(values)) < 2.6 * np.std(values, ddof=1) / np.sqrt(DRAWS)
    assert np.mean(shares) > 0.15  # the null is not a tenth


def tenth_of(cell: CellScores) -> Concentration:
    top, risks = most_exposed(cell), example_risks(cell)
    assert top is not None
    assert risks is not None
    found = concentration(risks, top, weights_of(cell))
    assert found is not None
    return found


def leaves_zero_out(drawn: Float64Array) -> bool:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return not low <= 0.0 <= high


def trained_twice(seed: int) -> tuple[CellScores, CellScores]:
    """Two cells that leak alike, most of it in few examples, and share nothing but their examples."""
    membership = coins(8, EXAMPLES, 500 + seed)
    rng = np.random.default_rng(seed)
    level, gap = rng.normal(size=EXAMPLES), rng.exponential(1.0, EXAMPLES)
    a, b = (attacked(level + gap * membership + rng.normal(size=membership.shape), membership) for _ in "ab")
    return a, b


def test_another_train_seed_is_no_finding() -> None:
    pairs = [[tenth_of(cell) for cell in trained_twice(seed)] for seed in range(DRAWS // 2)]
    assert sum(leaves_zero_out(a.drawn - b.drawn) for a, b in pairs) <= 0.05 * DRAWS // 2
    assert np.mean([a.difference for a, _ in pairs]) > 0.1  # there is something to be found in each


def with_members(about: Targets, cell: CellScores) -> Targets:
    return dataclasses.replace(about, **{name: getattr(cell.asked, name) for name in ("index", "label", "membership")})


def test_a_pruned_cell_stands_beside_dense() -> None:
    """Leakage of few examples against leakage that all share: the rows, from two cells' own figures and resamples."""
    dense = trained_twice(0)[0]
    membership = dense.asked.membership
    rng = np.random.default_rng(3)
    noise = rng.normal(size=membership.shape)
    even = attacked(rng.normal(size=EXAMPLES) + 1.5 * membership + noise, membership)
    pruned = dataclasses.replace(even, asked=with_members(asked("static", 0.9, models=8, name="pruned"), even))
    risks = [example_risks(cell) for cell in (dense, pruned)]
    assert risks[0] is not None
    assert risks[1] is not None
    rows = risk_rows([(dense, risks[0]), (pruned, risks[1])], weights_of(dense))
    (row,) = [row for row in rows if row["kind"] == "paired"]
    ours, theirs = tenth_of(pruned), tenth_of(dense)
    assert (row["experiment"], row["against"], row["group"]) == ("pruned", "cell", "top tenth")
    assert row["difference"] == pytest.approx(ours.difference - theirs.difference)
    low, high = np.quantile(ours.drawn - theirs.drawn, [0.025, 0.975])
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
    assert row["difference_high"] < 0.0
    assert row["p_holm"] == row["p_value"] < 0.05
    tenths = [row for row in rows if row["kind"] == "exposed"]
    assert all(row["p_holm"] >= row["p_value"] for row in tenths)
    assert max(row["p_holm"] / row["p_value"] for row in tenths) == pytest.approx(2.0)  # a family of two
    again = dataclasses.replace(even, asked=with_members(asked("dense", models=8, train_seed=1, name="again"), even))
    rows = risk_rows([(dense, risks[0]), (again, risks[1])], weights_of(dense))
    (row,) = [row for row in rows if row["kind"] in ("paired", "replicate")]
    assert (row["kind"], {row["experiment"], row["against"]}) == ("replicate", {"cell", "again"})
    assert abs(row["difference"]) == pytest.approx(theirs.difference - ours.difference)
    assert row.get("p_holm") is None
    assert not [row for row in risk_rows([(dense, risks[0])], weights_of(dense)) if row["kind"] == "paired"]


def test_intervals_of_groups_are_those_of_plain_resampling() -> None:
    cell, _, rows = leaking()
    risks, weights = example_risks(cell), weights_of(cell)
    assert risks is not None
    drawn = []
    for times in weights:
        picked = [i for i in np.repeat(np.arange(EXAMPLES), times) if i % 2]
        held = risks.held[:, picked]
        drawn.append((risks.claimed[:, picked] & held).sum() / held.sum())
    row = next(row for row in rows if (row["kind"], row["group"]) == ("class", "1"))
    ends = np.quantile(drawn, [0.025, 0.975])
    assert (row["found_low"], row["found_high"]) == pytest.approx(tuple(ends), abs=1e-6)
    assert row["found_low"] < row["found"] < row["found_high"]
    nobody = dataclasses.replace(risks, claimed=np.zeros_like(risks.claimed))
    assert found_intervals(nobody, [cell.asked.label == 1, cell.asked.label == 9], weights) == [(None, None)] * 2


def test_no_top_tenth_without_pairs_and_no_shares_of_few() -> None:
    cell, _, _ = leaking()
    assert cell.answers is not None
    membership = np.random.default_rng(0).random((8, EXAMPLES)) < 0.5
    assert (
        most_exposed(dataclasses.replace(cell, answers=dataclasses.replace(cell.answers, membership=membership)))
        is None
    )
    risks, top = example_risks(cell), most_exposed(cell)
    assert risks is not None
    assert top is not None
    few = risks.claimed & (np.cumsum(risks.claimed & risks.held).reshape(top.shape) < FEWEST)
    assert concentration(dataclasses.replace(risks, claimed=few), top, weights_of(cell)) is None


def test_equal_risks_share_a_tenth() -> None:
    cell, _, _ = leaking()
    risks = example_risks(cell)
    assert risks is not None
    tail = np.where(np.arange(EXAMPLES) < 1000, 0.0, risks.tail)
    rows = list(group_rows(cell, dataclasses.replace(risks, tail=tail), weights_of(cell)))
    tenths = {row["group"]: row["num_not_held"] for row in rows if row["kind"] == "risk"}
    assert set(tenths) == {"1", "9", "10"}
    assert tenths["1"] == (risks.rest & (tail == 0.0)).sum()


def test_a_target_and_its_partner_do_not_choose_the_groups_of_their_examples() -> None:
    cell = world(2, 1.5)
    assert cell.answers is not None
    assert cell.answers.right is not None
    phi, right = cell.answers.phi.copy(), np.random.default_rng(0).random(cell.answers.phi.shape) < 0.7
    changed = dataclasses.replace(cell, answers=dataclasses.replace(cell.answers, phi=phi, right=right))
    before = example_risks(changed)
    phi[2:4] += np.linspace(-50.0, 50.0, EXAMPLES)
    right[2:4] = ~right[2:4]
    after = example_risks(changed)
    assert before is not None
    assert after is not None
    for target in (2, 3):  # each the other's partner
        np.testing.assert_array_equal(before.difficulty_away[target], after.difficulty_away[target])
        np.testing.assert_array_equal(before.right_away[target], after.right_away[target])
    assert (before.difficulty_away[4] != after.difficulty_away[4]).any()
    others = [model for model in range(8) if model not in (2, 3)]
    hardness = []
    for i in range(EXAMPLES):
        outside = [phi[model, i] for model in others if not cell.answers.membership[model, i]]
        hardness.append(-np.mean(outside) if outside else np.nan)
    known = [value for value in hardness if not np.isnan(value)]
    for i in range(0, EXAMPLES, 50):
        assert after.difficulty_away[2, i] == pytest.approx(np.mean([other < hardness[i] for other in known]))
