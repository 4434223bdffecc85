"""--controls from the command line to tables, sentences and figures."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.cli.scripts import EXPERIMENT, TINY, TRAIN, call, read

SWEEP = [
    *TINY,
    *("--methods", "dense", "static", "--sparsities", "0.5", "--num-shadows", "3", "--num-threads", "1"),
    *("--attacks", "loss", "--controls", "accuracy"),
]
NAMES = ["dense_synthetic", "dense_synthetic_epochs_1", "static_0.5_synthetic"]
RUNG = Path("runs/dense/synthetic/epochs_1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sweep with its controls was trained and attacked, and what that printed."""
    folder = tmp_path_factory.mktemp("controls")
    with pytest.MonkeyPatch.context() as patch, (folder / "printed.txt").open("w") as out:
        patch.chdir(folder)
        with contextlib.redirect_stdout(out):
            assert call(TRAIN, [*SWEEP, "--quiet"]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_tables_name_the_control_and_compare_with_it(home: Path) -> None:
    for table in ("training_results.csv", "comprehensive_mia_results.csv", "results/mia/cells.csv"):
        rows = read(home / table)
        assert [(row["experiment"], row["control"], row["epochs"]) for row in rows] == list(
            zip(NAMES, ("", "accuracy", ""), "212", strict=True)
        )
        assert {row["reason"] for row in rows} == {""}
    compared = read(home / "results/mia/comparisons.csv")
    rows = [row for row in compared if (row["attack"], row["metric"]) == ("loss", "auc")]
    assert {(row["kind"], row["experiment_a"], row["experiment_b"]) for row in rows} == {
        (kind, NAMES[2], NAMES[0]) for kind in ("against_dense", "equal_accuracy")
    }
    (row,) = (one for one in rows if one["kind"] == "equal_accuracy")
    assert row["control"].startswith(("epochs", "none: its test accuracy"))
    assert (row["ci_low"] != "") == row["control"].startswith("epochs")


def test_a_control_takes_no_part_elsewhere(home: Path) -> None:
    for table, columns in (
        ("transfer", ("target_experiment", "shadows_experiment")),
        ("exposure", ("experiment_a",)),
        ("exposed", ("experiment",)),
    ):
        rows = read(home / f"results/mia/{table}.csv")
        assert {row[name] for row in rows for name in columns} == {NAMES[0], NAMES[2]}, table
    figures = {path.stem for path in (home / "results/mia/figures").glob("*.csv")}
    assert f"roc_cell_{NAMES[1]}" not in figures
    assert {row["experiment"] for row in read(home / "results/mia/figures/roc_methods.csv")} == {NAMES[0], NAMES[2]}
    points = read(home / "results/mia/figures/tradeoff.csv")
    assert {row["experiment"]: row["control"] for row in points} == dict(zip(NAMES, ("", "accuracy", ""), strict=True))


def test_the_page_and_the_terminal_say_it(home: Path) -> None:
    printed = " ".join((home / "printed.txt").read_text().split())
    page = " ".join((home / "results/mia/report.html").read_text().split())
    assert "Dense, epochs 1" in printed
    assert "Dense, epochs 1" in page
    (row,) = (
        one
        for one in read(home / "results/mia/comparisons.csv")
        if (one["kind"], one["attack"], one["metric"]) == ("equal_accuracy", "loss", "auc")
    )
    said = (
        "No dense control of its accuracy has Static 50 %" if row["control"].startswith("none") else "At its accuracy"
    )
    assert said in printed
    assert said in page
    assert "Pruned minus dense training at the same test accuracy" in page


def test_a_sweep_without_controls_plans_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    plain = SWEEP[: SWEEP.index("--controls")]
    capsys.readouterr()
    assert call(TRAIN, [*plain, "--dry-run"]) == 0
    without = capsys.readouterr().out.splitlines()
    assert call(TRAIN, [*SWEEP, "--dry-run"]) == 0
    all_of_them = capsys.readouterr().out.splitlines()
    assert [line for line in all_of_them[:-1] if "epochs_1" not in line] == without[:-1]
    assert (without[-1], all_of_them[-1]) == ("8 runs: 8 finished", "12 runs: 12 finished")
    assert call(TRAIN, ["--status"]) == 0
    assert any(
        line.split()[:3] == ["dense/synthetic/epochs_1", "4", "4"] for line in capsys.readouterr().out.splitlines()
    )


def test_its_own_configuration_repeats_its_weights(home: Path, tmp_path: Path) -> None:
    argv = ["--config", str(RUNG / "config.json"), "--runs-dir", str(tmp_path), "--jobs", "1", "--num-threads", "1"]
    assert call(EXPERIMENT, [*argv, "--quiet"]) == 0
    again = tmp_path / "dense" / "synthetic"
    assert (again / "best_model.pth").read_bytes() == (home / RUNG / "best_model.pth").read_bytes()
    one, other = (json.loads((folder / "config.json").read_text()) for folder in (again, home / RUNG))
    assert (one["fingerprint"], one["control"]) == (other["fingerprint"], None)


def test_settings_go_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*SWEEP, "--epochs", "8", "--control-epochs", "1", "3"]
    capsys.readouterr()
    assert call(TRAIN, [*asked, "--print-config"]) == 0
    (tmp_path / "sweep.yaml").write_text(capsys.readouterr().out)
    for argv in (asked, ["--config", str(tmp_path / "sweep.yaml")]):
        assert call(TRAIN, [*argv, "--dry-run", "--runs-dir", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[: len(out) // 2] == out[len(out) // 2 :]
    assert sum("epochs_3" in line for line in out) == 8


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--control-epochs", "2"], ["--control-epochs", "not below --epochs 2"]),
        (["--controls", "sizes"], ["--controls", "'sizes' is unknown", "did you mean size"]),
        (["--methods", "static"], ["--controls", "add dense to --methods"]),
    ],
)
def test_bad_input_is_one_line(
    argv: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    assert call(TRAIN, [*SWEEP, *argv]) == 2
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert [word for word in words if word not in err] == []
    assert list(tmp_path.iterdir()) == []
