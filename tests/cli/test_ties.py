"""Ties: the drawn curve has the area that is reported, their share is a column, and many of them are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks import network_training
from attacks.registry import ATTACKS
from tests.cli.scripts import ONE_CELL, call

TARGETS = 2
AREA = 0.002  # half of roc.csv's largest step, reached by no curve


def made_up(seed: int, steps: float | None) -> dict[str, Any]:
    """Signals of seven models; logits rounded to multiples of `steps` are the same for many examples."""
    rng = np.random.default_rng(seed)
    models, examples, classes, others = 7, 260, 3, 40
    membership = rng.random((models, examples)).argsort(axis=0) < 3
    membership[:, ::2] ^= True  # models differ in how many examples they hold
    labels, population_labels = rng.integers(classes, size=examples), rng.integers(classes, size=others)
    logits = rng.normal(size=(models, examples, classes)) + (2 * membership)[:, :, None] * np.eye(classes)[labels]
    population = rng.normal(size=(models, others, classes))
    if steps is not None:
        logits, population = (np.round(values / steps) * steps for values in (logits, population))
    sensitivity = np.abs(logits).round(1)
    return {
        **{"logits": logits.astype(np.float32), "labels": labels, "membership": membership},
        **{"population_logits": population.astype(np.float32), "population_labels": population_labels},
        "sensitivity": sensitivity.astype(np.float32),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every attack on a cell without ties in what its networks say, and on one that gives a handful of answers."""
    folder = tmp_path_factory.mktemp("ties")
    files = {"smooth": made_up(0, None), "coarse": made_up(1, 3.0)}
    for name, arrays in files.items():
        np.savez(folder / f"{name}.npz", **arrays)
    argv = ["--signals", *(folder / f"{name}.npz" for name in files), "--num-targets", str(TARGETS), "--quiet"]
    few = network_training.Plan(2, 32, lr=1e-3)  # ties do not hang on what the networks learned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_training.Plans, "choose", lambda *_: (few, "a test's"))
        assert call(ONE_CELL, [*argv, "--device", "cpu", "--results-dir", folder / "out"]) == 0
    return folder / "out"


def test_a_drawn_curve_has_the_area_that_is_reported(results: Path) -> None:
    summary, roc = pd.read_csv(results / "summary.csv"), pd.read_csv(results / "roc.csv")
    auc = summary[summary["metric"] == "auc"].set_index(["experiment", "attack"])["mean"]
    assert {attack for _, attack in auc.index} >= set(ATTACKS)
    assert {experiment for experiment, _ in auc.index} == {"smooth", "coarse"}
    for key, part in roc.groupby(["experiment", "attack"], sort=False):
        assert np.trapezoid(part["tpr"], part["fpr"]) == pytest.approx(auc[key], abs=AREA), key
        assert (part["fpr"].iloc[0], part["fpr"].iloc[-1], part["tpr"].iloc[-1]) == (0.0, 1.0, 1.0)
        assert (np.diff(part["fpr"]) > 0).all()
        assert (np.diff(part["tpr"]) >= -1e-12).all()
    assert set(roc.groupby(["experiment", "attack"]).groups) == set(auc.index)


def test_the_share_of_tied_scores_is_a_column(results: Path) -> None:
    tidy, summary = pd.read_csv(results / "tidy.csv"), pd.read_csv(results / "summary.csv")
    assert summary["tied"].notna().all()
    for name in ("smooth", "coarse"):
        with np.load(results / "scores" / f"{name}.npz", allow_pickle=False) as stored:
            for attack, rows in tidy[tidy["experiment"] == name].groupby("attack"):
                shares = []
                for target in range(TARGETS):
                    scores = list(stored[f"target_{target:03d}/{attack}"])
                    shares.append(sum(scores.count(score) > 1 for score in scores) / len(scores))
                    own = rows[rows["target"] == target]["tied"]
                    assert own.to_numpy() == pytest.approx(shares[-1])
                mean = summary[(summary["experiment"] == name) & (summary["attack"] == attack)]["tied"]
                assert mean.to_numpy() == pytest.approx(np.mean(shares))
    tied = summary.groupby(["experiment", "attack"])["tied"].first()
    assert tied["smooth", "rmia"] == tied["smooth", "lira"] == 0.0
    assert tied["smooth", "rmia_published"] > 0.5
    assert tied["coarse", "loss"] > 0.9


def test_many_ties_are_said(results: Path) -> None:
    notes = json.loads((results / "evaluation.json").read_text())["notes"]
    tied = pd.read_csv(results / "summary.csv").groupby(["experiment", "attack"])["tied"].first()
    for names, share in tied.items():
        assert isinstance(names, tuple)
        experiment, attack = names
        words = f"{100 * share:.0f} % of the examples share their score with another"
        said = notes.get(experiment, {}).get(attack, "")
        assert (words in said) == (share > 0.1), (experiment, attack)
    page = " ".join((results / "report.html").read_text(encoding="utf-8").split())
    share = 100 * tied["coarse", "loss"]
    assert f"LOSS (coarse): {share:.0f} % of the examples share their score with another" in page
    assert "RMIA (smooth): a is " in page
    assert ", chosen on each target" in page
