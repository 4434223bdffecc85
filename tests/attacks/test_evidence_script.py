"""benchmarks/evidence.py: the table's numbers are those of the attacks, and BASE is the ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from attacks.interface import AttackSettings
from attacks.lira_bayes import lira_bayes
from attacks.metrics import evaluate_scores
from benchmarks import evidence
from benchmarks.lira_spreads import leave_out


def cell(models: int = 10, examples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    membership = rng.random((models, examples)).argsort(axis=0) < models // 2
    return rng.normal(size=(models, examples, 1)).astype(np.float32) + membership[:, :, None], membership


def test_base_is_the_ratio() -> None:
    inputs = leave_out(*cell(), target=3, kept=2, seed=0)
    p, shadows = expit(inputs.target_phi[:, 0]), expit(inputs.shadow_phi[:, :, 0])
    for i in range(120):
        bar = (shadows[inputs.shadow_in[:, i], i].mean() + shadows[inputs.shadow_out[:, i], i].mean()) / 2
        assert evidence.base(inputs)[i] == pytest.approx(np.log(p[i] / bar), abs=1e-5)


def test_the_table_holds_means_over_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi, membership = cell()
    np.savez(tmp_path / "small.npz", phi=phi, membership=membership)
    output = tmp_path / "evidence.csv"
    argv = [str(tmp_path / "small.npz"), "--a-side", "2", "4", "5", "--targets", "3", "--output", str(output)]
    assert evidence.main(argv) == 0
    table = pd.read_csv(output)
    assert sorted(set(table["a_side"])) == [2, 4]  # no example has five when one model is left out
    assert set(table["attack"]) == set(evidence.ATTACKS)
    aucs = []
    for target in range(3):
        inputs = leave_out(phi, membership, target, 4, seed=0)
        scores = lira_bayes(inputs, AttackSettings(calibrate=False))(inputs.target)["lira_bayes_online"].scores
        aucs.append(evaluate_scores(scores, membership[target], None, resamples=0)["auc"].value or np.nan)
    of_auc = table[(table["a_side"] == 4) & (table["metric"] == "auc")].set_index("attack")
    assert of_auc.loc["lira_bayes_online", "mean"] == pytest.approx(np.mean(aucs), abs=1e-5)
    assert of_auc.loc["lira_bayes_online", "minus_bayes"] == 0.0
    difference = of_auc.loc["loss", "mean"] - of_auc.loc["lira_bayes_online", "mean"]
    assert of_auc.loc["loss", "minus_bayes"] == pytest.approx(difference, abs=2e-5)
    assert "small 2" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi, membership = cell()
    np.savez(tmp_path / "small.npz", phi=phi, membership=membership)
    for argv, words in ((["--targets", "0"], "at least 1"), (["--a-side", "9"], "--a-side")):
        with pytest.raises(SystemExit):
            evidence.main([str(tmp_path / "small.npz"), *argv])
        assert words in capsys.readouterr().err
