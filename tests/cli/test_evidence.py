"""The evidence of a sweep: claims recomputed from per-example scores, other adversaries, exposure, what is missing.

One file, longer than others: its sweeps are trained once for all of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from artifacts.signals import load_signals
from attacks.interface import AttackSettings
from attacks.models import from_models
from attacks.registry import ATTACKS
from tests.cli.scripts import FLAGS, TRAIN, UNIFIED, call, read
from tests.reporting.reporting_examples import words_of

CELLS = ("dense_synthetic", "static_0.6_synthetic", "dpf_0.6_synthetic")
DIGITS = [
    *("--dataset", "digits", "--layers", "8", "--epochs", "12", "--pool-size", "300", "--augment", "none"),
    *("--batch-size", "32", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--num-shadows", "5"),
    *("--methods", "dense", "static", "dpf", "--sparsities", "0.9", "--jobs", "1", "--num-threads", "1"),
]
TRAINED = ("dense_digits", "static_0.9_digits", "dpf_0.9_digits")
MODELS, POOL = 6, 300
FAST = ["--attacks", "lira", "rmia", "loss", "--attack-recipe", "fast"]


def scores_of(folder: Path, cell: str) -> dict[str, np.ndarray]:
    with np.load(folder / "scores" / f"{cell}.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def report_text(folder: Path) -> str:
    return words_of(folder / "report.html")


def row_of(path: Path, **wanted: Any) -> dict[str, str]:
    (found,) = [row for row in read(path) if all(row[name] == value for name, value in wanted.items())]
    return found


def pairs_in_order(membership: np.ndarray, scores: np.ndarray) -> float:
    """The AUC as a share of pairs of a member and a non-member, from the ranks of the members."""
    members = int(membership.sum())
    above = stats.rankdata(scores)[membership].sum() - members * (members + 1) / 2
    return float(above / (members * (len(scores) - members)))


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep on digits that memorises only part of its examples, every model of every cell attacked."""
    folder = tmp_path_factory.mktemp("every")
    places = ["--runs-dir", folder / "runs", "--results-dir", folder / "mia", "--summary-dir", folder]
    assert call(TRAIN, [*DIGITS, *FAST, *places, "--num-targets", "all"]) == 0
    return folder


def test_claim_one_the_headline_is_the_auc_of_the_scores(every: Path) -> None:
    dense = scores_of(every / "mia", "dense_digits")
    aucs = [roc_auc_score(dense[f"target_{t:03d}/membership"], dense[f"target_{t:03d}/lira"]) for t in range(MODELS)]
    words = f"members of the dense network from non-members with an AUC of {np.mean(aucs):.3f} ["
    assert words in report_text(every / "mia")


def test_claim_two_a_difference_and_its_interval(every: Path) -> None:
    """By explicit resampling of whole examples and the formula of attacks/intervals.py, with other random numbers."""
    cells = [scores_of(every / "mia", cell) for cell in TRAINED[1::-1]]
    targets, n, rng = MODELS, POOL, np.random.default_rng(5)

    def auc(cell: dict[str, np.ndarray], t: int, rows: np.ndarray) -> float:
        return pairs_in_order(cell[f"target_{t:03d}/membership"][rows], cell[f"target_{t:03d}/lira"][rows])

    def gaps(rows: np.ndarray) -> np.ndarray:
        return np.array([auc(cells[0], t, rows) - auc(cells[1], t, rows) for t in range(targets)])

    point = gaps(np.arange(n))
    drawn = np.array([gaps(rng.integers(n, size=n)) for _ in range(300)])
    own, examples = drawn.var(axis=0, ddof=1).mean(), drawn.mean(axis=1).var(ddof=1)
    common = max(0.0, (targets * examples - own) / (targets - 1))
    between = point.var(ddof=1) / targets
    dof = (targets - 1) * ((common + between) / between) ** 2
    half = max(1.96 * np.sqrt(examples), stats.t.ppf(0.975, dof) * np.sqrt(common + between))
    pair = {"experiment_a": TRAINED[1], "experiment_b": TRAINED[0]}
    row = row_of(every / "mia/comparisons.csv", attack="lira", metric="auc", **pair)
    assert float(row["difference"]) == pytest.approx(point.mean(), abs=1e-12)
    assert (float(row["ci_high"]) - float(row["ci_low"])) / 2 == pytest.approx(half, rel=0.2)
    assert (row["num_targets"], row["n"]) == ("6", "300")
    assert f"AUC difference {point.mean():+.3f} [" in report_text(every / "mia")


