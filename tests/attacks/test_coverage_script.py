"""benchmarks/coverage.py: what it judges intervals by, and that it writes its tables, in pieces too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage, simulated_cells
from benchmarks.simulated_cells import LOW_FPR, RATES, Setting, Truth, cells


def test_a_tpr_is_judged_at_the_fpr_of_each_target_and_averaged_over_networks() -> None:
    """TPR = 3 fpr + effect^2: at effect 0.1 and 0.2 and FPR 0.010 and 0.012, and in the mean over effects of sd 0.5."""
    truth = Truth({LOW_FPR: [np.poly1d([1.0, 0.0, 3 * rate]) for rate in RATES]}, spread=0.5)
    effects, rates = np.array([0.1, 0.2]), np.array([0.010, 0.012])
    assert truth.at(LOW_FPR, effects, rates) == pytest.approx((0.03 + 0.01 + 0.036 + 0.04) / 2)
    assert truth.mean(LOW_FPR, rates) == pytest.approx(0.033 + 0.25)


def test_the_true_roc_of_scores_that_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_cells, "TRUE_EXAMPLES", 40_000)
    monkeypatch.setattr(simulated_cells, "examples_of", lambda n, rng: (rng.normal(size=n), np.zeros(n)))
    truth = simulated_cells.crossed_truth(strength=1.0, spread=0.0)
    assert truth.mean(LOW_FPR, np.array([0.01])) == pytest.approx(0.01, abs=0.003)
    assert truth.mean("auc", np.array([0.01])) == pytest.approx(0.5, abs=0.01)
    assert truth.network_sd() == 0.0


def test_samples_of_lira_know_what_they_are_without_each_model() -> None:
    found, membership = cells(Setting("lira", 3, "none"), (1.0,), (7,))
    weights = np.ones((30, membership.shape[1]), dtype=np.uint8)
    samples = found[0].samples(membership, weights)
    deleted = samples["auc"].deleted
    assert deleted is not None
    assert deleted.values.shape == (3, 9)
    assert np.isnan(deleted.values).sum() == 3
    assert samples["advantage"].deleted is None
    (plain,), membership = cells(Setting("crossed", 3, "none"), (1.0,), (7,))
    assert plain.samples(membership, np.ones((30, 1400), dtype=np.uint8))["auc"].deleted is None


def test_tables_are_written_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulated_cells.EXAMPLES, "lira", 400)
    argv = ["--replicates", "4", "--only", "lira_3_none", "--jobs", "1", "--output", str(tmp_path)]
    assert coverage.main(argv) == 0
    covered, nulls = pd.read_csv(tmp_path / "coverage.csv"), pd.read_csv(tmp_path / "null.csv")
    assert set(covered["method"]) == {"ours", "without_deletions", "pairs", "targets", "examples"}
    assert set(covered["quantity"]) == {"level", "difference"}
    assert set(covered["replicates"]) == {2}
    width = covered.set_index(["quantity", "method"])["mean_width"]
    for quantity in ("level", "difference"):
        assert width[quantity, "ours"] >= width[quantity, "without_deletions"]
    assert set(nulls["method"]) == {"ours", "without_deletions"}
    monkeypatch.setattr(coverage, "coverage", None)
    monkeypatch.setattr(coverage, "null", None)
    assert coverage.main([*argv, "--resume"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "coverage.csv"), covered)
