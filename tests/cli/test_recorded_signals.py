"""Recorded evidence: signals of trained cells in files give the very tables of the cells, with logits or without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.arrays import read_arrays
from attacks.registry import ATTACKS
from benchmarks import record_signals, remake_tables
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.machine import Places
from evaluation import record
from evaluation.attack import Attacker
from evaluation.attackable import Attackable
from evaluation.cells import find_cells
from evaluation.foreign_cells import read_cells
from evaluation.gather import Evidence, gather
from reporting.tables import EVIDENCE_TABLES, write_table
from tests.cli.scripts import ONE_CELL, call, read

FROM_PHI = ("lira", "rmia", "confidence", "loss", "lira_global")
FROM_LOGITS = ("entropy", "modified_entropy")
ALL = AttackOptions(num_targets=ALL_TARGETS)
NO_PICTURES = {"duplicates_in_pool": "", "duplicates_in_test": ""}
OF_THE_HEADLINE = {"epsilon_lower": "", "signature": ""}  # which is another attack where others are run
TABLES = ("cells", "tidy", "summary", "comparisons", "exposure", "transfer", "roc")


def recorded(runs: Path, folder: Path, *more: str) -> list[str]:
    argv = ["--runs-dir", str(runs), "--output", str(folder), "--device", "cpu", "--quiet", *more]
    assert record_signals.main(argv) == 0
    return sorted(map(str, folder.glob("*.npz")))


def evaluated(cells: Sequence[Attackable], out: Path, *attacks: str) -> dict[str, list[dict[str, str]]]:
    """The tables of an evaluation, as they are written."""
    evidence = gather(cells, Attacker(attacks, ALL, Places(), "cpu"))
    for name in TABLES:
        write_table(out / f"{name}.csv", getattr(evidence, name), EVIDENCE_TABLES[name])
    return {name: read(out / f"{name}.csv") for name in TABLES}


@pytest.fixture(scope="module")
def trained(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The tables of the trained sweep."""
    return evaluated(find_cells(swept / "runs"), tmp_path_factory.mktemp("trained"), *FROM_PHI, *FROM_LOGITS)


def of_attacks(rows: list[dict[str, str]], attacks: tuple[str, ...]) -> list[dict[str, str]]:
    keys = {variant for name in attacks for variant in ATTACKS[name].variants}
    return [row for row in rows if row.get("attack", attacks[0]) in keys]


def test_phi_alone_gives_the_same_tables(home: Path, tmp_path: Path, trained: dict[str, Any]) -> None:
    files = recorded(home / "runs", tmp_path / "signals")
    assert len(files) == 3
    again = evaluated(read_cells([Path(file) for file in reversed(files)], ALL), tmp_path / "out", *FROM_PHI)
    # corrected together with all other attacks; pictures, which a file does not hold
    free = {"p_holm": "", **NO_PICTURES}
    for name in TABLES:
        ours, theirs = ([{**row, **free} for row in of_attacks(one[name], FROM_PHI)] for one in (again, trained))
        assert len(ours) >= 3, name
        assert ours == theirs, name
    kinds = {row["kind"] for row in again["comparisons"]}
    assert {"against_dense", "same_sparsity"} <= kinds
    assert "given" not in kinds
    assert {row["epochs"] for row in again["cells"]} == {"16"}
    assert all(row["weights_hash"] for row in again["cells"])


def test_who_needs_logits_says_so_where_there_are_none(home: Path, tmp_path: Path) -> None:
    files = recorded(home / "runs", tmp_path / "signals")[:2]
    out = tmp_path / "out"
    argv = ["--signals", *files, "--attacks", "loss", *FROM_LOGITS, "samia", "top3_nn", "--results-dir", str(out)]
    assert call(ONE_CELL, [*argv, "--quiet", "--device", "cpu"]) == 0
    about = json.loads((out / "evaluation.json").read_text())
    assert about["signals"] == {}  # trained here: the page says so
    unavailable = about["unavailable"]
    assert set(unavailable) == {Path(file).stem for file in files}
    for reasons in unavailable.values():
        assert set(reasons) == {*FROM_LOGITS, "samia", "top3_nn"}
        assert all("needs logits" in reason for reason in reasons.values())


