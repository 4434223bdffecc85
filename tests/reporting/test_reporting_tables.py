"""Tables against figures known by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.metrics import METRICS
from configs.errors import UsageError
from configs.experiment import RECIPE
from pruning.registry import all_knobs
from reporting.frames import DIGITS, LONG, escape, to_csv, to_short_csv, unescape
from reporting.tables import (
    CELL_COLUMNS,
    CELLS_COLUMNS,
    SUMMARY_COLUMNS,
    TRAINING_COLUMNS,
    attack_order,
    read_table,
    summary_text,
    training_table,
    wide_table,
    write_csv,
    write_table,
)
from reporting.terminal import output_width
from tests.reporting.reporting_examples import GRID, cell, row, summary_of

LEAD = ["experiment", "method", "sparsity", "lira_auc", "confidence_accuracy", "neural_network_auc", "samia_accuracy"]
# The columns of how a cell was trained, which these cells lack.
UNTRAINED = "," * len(("train_seed", "control", *RECIPE, *all_knobs()))
REASON = "2 shadow models were found, every attack needs at least 3"


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [
        row("dpf_0.8", "lira", "auc", 0.1 + 0.2, num_targets=3, seed=7),
        {**row("dense", "loss", "precision", None, dataset="=cmd", arch="'-net"), "experiment": "1e5"},
    ]
    path = tmp_path / "summary.csv"
    write_table(path, rows, SUMMARY_COLUMNS)
    back = [
        {name: None if pd.isna(value) else value for name, value in line.items()}
        for line in read_table(path, SUMMARY_COLUMNS).to_dict("records")
    ]
    assert back == rows
    text = path.read_bytes()
    assert text.startswith(",".join(SUMMARY_COLUMNS).encode() + b"\n")
    assert b"\r" not in text
    assert b"0.30000000000000004" in text


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "summary.csv", [], SUMMARY_COLUMNS)
    assert (tmp_path / "summary.csv").read_text() == ",".join(SUMMARY_COLUMNS) + "\n"
    assert read_table(tmp_path / "summary.csv", SUMMARY_COLUMNS).empty


@pytest.mark.parametrize(
    "text",
    [
        *("", "a,b\n1,2\n", ",".join(SUMMARY_COLUMNS) + "\n" + "x," * 40 + "x\n", "\x00\xff"),
        ",".join(SUMMARY_COLUMNS) + "\n" + ",".join(["x"] * len(SUMMARY_COLUMNS)) + "\n",
    ],
)
def test_a_foreign_table_is_a_usage_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"summary\.csv") as error:
        read_table(path, SUMMARY_COLUMNS)
    assert "\n" not in str(error.value)


def test_a_missing_table_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"summary\.csv does not exist"):
        read_table(tmp_path / "summary.csv", SUMMARY_COLUMNS)


def test_wide_table_columns_are_exact() -> None:
    rows = [row("dense", attack, "auc", 0.6) for attack in ("loss", "own_attack", "lira_online", "lira")]
    figures = [f"{attack}_{name}" for attack in ("lira", "lira_online", "loss", "own_attack") for name in METRICS]
    figures.remove("lira_auc")
    ends = [f"{name}_{end}" for name in LEAD[3:] for end in ("ci_low", "ci_high")]
    figures = [f"{name}{end}" for name in figures for end in ("", "_ci_low", "_ci_high")]
    assert list(wide_table([cell("dense", 0.0)], rows).columns) == [*LEAD, *ends, *figures, *CELL_COLUMNS]
    assert list(wide_table([cell("dense", 0.0)], []).columns) == [*LEAD, *ends, *CELL_COLUMNS]


def test_wide_table_keeps_order_means_and_cells_that_were_not_attacked(tmp_path: Path) -> None:
    missing = dict.fromkeys(("train_accuracy", "heldout_accuracy", "test_accuracy", "num_shadows"))
    cells = [cell("dpf", 0.9, reason=REASON, num_targets=0, **missing), cell("dense", 0.0, num_targets=3)]
    frame = wide_table(cells, [row("dense", "lira", "auc", 0.6, ci_low=0.5, ci_high=0.7, num_targets=3)])
    assert frame["experiment"].tolist() == ["dpf_0.9", "dense"]
    assert frame.loc[1, ["lira_auc", "lira_auc_ci_low", "lira_auc_ci_high"]].tolist() == [0.6, 0.5, 0.7]
    assert frame["reason"].tolist() == [REASON, ""]
    write_csv(tmp_path / "wide.csv", frame)
    first, second = (tmp_path / "wide.csv").read_text().splitlines()[1:]
    assert first.startswith("dpf_0.9,dpf,0.9,,,,,")
    hashes = ",".join(["0" * 64, "1e10" * 16, "2" * 64, "3" * 64])
    assert first.endswith(f',cifar10,resnet,20,1,0,balanced{UNTRAINED},,0,,,,0.12,0.5,,{hashes},,"{REASON}"')
    assert f",20,1,0,balanced{UNTRAINED},16,3," in second  # integers stay integers beside a missing one


def test_variants_follow_their_attack() -> None:
    ordered = ["lira", "lira_offline", "samia", "loss", "zz"]
    assert attack_order(set(ordered)) == ordered


def test_formulas_are_escaped_and_numbers_are_not(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "a=b"]
    write_csv(tmp_path / "x.csv", pd.DataFrame({"text": texts, "number": [-0.1 * index for index in range(8)]}))
    with (tmp_path / "x.csv").open(newline="") as stream:
        back = list(csv.DictReader(stream))
    assert [line["text"] for line in back] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\nx", "plain", "a=b"]
    assert [float(line["number"]) for line in back] == [-0.1 * index for index in range(8)]


@given(st.text())
def test_escaping_can_be_undone(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not escape(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_training_table() -> None:
    frame = training_table([{"experiment": "dense", "epochs": 3, "sparsity": 0.0, "unknown": 1}, {"reason": "failed"}])
    assert tuple(frame.columns) == TRAINING_COLUMNS
    epochs = TRAINING_COLUMNS.index("epochs")
    assert frame.to_csv(index=False, lineterminator="\n").splitlines()[1:] == [
        "dense,,0.0" + "," * (epochs - 2) + "3" + "," * (len(TRAINING_COLUMNS) - 1 - epochs),
        "," * (len(TRAINING_COLUMNS) - 1) + "failed",
    ]


def test_summary_text() -> None:
    cells = [cell(method, sparsity) for method, sparsity in GRID]
    text = summary_text([*cells, cell("dpf", 0.99, test_accuracy=None, reason=REASON * 3)], summary_of(cells))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[3].split()[:3] == ["Dense", "0", "88.00"]
    assert lines[5].split()[:2] == ["Static", "95"]
    assert lines[8].startswith("DPF           99      -  not attacked: 2 shadow models")
    assert "@1%FPR" in text  # 0.1 % is undefined
    assert "Majority baseline: 50.0 %" in " ".join(lines[-2:])


def test_summary_text_shows_figures_and_interval() -> None:
    rows = [row("dense", "lira", "auc", 0.6), row("dense", "lira", "tpr_at_fpr_0.001", 0.0123)]
    line = summary_text([cell("dense", 0.0)], rows).splitlines()[3]
    assert line.endswith(f"  0.600 [0.580, 0.620]  {'1.23':>10}")


def test_summary_text_names_experiments_that_methods_do_not_tell_apart() -> None:
    cells = [cell("dense", 0.0, experiment="a" * 60), cell("dense", 0.0, experiment="b", reason="no shadows")]
    lines = summary_text(cells, []).splitlines()
    assert lines[0].startswith("Experiment")
    assert lines[4].startswith("b ")
    assert max(map(len, lines)) <= 110


def test_a_table_of_an_earlier_version_is_read_with_the_later_columns_empty(tmp_path: Path) -> None:
    earlier = [name for name in SUMMARY_COLUMNS if name not in ("false_positives", "expected_fpr")]
    write_table(tmp_path / "summary.csv", [row("dense", "lira", "auc", 0.6)], earlier)
    frame = read_table(tmp_path / "summary.csv", SUMMARY_COLUMNS)
    assert tuple(frame.columns) == SUMMARY_COLUMNS
    assert frame["mean"].tolist() == [0.6]
    assert frame["false_positives"].isna().all()
    write_table(tmp_path / "summary.csv", [row("dense", "lira", "auc", 0.6)], earlier[1:])
    with pytest.raises(UsageError, match="is not the table"):
        read_table(tmp_path / "summary.csv", SUMMARY_COLUMNS)


SEEDS = [cell("static", 0.8, experiment=f"static_0.8_cifar10_seed_{seed}_balanced", seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("named", [True, False])
def test_the_table_fits_the_terminal(width: int, named: bool) -> None:
    cells = SEEDS if named else [cell(method, sparsity) for method, sparsity in GRID]
    text = summary_text([*cells, cell("dpf", 0.99, test_accuracy=None, reason=REASON * 3)], summary_of(cells), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "LiRA AUC" in lines[0]
    assert all("[" in line and "]" in line for line in lines[3 : 3 + len(cells)])  # its interval is never left out
    assert "not attacked: 2 shadow" in " ".join(text.split())
    assert "Majority baseline: 50.0 %" in " ".join(text.split())
    assert ("Sparsity" in lines[0], "Test" in lines[0]) == ((False, False) if named and width == 60 else (True, True))


def test_a_wider_terminal_shows_more_and_a_very_narrow_one_is_taken_for_60() -> None:
    cells = [cell(method, sparsity) for method, sparsity in GRID]
    headings = [summary_text(cells, summary_of(cells), width).splitlines()[0] for width in (60, 80, 120)]
    assert headings[0].split() == ["Method", "Sparsity", "Test", "LiRA", "AUC", "LiRA", "TPR", "%"]
    assert "LOSS" in headings[1]
    assert "RMIA" in headings[2]
    assert summary_text(cells, summary_of(cells), 20) == summary_text(cells, summary_of(cells), 60)
    assert summary_text(cells, summary_of(cells)) == summary_text(cells, summary_of(cells), 110)


def test_the_width_is_the_terminals_and_a_fixed_one_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert output_width() == 110
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert output_width() == 72


def test_long_names_stay_apart() -> None:
    names = [f"static_{sparsity}_cifar10_seed_{seed}_disjoint_halves" for sparsity in (0.8, 0.9) for seed in (1, 2)]
    cells = [cell("static", 0.8, experiment=name) for name in names]
    for width in (60, 110):
        labels = [line.split()[0] for line in summary_text(cells, summary_of(cells), width).splitlines()[3:7]]
        assert len(set(labels)) == 4
        assert max(map(len, labels)) == 32


def test_words_of_knobs_are_read_back_as_words(tmp_path: Path) -> None:
    rows = [cell("dense", 0.0), {**cell("set", 0.8), "densities": "erk", "update_freq": 12}]
    write_table(tmp_path / "cells.csv", rows, CELLS_COLUMNS)
    frame = read_table(tmp_path / "cells.csv", CELLS_COLUMNS)
    assert list(frame["densities"]) == [None, "erk"]
    assert frame["update_freq"].isna().tolist() == [True, False]


def test_a_page_holds_long_data_short() -> None:
    numbers = [i / 7 for i in range(LONG + 1)]
    frame = pd.DataFrame({"cell": "dense", "attack": ["a,b", *["loss"] * LONG], "fpr": numbers, "n": 3})
    frame = frame.assign(curve=frame["attack"])
    assert to_short_csv(frame[:LONG]) == to_csv(frame[:LONG])
    lines = list(csv.reader(io.StringIO(to_short_csv(frame))))
    assert lines[0] == ["attack", "fpr", "n"]  # one text in all rows, and a column twice, tell nothing
    assert [line[0] for line in lines[1:]] == list(frame["attack"])
    assert [float(line[1]) for line in lines[1:]] == pytest.approx(numbers, rel=10.0**-DIGITS * 5)
    assert lines[2][1] == "0.14286"
    assert {line[2] for line in lines[1:]} == {"3"}
