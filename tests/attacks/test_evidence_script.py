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
from attacks.trimming import partners
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
    argv = [str(tmp_path / "small.npz"), "--shadow-models", "5", "9", "11", "--targets", "3", "--output", str(output)]
    assert evidence.main(argv) == 0
    table = pd.read_csv(output)
    assert sorted(set(table["shadow_models"])) == [5, 9]  # no example has five when one model is left out
    assert set(table["attack"]) == set(evidence.MEASURED)
    aucs = []
    for target in range(3):
        inputs = leave_out(phi, membership, target, 4, seed=0)
        scores = lira_bayes(inputs, AttackSettings(calibrate=False))(inputs.target)["lira_bayes_online"].scores
        aucs.append(evaluate_scores(scores, membership[target], None, resamples=0)["auc"].value or np.nan)
    of_auc = table[(table["shadow_models"] == 9) & (table["metric"] == "auc")].set_index("attack")
    assert of_auc.loc["lira_bayes", "mean"] == pytest.approx(np.mean(aucs), abs=1e-5)
    assert of_auc.loc["lira_bayes", "minus_bayes"] == 0.0
    difference = of_auc.loc["loss", "mean"] - of_auc.loc["lira_bayes", "mean"]
    assert of_auc.loc["loss", "minus_bayes"] == pytest.approx(difference, abs=2e-5)
    assert "small 5" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi, membership = cell()
    np.savez(tmp_path / "small.npz", phi=phi, membership=membership)
    for argv, words in ((["--targets", "0"], "at least 1"), (["--shadow-models", "19"], "--shadow-models")):
        with pytest.raises(SystemExit):
            evidence.main([str(tmp_path / "small.npz"), *argv])
        assert words in capsys.readouterr().err


def test_of_pairs_whole_pairs_are_kept_and_never_the_targets_partner() -> None:
    phi, _ = cell()
    coins = np.random.default_rng(1).random((5, 120)) < 0.5
    membership = np.stack([coins, ~coins], axis=1).reshape(10, 120)
    own = evidence.Cell("pairs", phi, membership, np.zeros(120, dtype=np.int64), partners(membership))
    assert own.most == 4
    inputs = own.inputs(target=3, kept=2, seed=0)
    assert np.array_equal(inputs.target_phi, phi[3])
    assert (inputs.in_count, inputs.out_count) == (2, 2)
    assert inputs.serving is not None
    assert inputs.serving.tolist() == [False, True, True, True, True]
    assert np.array_equal(inputs.shadow_in[1::2], inputs.shadow_out[2::2])


def test_how_many_shadow_models_lira_needs_and_the_figure(tmp_path: Path) -> None:
    rows = [
        {
            "cell": "a",
            "shadow_models": n,
            "attack": attack,
            "metric": metric,
            "mean": mean,
            "ci_low": mean,
            "ci_high": mean,
        }
        for metric in evidence.METRICS
        for attack, means in (("lira", (0.5, 0.6, 0.7)), (evidence.BAYES, (0.68, 0.69, 0.7)))
        for n, mean in zip((7, 15, 31), means, strict=True)
    ]
    table = pd.DataFrame(rows)
    assert list(evidence.needed(table)) == ["a: Bayes LiRA with 7 shadow models has AUC 0.680; lira needs 31"]
    few = table[table["shadow_models"] < 31]
    assert list(evidence.needed(few)) == [
        "a: Bayes LiRA with 7 shadow models has AUC 0.680; lira has not got there with 15"
    ]
    evidence.draw(table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