def test_rounded_logits_serve_the_attacks_on_all_classes(home: Path, tmp_path: Path, trained: dict[str, Any]) -> None:
    files = recorded(home / "runs", tmp_path / "signals", "--logits")
    again = evaluated(read_cells([Path(file) for file in files], ALL), tmp_path / "out", *FROM_LOGITS)
    ours, theirs = ([{**row, **NO_PICTURES, **OF_THE_HEADLINE} for row in one["cells"]] for one in (again, trained))
    assert ours == theirs
    for ours, theirs in zip(*(of_attacks(one["summary"], FROM_LOGITS) for one in (again, trained)), strict=True):
        if ours["metric"] == "auc":
            assert float(ours["mean"]) == pytest.approx(float(theirs["mean"]), abs=0.005)


def test_the_same_cells_give_the_same_bytes(home: Path, tmp_path: Path) -> None:
    first, second = (recorded(home / "runs", tmp_path / name) for name in "ab")
    assert [Path(one).read_bytes() for one in first] == [Path(one).read_bytes() for one in second]
    arrays = read_arrays(Path(first[0]))
    assert arrays["phi"].dtype == np.float32
    assert "logits" not in arrays
    about = json.loads(arrays["meta"].tobytes())
    assert about["train_seed"] == about["seed"] == 0
    assert about["split"] == "pairs"
    assert set(about["machine"]) >= {"torch", "device", "processor"}


def test_a_population_can_be_left_out(home: Path, tmp_path: Path) -> None:
    files = recorded(home / "runs", tmp_path / "all"), recorded(home / "runs", tmp_path / "few", "--no-population")
    for whole, few in zip(*files, strict=True):
        with np.load(whole) as all_arrays, np.load(few) as arrays:
            assert {*all_arrays.files} - {*arrays.files} == {"population_phi"}
            assert np.array_equal(arrays["phi"], all_arrays["phi"])


