"""benchmarks/lira_spreads.py: which shadows it keeps, and what it compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.interface import AttackSettings
from attacks.metrics import evaluate_scores
from attacks.registry import ATTACKS
from benchmarks import lira_spreads


def cell(models: int = 12, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    membership = rng.random((models, examples)).argsort(axis=0) < models // 2
    return rng.normal(size=(models, examples, 1)).astype(np.float32) + membership[:, :, None], membership


def test_every_example_keeps_so_many_of_its_own_side() -> None:
    phi, membership = cell()
    inputs = lira_spreads.leave_out(phi, membership, 3, 4, seed=0)
    others = np.delete(membership, 3, axis=0)
    assert not (inputs.shadow_in & ~others).any()
    assert not (inputs.shadow_out & others).any()
    assert (inputs.in_count, inputs.out_count) == (4, 4)
    assert lira_spreads.most_a_side(membership) == 5


def test_the_table_holds_means_over_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi, membership = cell()
    np.savez(tmp_path / "small.npz", phi=phi, membership=membership)
    output = tmp_path / "spreads.csv"
    argv = [str(tmp_path / "small.npz"), "--a-side", "3", "5", "6", "--output", str(output)]
    assert lira_spreads.main(argv) == 0
    table = pd.read_csv(output)
    assert list(table["a_side"].unique()) == [3, 5]  # no example has six when one model is left out
    assert "small" in capsys.readouterr().out
    aucs = []
    for target in range(12):
        inputs = lira_spreads.leave_out(phi, membership, target, 5, seed=0)
        scores = ATTACKS["lira"].run(inputs, AttackSettings())["lira_online"].scores
        auc = evaluate_scores(scores, membership[target], None, resamples=0)["auc"].value
        assert auc is not None
        aucs.append(auc)
    (row,) = table[(table["a_side"] == 5) & (table["metric"] == "auc")].to_dict("records")
    assert row["targets"] == 12
    assert row["lira_online"] == pytest.approx(np.mean(aucs), abs=1e-4)
    assert row["difference"] == pytest.approx(row["lira_online"] - row["lira_online_fixed"], abs=2e-4)
    assert row["ci_low"] < row["difference"] < row["ci_high"]