def test_claim_three_who_is_exposed(every: Path) -> None:
    """Exposure from the networks' answers; cells that are trained once are not compared, and the report says so."""
    for cell, folder in zip(TRAINED[:2], ("dense/digits", "static/sparsity_0.9/digits"), strict=True):
        runs = [every / "runs" / folder, *sorted((every / "runs" / folder).glob("shadow_*"))]
        total, held = np.zeros((2, POOL)), np.zeros((2, POOL))
        for one in [load_signals(run / "signals.npz") for run in runs]:
            for side, inside in enumerate((~one.membership, one.membership)):
                phi = one.phi[inside].astype(np.float64).mean(axis=1)
                total[side, inside] += phi - phi.mean()
                held[side] += inside
        exposed = np.subtract(*(total / held)[::-1])
        with np.load(every / "mia/exposure.npz", allow_pickle=False) as stored:
            np.testing.assert_allclose(stored[cell], exposed)
            index = stored["index"]
        first = row_of(every / "mia/exposed.csv", experiment=cell, rank="1")
        assert int(first["index"]) == index[np.argmax(exposed)]
        assert float(first["exposure"]) == pytest.approx(exposed.max())
    rows = read(every / "mia/exposure.csv")
    assert [(row["kind"], row["experiment_a"], row["r"]) for row in rows] == [
        ("reliability", cell, "") for cell in TRAINED
    ]
    words = "not known whether the same examples are exposed as in another cell (trained once; --replicates 1"
    assert words in report_text(every / "mia")


def test_tables_over_targets_agree(every: Path) -> None:
    tidy = pd.read_csv(every / "mia/tidy.csv")
    for cell in TRAINED:
        part = tidy[(tidy["experiment"] == cell) & (tidy["attack"] == "lira") & (tidy["metric"] == "auc")]
        assert sorted(part["target"]) == list(range(MODELS))
        row = row_of(every / "mia/summary.csv", experiment=cell, attack="lira", metric="auc")
        wide = row_of(every / "comprehensive_mia_results.csv", experiment=cell)
        for mean in (float(row["mean"]), float(wide["lira_auc"]), *part["mean"]):
            assert mean == pytest.approx(part["value"].mean())
        for sd in (float(row["sd"]), *part["sd"]):
            assert sd == pytest.approx(part["value"].std(ddof=1))
        ends = [(row["ci_low"], row["ci_high"]), (wide["lira_auc_ci_low"], wide["lira_auc_ci_high"])]
        assert ends[0] == ends[1]
        assert float(ends[0][0]) < float(row["mean"]) < float(ends[0][1])