def test_pairs_are_kept_while_others_train(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a cell whose last models are missing, the first pair: the first rows of the whole file."""
    whole = recorded(home / "runs", tmp_path / "whole")
    shutil.copytree(home / "runs", tmp_path / "runs")
    for folder in [*(tmp_path / "runs").rglob("shadow_002")]:
        shutil.rmtree(folder)
    pair = recorded(tmp_path / "runs", tmp_path / "pair", "--models", "1", "0")
    assert [Path(one).name for one in pair] == [Path(one).name for one in whole]
    for few, every in zip(pair, whole, strict=True):
        arrays, all_arrays = read_arrays(Path(few)), read_arrays(Path(every))
        assert len(all_arrays["phi"]) > 2
        for name in ("phi", "membership", "population_phi", "test_accuracy"):
            assert np.array_equal(arrays[name], all_arrays[name][:2])
        assert np.array_equal(arrays["index"], all_arrays["index"])
    argv = ["--runs-dir", str(tmp_path / "runs"), "--output", str(tmp_path / "no"), "--device", "cpu", "--quiet"]
    capfd.readouterr()
    for models, said in ((["0", "3"], "model 3 of dense_synthetic is not finished"), (["1"], "needs 0, the target")):
        assert record_signals.main([*argv, "--models", *models]) == 2
        assert f"argument --models: {said}" in capfd.readouterr().err
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_recorded_is_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "MAX_BYTES", 1000)
    argv = ["--runs-dir", str(home / "runs"), "--output", str(tmp_path / "out"), "--device", "cpu", "--quiet"]
    capfd.readouterr()
    assert record_signals.main([*argv, "--logits"]) == 2
    assert "argument --logits" in capfd.readouterr().err
    shutil.copytree(home / "runs/dense", tmp_path / "runs/dense")
    (tmp_path / "runs/dense/synthetic/shadow_003/best_model.pth").unlink()
    assert record_signals.main(["--runs-dir", str(tmp_path / "runs"), *argv[2:]]) == 2
    assert "cannot be recorded" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def evaluate_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two commands on the same signals share one evaluation, which takes seconds."""
    evaluate = remake_tables.evaluated
    done: dict[bool, Evidence] = {}

    def evaluated(files: Sequence[Path], own_shadows: bool = False) -> Evidence:
        if own_shadows not in done:
            done[own_shadows] = evaluate(files, own_shadows)
        return done[own_shadows]

    monkeypatch.setattr(remake_tables, "evaluated", evaluated)


def test_tables_are_made_again_and_checked(
    home: Path,
    tmp_path: Path,
    trained: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded(home / "runs", tmp_path / "tiny/signals", "--logits")
    argv = ["tiny", "--output", str(tmp_path)]
    assert remake_tables.main(argv) == 0
    kept = read(tmp_path / "tiny/summary.csv")
    assert {*FROM_PHI, *FROM_LOGITS} <= {row["attack"] for row in kept}
    assert of_attacks(kept, FROM_PHI) == of_attacks(trained["summary"], FROM_PHI)
    evaluate_each_once(monkeypatch)  # from here on; what is checked is still evaluated anew
    assert remake_tables.main([*argv, "--check"]) == 0
    table = tmp_path / "tiny/comparisons.csv"
    capfd.readouterr()
    whole = table.read_text()
    found = next(row["difference"] for row in read(table) if len(row["difference"]) > 10)
    table.write_text(whole.replace(found, "0.123", 1))
    assert remake_tables.main([*argv, "--check"]) == 1
    assert "difference is '0.123'" in capfd.readouterr().err
    assert table.read_text() != whole  # a check writes nothing
    assert remake_tables.main(["none", "--output", str(tmp_path)]) == 2
    # A study whose cells meet their own shadow models alone lacks nothing without transfer, and keeps what was planned.
    table.write_text(whole)
    every = read(table)
    (tmp_path / "tiny/transfer.csv").unlink()
    monkeypatch.setattr(remake_tables, "OWN_SHADOWS", ("tiny",))
    assert remake_tables.main(argv) == 0
    planned = read(table)
    assert [(row["kind"], row["metric"]) for row in planned] == [
        (row["kind"], row["metric"]) for row in every if remake_tables.is_planned(row)
    ]
    assert 0 < len(planned) < len(every)
    assert remake_tables.main([*argv, "--check"]) == 0
    assert not (tmp_path / "tiny/transfer.csv").exists()


def changed(file: str, target: Path, change: Callable[[dict[str, Any]], None]) -> str:
    arrays: dict[str, Any] = dict(read_arrays(Path(file)))
    about = json.loads(arrays["meta"].tobytes())
    arrays["meta"] = about
    change(arrays)
    arrays["meta"] = np.frombuffer(json.dumps(arrays["meta"]).encode(), np.uint8)
    np.savez(target, **arrays)
    return str(target)


def test_a_file_cannot_pass_for_another_split(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = recorded(home / "runs", tmp_path / "signals")

    def swap(arrays: dict[str, Any]) -> None:
        arrays["membership"] = arrays["membership"][::-1]

    def relabel(arrays: dict[str, Any]) -> None:
        arrays["labels"] = arrays["labels"].max() - arrays["labels"]
        arrays["meta"]["name"] = "relabelled"

    out = ["--attacks", "loss", "--results-dir", str(tmp_path / "out"), "--quiet"]
    capfd.readouterr()
    assert call(ONE_CELL, ["--signals", changed(files[0], tmp_path / "a.npz", swap), *out]) == 2
    assert "split_hash is that of pairs drawn from seed 0, and membership is not" in capfd.readouterr().err
    assert call(ONE_CELL, ["--signals", files[0], changed(files[0], tmp_path / "b.npz", relabel), *out]) == 2
    assert "their labels differ" in capfd.readouterr().err
