"""`--screen`: a row per cell from its target alone, with shadow models or without."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artifacts.loss_traces import LossTraces, save_traces
from artifacts.run_dir import RunDir
from artifacts.signals import load_signals
from attacks.evaluate import learn, score
from attacks.interface import AttackSettings
from attacks.models import Models
from attacks.screen import trace_iqr
from tests.cli.scripts import ONE_CELL, SWEEP, TRAIN, UNIFIED, call, read


def test_every_cell_is_screened_with_shadow_models_or_without(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(home / "runs", runs)
    for shadow in (runs / "dense/synthetic").glob("shadow_*"):
        shutil.rmtree(shadow)
    assert call(UNIFIED, ["--runs-dir", str(runs), "--screen", "--results-dir", str(tmp_path / "out")]) == 0
    rows = read(tmp_path / "out/screen.csv")
    assert [row["method"] for row in rows] == ["dense", "static", "dpf"]
    signals = load_signals(runs / "dense/synthetic/signals.npz")
    loss = np.log1p(np.exp(-signals.phi[:, 0].astype(float)))
    inside = signals.membership
    order = (loss[inside][:, None] < loss[~inside]).mean() + 0.5 * (loss[inside][:, None] == loss[~inside]).mean()
    assert float(rows[0]["loss_auc"]) == pytest.approx(order)
    assert float(rows[0]["loss_gap"]) == pytest.approx(loss[~inside].mean() - loss[inside].mean())
    assert float(rows[0]["accuracy_gap"]) > 0.3  # synthetic pictures can only be memorised
    assert all(float(row["ci_low"]) <= float(row["loss_auc"]) <= float(row["ci_high"]) for row in rows)
    assert all(row["trace_iqr_median"] == row["trace_spearman"] == "" for row in rows)  # trained without traces
    shown = capfd.readouterr().out.splitlines()
    assert shown[0].startswith("cell ")
    assert shown[1].startswith("dense_synthetic")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["screen.csv"]
    (runs / "dpf/sparsity_0.6/synthetic/best_model.pth").unlink()
    (runs / "dpf/sparsity_0.6/synthetic/signals.npz").unlink()
    one = ["--run-dir", str(runs / "dpf/sparsity_0.6/synthetic"), "--screen", "--results-dir", str(tmp_path / "one")]
    assert call(ONE_CELL, one) == 1
    assert read(tmp_path / "one/screen.csv")[0]["reason"]


def test_loss_traces_rank_the_members_of_a_target(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Traces that are made up, beside networks that were trained without: the figures are those of the file."""
    shutil.copytree(home / "runs/dense", tmp_path / "runs/dense")
    target = RunDir(tmp_path / "runs/dense/synthetic")
    signals = load_signals(target.signals)
    index, inside = signals.pool[signals.membership], signals.membership
    losses = np.random.default_rng(0).exponential(size=(9, len(index))).astype(np.float16)
    traces = LossTraces(index, losses, target.read_summary()["hashes"][target.model.name])
    save_traces(target.traces, traces)
    argv = ["--runs-dir", str(tmp_path / "runs"), "--screen", "--results-dir", str(tmp_path / "out")]
    assert call(UNIFIED, argv) == 0
    (row,), members = read(tmp_path / "out/screen.csv"), read(tmp_path / "out/screen_members.csv")
    ranges = trace_iqr(losses)
    assert [int(one["index"]) for one in members] == list(index)
    assert [int(one["label"]) for one in members] == list(signals.labels[inside])
    assert [float(one["trace_iqr"]) for one in members] == pytest.approx(list(ranges))
    assert float(row["trace_iqr_median"]) == pytest.approx(np.median(ranges))
    assert float(row["trace_iqr_q90"]) == pytest.approx(np.quantile(ranges, 0.9))
    said = f"loss traces: IQR median {np.median(ranges):.3f}, top tenth above {np.quantile(ranges, 0.9):.3f} nats"
    assert said in capfd.readouterr().out
    every = [signals, *(load_signals(path) for path in sorted(target.path.glob("shadow_*/signals.npz")))]
    phi, membership = (np.stack([getattr(one, name) for one in every]) for name in ("phi", "membership"))
    models = Models(None, phi, membership, signals.labels, seed=0)
    learned = learn(models.leave_out(0), ["lira_bayes"], AttackSettings())
    scores = score(learned, models.outputs(0))["lira_bayes"].scores[inside]
    assert float(row["trace_spearman"]) == pytest.approx(stats.spearmanr(ranges, scores).statistic, abs=1e-6)
    save_traces(target.traces, dataclasses.replace(traces, index=index[::-1]))
    assert call(UNIFIED, argv) == 0
    assert "its loss traces are of other members" in capfd.readouterr().err
    assert read(tmp_path / "out/screen.csv")[0]["trace_spearman"] == ""
    assert not (tmp_path / "out/screen_members.csv").exists()


@pytest.mark.usefixtures("home")
def test_finished_runs_without_traces_stay_as_they_are_and_that_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(TRAIN, [*SWEEP, "--trace-losses", "--skip-existing", "--dry-run"]) == 0
    told = capfd.readouterr()
    assert "27 finished" in told.out
    assert "get no loss traces, for they were trained without --trace-losses: 27 of 27" in told.err
    assert call(TRAIN, [*SWEEP, "--trace-losses", "--overwrite", "--dry-run"]) == 0
    assert "no loss traces" not in capfd.readouterr().err


@pytest.mark.parametrize("more", [["--attacks", "loss"], ["--fail-above", "auc=0.6"]])
def test_what_only_attacks_answer_is_refused(more: list[str], home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(UNIFIED, ["--screen", *more, "--results-dir", "nothing"]) == 2
    assert (
        capfd.readouterr()
        .err.splitlines()[-1]
        .endswith(f"argument --screen: runs no attack; leave out {more[0]}, or --screen")
    )
    assert not (home / "nothing").exists()
