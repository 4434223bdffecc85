"""What --dry-run says of the differences that the planned number of models would find, and what it rests on."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from scipy import stats

from attacks.intervals import Sample, difference
from attacks.metrics import example_weights
from benchmarks import detectable as script
from benchmarks.simulated_cells import CROSSED, cells
from cli.detectable import FILE, forecast, recorded
from tests.cli.scripts import TINY, TRAIN, call, read
from tests.repository import REPOSITORY

SWEEP = [*TINY, "--methods", "dense", "static", "--sparsities", "0.5", "--dry-run"]
ROWS = [
    row
    for row in read(REPOSITORY / "benchmarks/results/digits/comparisons.csv")
    if (row["attack"], row["metric"]) == ("lira_bayes", "auc")
]


def test_all_recorded_models_give_the_recorded_comparisons() -> None:
    known = {
        (row["experiment_a"], row["experiment_b"]): float(row["detectable"])
        for row in ROWS
        if row["kind"] in script.KINDS and "train_seed" not in row["experiment_a"]
    }
    found = {
        (row["experiment_a"], row["experiment_b"]): float(row["detectable"])
        for row in read(FILE)
        if row["num_models"] == "8"
    }
    assert found == pytest.approx(known, rel=1e-6)


def test_fewer_models_are_made_again_from_signals() -> None:
    (row,) = script.measured((3,), script.CELLS[:2])
    (kept,) = (
        one
        for one in read(FILE)
        if (one["num_models"], one["experiment_a"], one["experiment_b"])
        == ("6", row["experiment_a"], row["experiment_b"])
    )
    assert float(kept["detectable"]) == pytest.approx(row["detectable"], rel=1e-6)
    assert (kept["subsets"], kept["num_examples"], kept["network"]) == ("4", "1400", row["network"])


def test_networks_that_differ_by_seed_alone_are_not_found_to_differ() -> None:
    null = [row for row in ROWS if row["kind"] == "replicate"]
    assert len(null) == 2
    for row in null:
        assert abs(float(row["difference"])) < float(row["detectable"])
        assert float(row["p_value"]) > 0.05


def test_components_by_hand() -> None:
    """Between targets and between examples, one loop at a time (no deleted models)."""
    rng = np.random.default_rng(1)
    values, drawn = rng.normal(0.1, 0.03, 4), rng.normal(0.1, 0.02, (4, 50))
    drawn += rng.normal(0.0, 0.02, 50)
    zero = Sample(np.zeros(4), np.zeros((4, 50)))

    def variance(numbers: list[float]) -> float:
        middle = sum(numbers) / len(numbers)
        return sum((one - middle) ** 2 for one in numbers) / (len(numbers) - 1)

    examples = variance([sum(drawn[t, b] for t in range(4)) / 4 for b in range(50)])
    own = sum(variance(list(drawn[t])) for t in range(4)) / 4
    common = max((4 * examples - own) / 3, 0.0)
    between = variance(list(values)) / 4
    dof = 3 * ((common + between) / between) ** 2
    asked = [(math.sqrt(examples), math.inf), (math.sqrt(common + between), dof)]
    sizes = [(stats.t.ppf(0.975, one) + stats.t.ppf(0.8, one)) * error for error, one in asked]
    assert difference(Sample(values, drawn), zero).detectable == pytest.approx(max(sizes), rel=1e-9)


def test_a_difference_of_that_size_is_found_four_times_in_five() -> None:
    """Simulated cells of equal leaks, whose networks differ; the size is told from other draws than it is tried on."""
    setting = next(one for one in CROSSED if (one.targets, one.regime) == (9, "equal"))
    apart = []
    for draw in range(50):
        (first, second), membership = cells(setting, [1.0, 1.0], (7, draw))
        weights = example_weights(membership, 100, draw)
        apart.append([one.samples(membership, weights)["auc"] for one in (first, second)])
    found = [difference(*pair) for pair in apart]
    size = mean(one.detectable for one in found[:20] if one.detectable is not None)
    shares = []
    for a, b in apart[20:]:
        moved = a.minus(b)
        zero = Sample(np.full_like(moved.values, -size), np.full_like(moved.resampled, -size))
        p_value = difference(Sample(moved.values, moved.resampled), zero).p_value
        shares.append(p_value is not None and p_value < 0.05)
    assert 0.65 <= np.mean(shares) <= 0.97


def test_a_dry_run_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    def said(*flags: str) -> str:
        assert call(TRAIN, [*SWEEP, *flags]) == 0
        return capsys.readouterr().out

    found, words = recorded()
    assert forecast(8, found, words) in said("--num-shadows", "7")
    assert "16 models per cell: which difference in AUC would be found is not known" in said("--num-shadows", "15")
    without = ("--no-mia",), ("--attacks", "loss"), ("--split", "balanced"), ("--num-targets", "2")
    for flags in without:
        assert "models per cell" not in said("--num-shadows", "7", *flags)
    assert list(tmp_path.iterdir()) == []


def test_words() -> None:
    found = {4: [0.05, 0.03, 0.04], 8: [0.02, 0.01, 0.03]}
    assert forecast(8, found, "2 recorded cells") == (
        "8 models per cell: true differences of 0.020 AUC or more (0.010 to 0.030 by comparison) would be found by "
        "lira_bayes with a chance of 80 % (from 2 recorded cells, every model a target; other data and networks may "
        "differ); 4: 0.040"
    )
    assert "outside what was measured (4: 0.040, 8: 0.020; from 2 recorded cells)" in forecast(
        9, found, "2 recorded cells"
    )
    assert "not among what was measured" in forecast(6, found, "2 recorded cells")
