"""`--signals`: files of strangers give what a trained cell gives, and what is wrong in one is one line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.atomic_writes import file_hash
from artifacts.signals import load_signals
from configs.attacks import AttackOptions
from configs.machine import Places
from evaluation.cells import load_cell
from evaluation.foreign_cells import read_cells
from tests.cli.scripts import ONE_CELL, call, read

Arrays = dict[str, Any]


def made_up(models: int = 7, examples: int = 240, classes: int = 4, gap: float = 2.0, seed: int = 0) -> Arrays:
    """Logits that members have `gap` more of; who holds what depends on `models` and `examples` alone."""
    rng = np.random.default_rng(7)
    rank = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    membership = rank < models // 2 + rng.integers(models % 2 + 1, size=examples)
    labels = rng.integers(classes, size=examples)
    logits = np.random.default_rng(seed).normal(size=(models, examples, classes))
    logits += (1 + gap * membership)[:, :, None] * np.eye(classes)[labels]
    return {"logits": logits.astype(np.float32), "labels": labels, "membership": membership}


def meta(**about: object) -> Any:
    return np.frombuffer(json.dumps(about).encode(), np.uint8)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*files: str, attacks: str = "lira loss", more: str = "") -> list[dict[str, str]]:
    argv = ["--signals", *files, "--attacks", *attacks.split(), *more.split(), "--results-dir", "out", "--quiet"]
    assert call(ONE_CELL, argv) == 0
    return read(Path("out/mia_results.csv"))


def test_a_trained_cell_as_a_file_gives_the_same_figures(home: Path, tmp_path: Path) -> None:
    cell = home / "runs/static/sparsity_0.6/synthetic"
    held = [load_signals(folder / "signals.npz") for folder in (cell, *sorted(cell.glob("shadow_*")))]
    stacked = {name: np.stack([getattr(one, name) for one in held]) for name in ("logits", "phi", "membership")}
    population = np.stack([one.population_phi for one in held])  # type: ignore[misc]
    file = tmp_path / "same.npz"
    np.savez(file, labels=held[0].labels, index=held[0].pool, population_phi=population, allow_pickle=False, **stacked)
    figures = []
    for where in (["--run-dir", str(cell)], ["--signals", str(file)]):
        out = tmp_path / where[0].strip("-")
        argv = [*where, "--attacks", "lira", "rmia", "confidence", "loss", "--num-targets", "all", "--quiet"]
        assert call(ONE_CELL, [*argv, "--results-dir", str(out), "--device", "cpu"]) == 0
        rows = read(out / "tidy.csv")
        names = ("attack", "target", "metric", "value", "ci_low", "ci_high", "mean", "mean_ci_low", "mean_ci_high")
        figures.append([{name: row[name] for name in names} for row in rows])
        (cells,) = read(out / "cells.csv")
        figures[-1].append({name: cells[name] for name in ("train_accuracy", "heldout_accuracy", "majority_baseline")})
    assert figures[0] == figures[1]
    assert len(figures[0]) > 100


def test_files_that_agree_are_compared_and_attack_each_other(here: Path) -> None:
    np.savez(here / "loud.npz", **made_up())
    np.savez(here / "quiet.npz", **made_up(gap=0.5, seed=1))
    np.savez(here / "other.npz", **made_up(examples=200))
    rows = evaluate("loud.npz", "quiet.npz", "other.npz", attacks="lira loss")
    assert [row["experiment"] for row in rows] == ["loud", "quiet", "other"]
    compared = read(here / "out/comparisons.csv")
    assert {(row["kind"], row["experiment_a"], row["experiment_b"]) for row in compared} == {("given", "quiet", "loud")}
    auc = {row["experiment"]: float(row["loss_auc"]) for row in rows}
    (difference,) = [row for row in compared if (row["attack"], row["metric"]) == ("loss", "auc")]
    assert float(difference["difference"]) == pytest.approx(auc["quiet"] - auc["loud"])
    assert float(difference["ci_high"]) < 0
    crossed = {(row["target_experiment"], row["shadows_experiment"]) for row in read(here / "out/transfer.csv")}
    assert {("loud", "quiet"), ("quiet", "loud")} <= crossed
    assert not any(("other" in pair) and pair[0] != pair[1] for pair in crossed)
    inputs = json.loads((here / "out/evaluation.json").read_text())["inputs"]
    assert inputs["loud"]["3"] == {"file": "loud.npz", "signals": file_hash(here / "loud.npz")}
    page = (here / "out/report.html").read_text(encoding="utf-8")
    assert "not trained here" in page
    assert "No difference was found" in page or "leaks" in page


def test_a_file_may_say_what_it_is(here: Path) -> None:
    arrays = made_up(models=9)
    dense = {**arrays, "meta": meta(name="d", method="dense", sparsity=0.0, dataset="mine", arch="net")}
    pruned = {**arrays, "meta": meta(name="p", method="static", sparsity=0.9, dataset="mine", arch="net")}
    accuracy = np.full(9, 0.75)
    np.savez(here / "a.npz", test_accuracy=accuracy, **dense)
    np.savez(here / "b.npz", test_accuracy=accuracy, **pruned)
    rows = evaluate("a.npz", "b.npz", attacks="loss")
    assert [(row["experiment"], row["method"], row["test_accuracy"]) for row in rows] == [
        ("d", "dense", "0.75"),
        ("p", "static", "0.75"),
    ]
    assert {row["kind"] for row in read(here / "out/comparisons.csv")} == {"against_dense"}
    assert (here / "out/figures/auc_vs_sparsity.png").is_file()
    assert (here / "out/figures/tradeoff.png").is_file()


def test_one_model_alone_is_attacked_without_shadows(here: Path) -> None:
    np.savez(here / "alone.npz", **made_up(models=1))
    arrays = made_up(models=7)
    np.savez(here / "alone.npz", **{**arrays, **{name: arrays[name][:1] for name in ("logits", "membership")}})
    (row,) = evaluate("alone.npz", attacks="loss lira_global")
    assert float(row["loss_auc"]) > 0.6
    assert row["num_shadows"] == "0"
    assert call(ONE_CELL, ["--signals", "alone.npz", "--attack-recipe", "fast", "--results-dir", "all", "--quiet"]) == 0
    about = json.loads((here / "all/evaluation.json").read_text())
    assert set(about["unavailable"]["alone"]) >= {"lira", "rmia", "confidence", "samia"}


def test_membership_that_is_not_balanced(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arrays = made_up(models=17, gap=0.0)
    rng = np.random.default_rng(3)
    # the first half of the pool is held by more models; no member is told from a non-member
    arrays["membership"] = rng.random((17, 240)) < np.where(np.arange(240) < 120, 0.6, 0.4)
    np.savez(here / "uneven.npz", **arrays)
    (row,) = evaluate("uneven.npz", attacks="lira confidence", more="--num-targets all")
    assert abs(float(row["lira_auc"]) - 0.5) < 0.05
    arrays["membership"][1:, :20] = False
    np.savez(here / "gap.npz", **arrays)
    capfd.readouterr()
    argv = ["--signals", "gap.npz", "--attacks", "lira", "confidence", "loss", "--results-dir", "gap"]
    assert call(ONE_CELL, argv) == 0
    assert "no shadow model holds 20 of 240 examples" in capfd.readouterr().err
    about = json.loads((here / "gap/evaluation.json").read_text())
    assert "hold" in about["unavailable"]["gap"]["confidence"]
    (row,) = read(here / "gap/mia_results.csv")
    assert row["loss_auc"]


def test_three_one_sided_examples_are_left_out_and_counted(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arrays = made_up(models=17, gap=1.0)
    arrays["membership"] = np.random.default_rng(5).random((17, 240)) < 0.5
    arrays["membership"][1:, 7:10] = False
    np.savez(here / "coins.npz", **arrays)
    argv = ["--signals", "coins.npz", "--attacks", "lira", "confidence", "loss", "--num-targets", "2"]
    capfd.readouterr()
    assert call(ONE_CELL, [*argv, "--results-dir", "out"]) == 0
    said = capfd.readouterr().err
    assert "of 240 examples are not scored" in said
    assert "no shadow model holds" not in said
    about = json.loads((here / "out/evaluation.json").read_text())
    assert not about["unavailable"]
    (note,) = [note for note in about["left_out"] if "are not scored" in note]
    assert note in said
    assert note in (here / "out/report.html").read_text(encoding="utf-8")
    (row,) = read(here / "out/mia_results.csv")
    assert all(row[f"{name}_auc"] for name in ("lira", "confidence", "loss"))
    scored = {(row["target"], int(row["n_members"]) + int(row["n_non_members"])) for row in read(here / "out/tidy.csv")}
    assert len(scored) == 2  # the same examples for every attack on a target
    assert all(228 <= count < 238 for _, count in scored)


def test_a_complement_does_not_serve_its_partner(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arrays = made_up(models=12, gap=0.0)
    half = np.random.default_rng(5).random((6, 240)) < 0.5
    arrays["membership"] = np.stack([half, ~half], axis=1).reshape(12, 240)
    arrays["logits"] += 3 * np.arange(12)[:, None, None] * np.eye(4)[arrays["labels"]]  # models far from each other
    np.savez(here / "pairs.npz", **arrays)
    argv = ["--signals", "pairs.npz", "--attacks", "lira", "--num-targets", "all", "--results-dir", "out"]
    capfd.readouterr()
    assert call(ONE_CELL, argv) == 0
    assert "do not serve" not in capfd.readouterr().err  # of pairs that goes without saying
    (row,) = read(here / "out/mia_results.csv")
    assert abs(float(row["lira_auc"]) - 0.5) < 0.05


def test_models_tied_to_a_target_are_named(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arrays = made_up(models=16, gap=0.0)
    rank = np.random.default_rng(5).random((8, 240)).argsort(axis=0).argsort(axis=0)
    arrays["membership"] = (rank < 4).repeat(2, axis=0)  # every model is trained twice
    np.savez(here / "twins.npz", **arrays)
    argv = ["--signals", "twins.npz", "--attacks", "lira", "--num-targets", "all", "--results-dir", "out"]
    capfd.readouterr()
    assert call(ONE_CELL, argv) == 0
    said = capfd.readouterr().err
    assert "do not serve it: models 1 for 0; 0 for 1; 3 for 2, and for 13 more targets" in said


def without(name: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.pop(name)


def put(name: str, make: Callable[[Arrays], Any]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: make(arrays)})


def nan(arrays: Arrays) -> None:
    arrays["logits"][2, 3, 1] = np.nan


def minus_infinity(arrays: Arrays) -> None:
    arrays["logits"][0, 0, 0] = -np.inf


WRONG: list[tuple[Callable[[Arrays], Any], list[str]]] = [
    (without("logits"), ["no array 'logits'", "phi"]),
    (put("meta", lambda a: meta(epochs="many")), ["meta: epochs is 'many'", "int"]),
    (put("meta", lambda a: meta(population_order="sorted")), ["population_order", "drawn"]),
    (put("meta", lambda a: meta(split_hash="0" * 64)), ["split_hash is not that of"]),
    (put("train_accuracy", lambda a: np.full(7, 93.0)), ["train_accuracy", "[0, 1]"]),
    (without("labels"), ["no array 'labels'"]),
    (put("sensitivty", lambda a: a["logits"]), ["'sensitivty' is unknown", "sensitivity"]),
    (put("logits", lambda a: a["logits"][0]), ["logits has shape [240, 4]", "[M, n, C]"]),
    (put("labels", lambda a: a["labels"][:-1]), ["labels has shape [239]", "n = 240"]),
    (put("membership", lambda a: a["membership"].T), ["membership has shape [240, 7]", "M = 7"]),
    (put("membership", lambda a: a["membership"].astype(np.int64)), ["membership holds int64", "bool"]),
    (put("labels", lambda a: a["labels"].astype(np.float32)), ["labels holds float32", "integer"]),
    (put("logits", lambda a: a["logits"].astype(np.int32)), ["logits holds int32", "floating point"]),
    (put("labels", lambda a: a["labels"] + 1), ["labels run from 1 to 4", "0 to 3"]),
    (nan, ["logits holds NaN"]),
    (minus_infinity, ["NaN or infinite", "clipped"]),
    (put("membership", lambda a: np.ones_like(a["membership"])), ["membership is True everywhere"]),
    (put("phi", lambda a: -a["logits"][:, :, :2]), ["phi of the first query"]),
    (put("population_logits", lambda a: a["logits"]), ["population_labels"]),
    (put("audited", lambda a: np.ones(240, dtype=bool)), ["shadow model holds an audited example"]),
    (put("index", lambda a: np.zeros(240, dtype=np.int64)), ["index"]),
    (put("test_accuracy", lambda a: np.full(7, 93.0)), ["test_accuracy", "[0, 1]"]),
    (put("meta", lambda a: meta(method="static")), ["method and sparsity"]),
    (put("meta", lambda a: meta(name="../up")), ["name", "not allowed"]),
    (put("meta", lambda a: np.frombuffer(b"{", np.uint8)), ["meta is not JSON"]),
    (put("labels", lambda a: a["labels"].astype(object)), ["x.npz"]),
    (put("logits", lambda a: a["logits"][:, :, :1]), ["one class"]),
]


def refused(argv: list[str], capfd: pytest.CaptureFixture[str], *words: str) -> None:
    capfd.readouterr()
    assert call(ONE_CELL, argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err, err
    assert not Path("out").exists()


@pytest.mark.parametrize(("spoil", "words"), WRONG)
def test_what_is_wrong_in_a_file_is_one_line(
    spoil: Callable[[Arrays], Any], words: list[str], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arrays = made_up()
    spoil(arrays)
    np.savez(here / "x.npz", **arrays)
    refused(["--signals", "x.npz", "--results-dir", "out"], capfd, "--signals", "x.npz", *words)


def test_a_target_needs_both_sides(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arrays = made_up()
    arrays["membership"][2] = True
    np.savez(here / "x.npz", **arrays)
    assert evaluate("x.npz", attacks="loss")[0]["num_targets"] == "6"  # of 7 models; nobody asked for that one
    argv = ["--signals", "x.npz", "--num-targets", "all", "--results-dir", "never"]
    capfd.readouterr()
    assert call(ONE_CELL, argv) == 2
    assert "model 2 has members only" in capfd.readouterr().err


def test_files_that_are_none_are_refused(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "text.npz").write_text("hello")
    with zipfile.ZipFile(here / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logits.npy", bytes(200 << 20))
    for name in ("text.npz", "bomb.npz", "absent.npz"):
        refused(["--signals", name, "--results-dir", "out"], capfd, "--signals", name)


def test_flags_that_do_not_go_together(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.savez(here / "x.npz", **made_up())
    (here / "more").mkdir()
    np.savez(here / "more/x.npz", **made_up())
    out = ["--results-dir", "out"]
    refused(out, capfd, "--run-dir", "--signals")
    refused(["--signals", "x.npz", "--run-dir", "runs", *out], capfd, "--run-dir", "--signals")
    refused(["--signals", "x.npz", "more/x.npz", *out], capfd, "named 'x'")
    refused(["--signals", "x.npz", "--num-queries", "2", *out], capfd, "--num-queries", "holds 1")
    np.savez(here / "few.npz", **made_up(models=3))
    refused(["--signals", "few.npz", "--attacks", "lira", *out], capfd, "lira", "a file of 6 models")


def test_population_logits_are_phi(here: Path) -> None:
    arrays = made_up()
    population = arrays["logits"][:, :50]
    np.savez(here / "x.npz", population_logits=population, population_labels=arrays["labels"][:50], **arrays)
    (cell,) = read_cells([here / "x.npz"], AttackOptions())
    assert cell.signals.population_phi is not None
    assert np.array_equal(cell.signals.population_phi, cell.signals.phi[:, :50])


def test_samia_on_a_part_of_the_examples(here: Path) -> None:
    """--samia-examples keeps as many rows of a file as of a trained cell, the same for every model."""
    arrays = made_up()
    sensitivity = np.random.default_rng(5).random(arrays["logits"].shape).astype(np.float32)
    np.savez(here / "x.npz", sensitivity=sensitivity, **arrays)
    (cell,) = read_cells([here / "x.npz"], AttackOptions())
    places = Places()
    signals = load_cell(cell, places, "cpu", cell.queries(None, samia=True, population=0, samia_examples=100))
    assert signals.sensitivity is not None
    kept = np.asarray(np.isfinite(signals.sensitivity).all(axis=2))
    assert (kept == kept[0]).all()
    assert kept[0].sum() == 100
    assert np.array_equal(signals.sensitivity[:, kept[0]], sensitivity[:, kept[0]])
    assert load_cell(cell, places, "cpu", cell.queries(None, samia=False, population=0)).sensitivity is None


def test_tables_state_the_false_positives_of_a_low_fpr(here: Path) -> None:
    """Of a single target and of all, in tidy.csv and summary.csv; one number for all targets of a cell."""
    arrays = made_up(models=5, examples=1300)
    np.savez(here / "a.npz", **arrays)
    non_members = (~arrays["membership"]).sum(axis=1)
    for targets in (1, 5):
        evaluate("a.npz", attacks="loss", more=f"--num-targets {targets}")
        count = int(0.01 * non_members[:targets].min())
        rates = (count + 1) / (non_members[:targets] + 1)
        tidy = [row for row in read(here / "out/tidy.csv") if row["metric"] == "tpr_at_fpr_0.01"]
        expected: list[tuple[int, object]] = [(count, pytest.approx(rate)) for rate in rates]
        assert [(int(row["false_positives"]), float(row["expected_fpr"])) for row in tidy] == expected
        rows = {row["metric"]: row for row in read(here / "out/summary.csv")}
        low = rows["tpr_at_fpr_0.01"]
        assert int(low["false_positives"]) == count
        assert float(low["expected_fpr"]) == pytest.approx(rates.mean())
        assert float(low["mean"]) > 0
        assert (rows["tpr_at_fpr_0.001"]["mean"], rows["tpr_at_fpr_0.001"]["false_positives"]) == ("", "")
        assert rows["auc"]["expected_fpr"] == ""


def test_intervals_take_in_each_model_deleted_or_say_why_not(here: Path) -> None:
    """With 9 models LiRA can lose one and its interval is no narrower than without; with 7 it cannot, and says so."""
    notes = []
    for models in (9, 7):
        np.savez(here / "a.npz", **made_up(models=models))
        evaluate("a.npz", attacks="lira loss", more="--num-targets all")
        notes.append(json.loads((here / "out/evaluation.json").read_text())["notes"].get("a", {}))
    assert "not defined with a model fewer" in notes[1]["lira"]
    assert not any("not defined" in note for note in [*notes[0].values(), notes[1].get("loss", "")])
