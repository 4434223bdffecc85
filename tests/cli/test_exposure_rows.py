"""Exposure from training to table: two cells trained twice, every figure recomputed from the networks' answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artifacts.signals import load_signals
from attacks.exposure import STATISTICS
from tests.cli.scripts import TINY, TRAIN, UNIFIED, call, read

CELLS = ("dense_synthetic", "static_0.6_synthetic")
AGAIN = tuple(f"{name}_train_seed_1" for name in CELLS)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twice")
    sweep = [*TINY, "--methods", "dense", "static", "--sparsities", "0.6", "--num-shadows", "3", "--no-mia"]
    places = ["--runs-dir", folder / "runs", "--results-dir", folder / "mia", "--summary-dir", folder]
    for train_seed in ("0", "1"):
        assert call(TRAIN, [*sweep, *places, "--train-seed", train_seed]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.write.page.write_report", lambda folder: [folder])  # figures are another test's
        assert call(UNIFIED, ["--attacks", "loss", *places]) == 0
    return folder


def exposures(folder: Path) -> np.ndarray:
    """By loops, from the files: phi of each model without its two means, then the mean held minus the mean not held."""
    runs = [folder, *sorted(folder.glob("shadow_*"))]
    signals = [load_signals(run / "signals.npz") for run in runs]
    sums, held = np.zeros((2, len(signals[0].labels))), np.zeros((2, len(signals[0].labels)))
    for one in signals:
        phi = one.phi.astype(np.float64).mean(axis=1)
        for side, inside in enumerate((~one.membership, one.membership)):
            sums[side, inside] += phi[inside] - phi[inside].mean()
            held[side] += inside
    return np.asarray(np.subtract(*(sums / held)[::-1]))


def test_exposures_are_those_of_the_answers(twice: Path) -> None:
    with np.load(twice / "mia/exposure.npz", allow_pickle=False) as stored:
        for name, folder in zip(CELLS, ("dense/synthetic", "static/sparsity_0.6/synthetic"), strict=True):
            expected = exposures(twice / "runs" / folder)
            np.testing.assert_allclose(stored[name], expected)
            first = next(row for row in read(twice / "mia/exposed.csv") if row["experiment"] == name)
            assert int(first["index"]) == stored["index"][np.argmax(expected)]
            assert float(first["exposure"]) == pytest.approx(expected.max())


def test_only_cells_of_different_train_seeds_are_compared(twice: Path) -> None:
    rows = read(twice / "mia/exposure.csv")
    found = {(row["kind"], row["experiment_a"], row["experiment_b"]) for row in rows}
    assert found == {
        *(("reliability", name, again) for name, again in zip(CELLS, AGAIN, strict=True)),
        *(("crossed", CELLS[0], AGAIN[1]), ("crossed", AGAIN[0], CELLS[1])),
    }
    assert all(row["train_seed_a"] != row["train_seed_b"] for row in rows)
    assert len(rows) == 4 * len(STATISTICS)
    assert {(row["num_models"], row["num_examples"]) for row in rows} == {("4", "60")}


def test_figures_are_those_of_the_exposures(twice: Path) -> None:
    with np.load(twice / "mia/exposure.npz", allow_pickle=False) as stored:
        values = {name: stored[name] for name in (*CELLS, *AGAIN)}
    measures = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    for row in read(twice / "mia/exposure.csv"):
        if row["statistic"] in measures:
            r = measures[row["statistic"]](values[row["experiment_a"]], values[row["experiment_b"]]).statistic
            assert float(row["r"]) == pytest.approx(r)
            assert float(row["r_low"]) < r < float(row["r_high"])
        if row["corrected"]:
            product = float(row["reliability_a"]) * float(row["reliability_b"])
            assert float(row["corrected"]) == pytest.approx(float(row["r"]) / np.sqrt(product))
