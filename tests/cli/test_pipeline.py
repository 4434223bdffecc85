"""From flags to CSV on synthetic pictures, which can only be memorised: all methods, all attacks, every file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.metrics import METRICS
from attacks.registry import ATTACKS
from tests.cli.scripts import (
    ADVANCED,
    CHECK,
    EXPERIMENT,
    FLAGS,
    ONE_CELL,
    SCRIPTS,
    SWEEP,
    TRAIN,
    UNIFIED,
    WEMEM,
    call,
    path_of,
    read,
)
from tests.repository import REPOSITORY

DRAWN = True  # also that pictures are the same bytes each time


def test_folders_follow_the_design(home: Path) -> None:
    for cell in ("dense/synthetic", "static/sparsity_0.6/synthetic", "dpf/sparsity_0.6/synthetic"):
        for run in (home / "runs" / cell, *(home / "runs" / cell / f"shadow_{i:03d}" for i in range(8))):
            names = {path.name for path in run.iterdir() if path.is_file()}
            assert names >= {
                *("config.json", "best_model.pth", "checkpoint.pth", "history.csv", "signals.npz"),
                *("experiment_summary.json", "run.log"),
            }
            assert not [name for name in names if name.startswith(".writing")]


def test_memorised_data_is_found_and_every_attack_reported(home: Path) -> None:
    rows = read(home / "comprehensive_mia_results.csv")
    assert [(row["method"], row["sparsity"]) for row in rows] == [("dense", "0.0"), ("static", "0.6"), ("dpf", "0.6")]
    lead = "experiment,method,sparsity,lira_auc,confidence_accuracy,neural_network_auc,samia_accuracy,"
    assert (home / "comprehensive_mia_results.csv").read_text().startswith(lead)
    for row in rows:
        assert row["reason"] == ""
        assert float(row["lira_auc"]) > 0.8
        assert float(row["loss_auc"]) > 0.8
        for name in ATTACKS:
            assert 0.0 <= float(row[f"{name}_auc"]) <= 1.0, name


def test_each_suite_has_its_own_table_below_the_results(home: Path) -> None:
    assert "samia_auc" in read(home / "results/mia/advanced/mia_results.csv")[0]
    (first, *_) = read(home / "results/mia/wemem/mia_results.csv")
    assert "neural_network_f1" in first
    assert "loss_auc" not in first


def test_tidy_table_agrees_with_the_scores(home: Path) -> None:
    rows = [row for row in read(home / "results/mia/tidy.csv") if row["metric"] == "auc"]
    attacks = {key for attack in ATTACKS.values() for key in attack.variants}
    assert {row["attack"] for row in rows} >= set(ATTACKS)
    assert {row["attack"] for row in rows} <= attacks | {"strongest"}
    for row in rows:
        with np.load(home / "results/mia/scores" / f"{row['experiment']}.npz", allow_pickle=False) as scores:
            target = f"target_{int(row['target']):03d}"
            value = roc_auc_score(scores[f"{target}/membership"], scores[f"{target}/{row['attack']}"])
        assert float(row["value"]) == pytest.approx(value, abs=1e-12)
        assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
    assert {row["metric"] for row in read(home / "results/mia/tidy.csv")} == set(METRICS)


def test_low_fpr_figures_are_empty_where_there_are_too_few_non_members(home: Path) -> None:
    for row in read(home / "comprehensive_mia_results.csv"):
        assert row["lira_tpr_at_fpr_0.001"] == ""
        assert row["lira_tpr_at_fpr_0.01"] == ""


def test_a_split_that_no_model_used_gives_one_half(home: Path) -> None:
    from artifacts.signals import load_signals
    from attacks.interface import AttackSettings
    from attacks.metrics import evaluate_scores
    from attacks.models import from_models
    from data.splits import draw_membership

    cell = home / "runs/dense/synthetic"
    signals = [load_signals(path / "signals.npz") for path in (cell, *sorted(cell.glob("shadow_*")))]
    answers = [one.logits for one in signals if one.logits is not None]
    assert len(answers) == len(signals)
    logits, phi = np.stack(answers), np.stack([one.phi for one in signals])
    aucs, inside = [], 0
    fake = draw_membership(160, 9, 0.5, seed=77)
    for target in range(9):
        inputs = from_models(logits, phi, fake, signals[0].labels, target, 0)
        result = ATTACKS["lira"].run(inputs, AttackSettings())["lira"]
        auc = evaluate_scores(result.scores, fake[target], result.threshold)["auc"]
        assert auc.value is not None
        assert auc.ci_low is not None
        assert auc.ci_high is not None
        inside += auc.ci_low <= 0.5 <= auc.ci_high
        aucs.append(auc.value)
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03)
    assert inside >= 7


def test_training_results(home: Path) -> None:
    rows = read(home / "training_results.csv")
    assert len(rows) == 3
    for row in rows:
        assert float(row["measured_sparsity"]) == pytest.approx(float(row["sparsity"]), abs=1e-4)
        assert float(row["train_accuracy"]) > float(row["heldout_accuracy"])
        assert int(row["parameters"]) == 78_042


def test_figures_exist(home: Path) -> None:
    names = {path.name for path in (home / "results/mia/figures").glob("*.png")}
    assert {"roc_methods.png", "auc_vs_sparsity.png", "tradeoff.png", "roc_cell_dense_synthetic.png"} <= names


def test_skip_existing_trains_nothing_and_a_second_evaluation_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*") if path.is_file()}
    tables = []
    for name in ("first", "second"):
        places = ["--summary-dir", str(tmp_path / name), "--results-dir", str(tmp_path / name / "results")]
        assert call(TRAIN, [*SWEEP, "--skip-existing", "--attacks", "lira", "neural_network", *places]) == 0
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        tables.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert tables[0] == tables[1]
    assert tables[0][Path("results/figures/roc_methods.png")].startswith(b"\x89PNG")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_one_process_gives_the_same_bytes_as_two(home: Path, tmp_path: Path) -> None:
    argv = [*FLAGS, "--prune", "--prune-method", "dpf", "--sparsity", "0.6", "--runs-dir", str(tmp_path / "runs")]
    assert call(EXPERIMENT, [*argv, "--jobs", "1"]) == 0
    ours, theirs = tmp_path / "runs", home / "runs"
    name = "dpf/sparsity_0.6/synthetic/best_model.pth"
    assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_dry_run_writes_nothing(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    capfd.readouterr()
    assert call(TRAIN, [*SWEEP, "--sparsities", "0.6", "0.7", "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    assert out.count("finished runs") == 27
    assert "45 runs: " in out
    assert "18 new" in out


@pytest.mark.parametrize("script", [UNIFIED, ADVANCED, WEMEM])
def test_the_suites_run_on_their_own(script: str, home: Path, tmp_path: Path) -> None:
    argv = ["--results-dir", tmp_path / "out", "--attacks", {WEMEM: "confidence"}.get(script, "lira")]
    assert call(script, [*argv, *(["--summary-dir", tmp_path] if script == UNIFIED else [])]) == 0
    table = tmp_path / "comprehensive_mia_results.csv" if script == UNIFIED else tmp_path / "out" / "mia_results.csv"
    assert len(read(table)) == 3


def test_one_cell(home: Path, tmp_path: Path) -> None:
    cell = home / "runs/static/sparsity_0.6/synthetic"
    argv = ["--run-dir", cell, "--attacks", "lira", "shokri_nn", "--results-dir", tmp_path, "--num-targets", "2"]
    assert call(ONE_CELL, argv) == 0
    (row,) = read(tmp_path / "mia_results.csv")
    assert (row["experiment"], row["num_targets"]) == ("static_0.6_synthetic", "2")
    assert float(row["lira_auc"]) > 0.8
    assert {line["target"] for line in read(tmp_path / "tidy.csv")} == {"0", "1"}


def test_named_run_joins_its_cell_and_lone_targets_keep_two_attacks(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs")]
    argv = [*FLAGS, *runs, "--name", "static_70", "--prune", "--prune-method", "static", "--sparsity", "0.7"]
    assert call(EXPERIMENT, argv) == 0
    capfd.readouterr()
    places = ["--results-dir", str(tmp_path / "out"), "--summary-dir", str(tmp_path)]
    assert call(UNIFIED, [*runs, *places]) == 0
    added = "static_70 has 0 shadow models: --num-shadows 8 would add lira_bayes, lira, rmia, shokri_nn"
    assert added in capfd.readouterr().err
    (row,) = read(tmp_path / "comprehensive_mia_results.csv")
    assert row["experiment"] == "static_70"
    assert row["lira_auc"] == ""
    assert float(row["loss_auc"]) > 0.8
    assert float(row["lira_global_auc"]) > 0.8


def test_a_run_on_the_whole_pool_is_left_out_and_says_so(home: Path, tmp_path: Path) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs"), "--summary-dir", str(tmp_path)]
    argv = [*FLAGS, *runs, "--methods", "dense", "--train-fraction", "1.0", "--epochs", "1", "--num-shadows", "0"]
    assert call(TRAIN, [*argv, "--results-dir", str(tmp_path / "out")]) == 0
    (row,) = read(tmp_path / "comprehensive_mia_results.csv")
    assert "no non-members" in row["reason"]
    assert row["heldout_accuracy"] == ""
    assert row["train_accuracy"] != ""


def test_pretrained_cell_starts_every_model_from_its_counterpart(home: Path, tmp_path: Path) -> None:
    start = home / "runs/dense/synthetic"
    argv = [*FLAGS, "--epochs", "1", "--methods", "static", "--sparsities", "0.5", "--prune-epoch", "0", "--no-mia"]
    places = ["--runs-dir", str(tmp_path / "runs"), "--summary-dir", str(tmp_path), "--pretrained", str(start)]
    assert call(TRAIN, [*argv, *places, "--lr", "0.0001", "--quiet"]) == 0
    hashes = set()
    for run in (tmp_path / "runs").rglob("config.json"):
        config = json.loads(run.read_text())
        folder = start if config["model_index"] == 0 else start / f"shadow_{config['model_index'] - 1:03d}"
        assert config["pretrained"] == str(folder / "best_model.pth")
        hashes.add(config["pretrained_hash"])
        summary = json.loads((run.parent / "experiment_summary.json").read_text())
        assert summary["train_accuracy"] > 0.3
    assert len(hashes) == 9


def test_check_script(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert call(CHECK, ["--attacks", "lira", "loss"]) == 0
    out = capfd.readouterr().out
    assert "FAIL" not in out
    assert "dpf_0.6_synthetic: target, 8 of 8 shadow models" in out
    assert "0 failed" in out


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_in_a_process_from_any_folder(script: str, home: Path, tmp_path: Path) -> None:
    help_text = subprocess.run(
        [sys.executable, str(REPOSITORY / path_of(script)), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    ).stdout
    assert "example:" in help_text
    assert "--version" in help_text
    assert "general:" in help_text


def test_a_script_in_a_process_does_real_work(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "mia/mia_advanced.py"), "--attacks", "lira", "--runs-dir"]
    done = subprocess.run(
        [*command, str(home / "runs"), "--results-dir", "out", "--quiet", "--num-threads", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "LiRA AUC" in done.stdout
    said = done.stderr.splitlines()
    assert len(said) == 3
    assert all("without its partner a model serves no target as a shadow: model 8" in line for line in said)