def test_comparisons_are_complete_and_corrected(every: Path) -> None:
    frame = pd.read_csv(every / "mia/comparisons.csv")
    kinds = {(row.kind, row.experiment_a, row.experiment_b) for row in frame.itertuples()}
    assert kinds == {
        ("against_dense", TRAINED[1], TRAINED[0]),
        ("against_dense", TRAINED[2], TRAINED[0]),
        ("same_sparsity", TRAINED[2], TRAINED[1]),
    }
    for family in ("primary", "exploratory"):
        known = frame[(frame["family"] == family) & frame["p_value"].notna()].sort_values("p_value", kind="stable")
        steps = known["p_value"].to_numpy() * np.arange(len(known), 0, -1)
        np.testing.assert_allclose(known["p_holm"], np.minimum(np.maximum.accumulate(steps), 1.0))
    planned = frame[frame["family"] == "primary"]
    assert set(planned["attack"]) == {"lira"}
    assert set(planned["metric"]) <= {"auc", "tpr_at_fpr_0.01"}
    assert set(planned["kind"]) == {"against_dense", "same_sparsity"}
    untested = frame[frame["family"].isna()]
    assert untested["p_holm"].isna().all()
    assert {"advantage"} <= set(untested["metric"])
    assert {"lira_online_fixed", "rmia_online"} <= set(untested["attack"][untested["metric"] == "auc"])
    assert (frame["detectable"] > 0)[frame["p_value"].notna()].all()
    assert set(frame["num_models"]) == {MODELS}
    variants = {key for name in ("lira", "rmia", "loss") for key in ATTACKS[name].variants}
    assert set(frame["attack"]) == {*variants, "strongest"}
    low, high = frame["accuracy_ci_low"], frame["accuracy_ci_high"]
    assert ((low < frame["accuracy_difference"]) & (frame["accuracy_difference"] < high)).all()
    assert frame["accuracy_difference"].to_numpy() == pytest.approx(
        (frame["test_accuracy_a"] - frame["test_accuracy_b"]).to_numpy()
    )


def test_the_strongest_attack_is_chosen_on_shadows(every: Path) -> None:
    """Of each target, the scores of one attack; which one, does not depend on the target's own AUC."""
    notes = json.loads((every / "mia/evaluation.json").read_text())["notes"]
    for cell in TRAINED:
        found = scores_of(every / "mia", cell)
        kinds = []
        for t in range(MODELS):
            same = [
                name
                for name in ("lira", "rmia", "loss")
                if np.array_equal(found[f"target_{t:03d}/{name}"], found[f"target_{t:03d}/strongest"])
            ]
            assert len(same) == 1
            kinds += same
        assert ATTACKS[max(kinds, key=kinds.count)].title in notes[cell]["strongest"]
        row = row_of(every / "mia/summary.csv", experiment=cell, attack="strongest", metric="auc")
        assert (row["suite"], row["num_targets"]) == ("chosen", str(MODELS))
        assert float(row["ci_low"]) < float(row["mean"]) < float(row["ci_high"])


def test_transfer_leaves_the_counterpart_out(every: Path) -> None:
    """Static target 3 under the dense cell's shadows without model 3, done by hand."""
    frame = pd.read_csv(every / "mia/transfer.csv")
    assert len(frame[(frame["attack"] == "lira") & (frame["metric"] == "auc")]) == 9
    runs = {name: every / "runs" / name for name in ("dense/digits", "static/sparsity_0.9/digits")}
    dense, static = (
        [load_signals(path / "signals.npz") for path in (run, *sorted(run.glob("shadow_*")))] for run in runs.values()
    )
    values = []
    for t in range(MODELS):
        logits, phi = (np.stack([getattr(one, name) for one in dense]) for name in ("logits", "phi"))
        membership = np.stack([one.membership for one in dense])
        logits[t], phi[t] = static[t].logits, static[t].phi
        inputs = from_models(logits, phi, membership, dense[0].labels, t, 0)
        scores = ATTACKS["lira"].run(inputs, AttackSettings(recipe="fast"))["lira"].scores
        values.append(roc_auc_score(static[t].membership, scores))
    sides = {"target_experiment": TRAINED[1], "shadows_experiment": TRAINED[0]}
    row = row_of(every / "mia/transfer.csv", attack="lira", metric="auc", **sides)
    assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-12)
    assert float(row["sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    own = row_of(every / "mia/summary.csv", experiment=TRAINED[0], attack="lira", metric="auc")
    sides = {"target_experiment": TRAINED[0], "shadows_experiment": TRAINED[0]}
    assert row_of(every / "mia/transfer.csv", attack="lira", metric="auc", **sides)["mean"] == own["mean"]


@pytest.mark.usefixtures("no_figures")
def test_shadows_from(home: Path, tmp_path: Path) -> None:
    places = ["--results-dir", tmp_path, "--summary-dir", tmp_path]
    assert call(UNIFIED, ["--attacks", "lira", *places, "--shadows-from", "own"]) == 0
    assert read(tmp_path / "transfer.csv") == []
    assert "--shadows-from own was given" in report_text(tmp_path)
    assert call(UNIFIED, ["--attacks", "lira", *places, "--shadows-from", CELLS[0]]) == 0
    found = {(row["target_experiment"], row["shadows_experiment"]) for row in read(tmp_path / "transfer.csv")}
    assert found == {(cell, cell) for cell in CELLS} | {(cell, CELLS[0]) for cell in CELLS[1:]}


@pytest.mark.usefixtures("no_figures")
def test_a_second_evaluation_asks_no_model_again(home: Path, tmp_path: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("signals.npz")}
    places = ["--results-dir", tmp_path, "--summary-dir", tmp_path]
    for attack in ("rmia", "loss"):
        assert call(UNIFIED, ["--attacks", attack, *places]) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_an_interrupted_sweep_reports_what_there_is(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "runs", tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs/dpf")
    (tmp_path / "runs/static/sparsity_0.6/synthetic/shadow_007/experiment_summary.json").unlink()
    out = tmp_path / "mia"
    argv = ["--attacks", "lira", "--runs-dir", tmp_path / "runs", "--results-dir", out, "--summary-dir", out]
    assert call(UNIFIED, argv) == 0
    cells = {row["experiment"]: row for row in read(out / "cells.csv")}
    assert list(cells) == list(CELLS)
    assert (cells[CELLS[0]]["reason"], cells[CELLS[1]]["reason"]) == ("", "")
    assert cells[CELLS[1]]["finished_models"] == "8"
    assert cells[CELLS[2]]["reason"].startswith("not started")
    text = report_text(out)
    row = row_of(out / "comparisons.csv", kind="against_dense", attack="lira", metric="auc")
    assert (row["num_models"], row["num_targets"]) == ("8", "8")
    assert f"{CELLS[1]} and {CELLS[0]} have 8 and 9 finished models: they are compared on the 8 that both have" in text
    assert "static_0.6_synthetic 8 of 9 models are finished" in text
    assert "dpf_0.6_synthetic 0 of 9 models are finished not started" in text
    assert "2 of 3 cells" in text


@pytest.mark.usefixtures("no_figures")
def test_unequal_cells_are_compared_on_the_same_targets_and_shadows(home: Path, tmp_path: Path) -> None:
    """As if the model that one cell lacks were nowhere. Attacks that train networks are not compared, which is said."""
    shutil.copytree(home / "runs", tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs/dpf")
    lacking, whole = (tmp_path / "runs" / name / "synthetic" for name in ("static/sparsity_0.6", "dense"))
    (lacking / "shadow_003/experiment_summary.json").unlink()
    found = {}
    for name in ("unequal", "equal"):
        out = tmp_path / name
        argv = [
            "--attacks",
            "lira",
            "loss",
            "neural_network",
            "--attack-recipe",
            "fast",
            "--runs-dir",
            tmp_path / "runs",
        ]
        assert call(UNIFIED, [*argv, "--results-dir", out, "--summary-dir", out, "--shadows-from", "own"]) == 0
        rows = read(out / "comparisons.csv")
        found[name] = [row for row in rows if row["attack"] in ("lira", "loss") and row["metric"] == "auc"]
        assert {row["attack"] == "neural_network" for row in rows} == ({False} if name == "unequal" else {True, False})
        assert ("Neural network would have to train again" in report_text(out)) == (name == "unequal")
        (whole / "shadow_003/experiment_summary.json").unlink(missing_ok=True)
    names = ("attack", "difference", "ci_low", "ci_high", "p_value", "num_targets", "num_models", "n")
    assert [[row[name] for name in names] for row in found["unequal"]] == [
        [row[name] for name in names] for row in found["equal"]
    ]
    assert {row["num_models"] for row in found["unequal"]} == {"8"}


@pytest.mark.usefixtures("no_figures")
def test_every_model_is_a_target_where_that_is_cheap(home: Path, tmp_path: Path) -> None:
    """Nine targets, one for what trains a network and for other cells' shadows; one flag for all of them."""
    argv = ["--attacks", "loss", "rmia", "neural_network", "--attack-recipe", "fast", "--results-dir", tmp_path]
    expected = {"default": ("9", "1", "1"), "--num-targets 2": ("2", "2", "2"), "--shadows-from all": ("9", "1", "9")}
    for flags, (cheap, network, crossed) in expected.items():
        more = [] if flags == "default" else flags.split()
        assert call(UNIFIED, [*argv, "--summary-dir", tmp_path, *more]) == 0
        rows = [row for row in read(tmp_path / "summary.csv") if row["metric"] == "auc"]
        counts = {row["attack"]: row["num_targets"] for row in rows}
        assert (counts["loss"], counts["rmia"], counts["neural_network"]) == (cheap, cheap, network)
        moved = [row for row in read(tmp_path / "transfer.csv") if row["metric"] == "auc"]
        assert {row["num_targets"] for row in moved if row["attack"] in ("loss", "rmia")} == {crossed}
        assert {row["num_targets"] for row in read(tmp_path / "cells.csv")} == {cheap}
        tests = [row for row in read(tmp_path / "comparisons.csv") if row["attack"] == "neural_network"]
        assert tests
        assert network != "1" or {row["p_value"] for row in tests} == {""}
        assert "By whom" in report_text(tmp_path)


def test_pictures_need_the_data_and_say_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from configs.errors import UsageError

    def gone(*_: object) -> None:
        raise UsageError("the pictures are on another machine")

    monkeypatch.setattr("evaluation.exposure_rows.open_data", gone)
    assert call(UNIFIED, ["--attacks", "lira", "--results-dir", tmp_path, "--summary-dir", tmp_path]) == 0
    assert "on another machine" in " ".join(json.loads((tmp_path / "evaluation.json").read_text())["left_out"])
    assert "No pictures" in report_text(tmp_path)
    assert row_of(tmp_path / "exposed.csv", experiment=CELLS[0], rank="1")["class_name"] == ""


def test_disjoint_from_training_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [*FLAGS, "--pool-size", "320", "--epochs", "12", "--jobs", "1"]
    argv += ["--methods", "dense", "static", "--sparsities", "0.6"]
    attacks = ["--attacks", "lira", "rmia", "confidence", "loss", "--num-targets", "all"]
    assert call(TRAIN, [*argv, "--split", "disjoint", *attacks]) == 0
    target = load_signals(tmp_path / "runs/dense/synthetic/disjoint/signals.npz")
    assert target.audited is not None
    assert target.audited.sum() == 160
    assert not target.membership[~target.audited].any()
    for shadow in (tmp_path / "runs/dense/synthetic/disjoint").glob("shadow_*/signals.npz"):
        assert not load_signals(shadow).membership[target.audited].any()
    summary = json.loads((tmp_path / "runs/dense/synthetic/disjoint/experiment_summary.json").read_text())
    assert (summary["num_members"], summary["num_pool"]) == (80, 160)
    rows = [row for row in read(tmp_path / "results/mia/tidy.csv") if row["metric"] == "auc"]
    attacks_found = {row["attack"] for row in rows}
    assert attacks_found >= {"lira", "lira_offline", "lira_offline_fixed", "rmia", "rmia_offline", "confidence", "loss"}
    assert not {name for name in attacks_found if "online" in name}
    assert {row["target"] for row in rows} == {"0"}
    assert {row["n_members"] for row in rows} == {"80"}
    found = {row["attack"]: float(row["value"]) for row in rows if row["method"] == "dense"}
    assert found["lira"] == found["lira_offline"] > 0.8
    accuracy = row_of(
        tmp_path / "results/mia/tidy.csv", method="dense", attack="lira", metric="accuracy", suite="advanced"
    )
    assert float(accuracy["value"]) > 0.7
    assert "--split disjoint" in report_text(tmp_path / "results/mia")
    assert len(read(tmp_path / "results/mia/comparisons.csv")) > 0
    with np.load(tmp_path / "results/mia/scores/dense_synthetic_disjoint.npz", allow_pickle=False) as stored:
        assert set(stored["index"]) == set(target.pool[target.audited])
