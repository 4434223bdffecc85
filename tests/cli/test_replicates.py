"""--replicates and --train-seed from the command line to tables, figures, cards and checks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from configs.experiment import ExperimentConfig
from tests.cli.scripts import CHECK, EXPERIMENT, ONE_CELL, TINY, TRAIN, UNIFIED, call, read
from training import loop

SWEEP = [
    *TINY,
    *("--methods", "dense", "static", "--sparsities", "0.5", "--num-shadows", "3", "--num-threads", "1"),
    *("--attacks", "loss", "confidence"),
]
FIRST = ["dense_synthetic", "static_0.5_synthetic"]
AGAIN = "dense_synthetic_train_seed_1"
ALL = [FIRST[0], AGAIN, FIRST[1]]
REPLICATE = Path("runs/dense/synthetic/train_seed_1")
BOOKKEEPING = (".lock", ".lock.holder")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in BOOKKEEPING
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the models of two cells were trained."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(TRAIN, [*SWEEP, "--quiet", "--no-mia"]) == 0
    return folder


@pytest.fixture(scope="module")
def replicated(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, in which one of the two cells was trained again later, and all of them attacked."""
    folder = tmp_path_factory.mktemp("replicated") / "home"
    shutil.copytree(first, folder)
    again = ["--replicates", "1", "--replicate-cells", "dense", "--skip-existing", "--export", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(TRAIN, [*SWEEP, *again]) == 0
    return folder


@pytest.fixture
def home(replicated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, as the current folder."""
    shutil.copytree(replicated, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def test_adding_replicates_trains_them_alone(first: Path, replicated: Path) -> None:
    before, after = bytes_of(first / "runs"), bytes_of(replicated / "runs")
    kept = [name for name in before if name != "planned_cells.json"]
    assert [name for name in kept if after[name] != before[name]] == []
    added = {name for name in after.keys() - before.keys() if "/export/" not in name}
    inside = REPLICATE.relative_to("runs").as_posix()
    assert added
    assert all(name.startswith(f"{inside}/") for name in added)
    models = {name for name in added if name.endswith("best_model.pth")}
    assert models == {f"{inside}/{where}best_model.pth" for where in ("", *(f"shadow_00{i}/" for i in range(3)))}


def test_a_replicate_shares_the_split_and_no_weights(home: Path) -> None:
    one, other = (json.loads((home / run / "experiment_summary.json").read_text())
                  for run in (REPLICATE.parent, REPLICATE))  # fmt: skip
    for name in ("split_hash", "data_hash", "num_members"):
        assert one[name] == other[name]
    assert one["fingerprint"] != other["fingerprint"]
    assert one["hashes"]["best_model.pth"] != other["hashes"]["best_model.pth"]
    assert (one["experiment"], other["experiment"]) == (FIRST[0], AGAIN)
    assert (one.get("train_seed"), other["train_seed"]) == (None, 1)


def test_every_table_has_it(home: Path) -> None:
    for table in ("training_results.csv", "comprehensive_mia_results.csv", "results/mia/cells.csv"):
        rows = read(home / table)
        assert [(row["experiment"], row["train_seed"]) for row in rows] == list(zip(ALL, "010", strict=True))
        assert {row["reason"] for row in rows} == {""}
    assert "Dense (train seed 1)" in (home / "results" / "mia" / "report.html").read_text()


def test_the_card_says_which_training_it_is(home: Path) -> None:
    for run, train_seed in ((REPLICATE.parent, 0), (REPLICATE, 1)):
        card = (home / run / "export" / "MODEL_CARD.md").read_text().replace("\\", "")
        assert f"| train_seed | {train_seed} |" in card
        assert "| seed | 0 |" in card
        assert "| epochs | 2 |" in card
        assert "LOSS" in card  # the figures of this very network


def test_one_cell_and_the_checks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--num-threads", "1", "--device", "cpu", "--attacks", "loss"]
    assert call(ONE_CELL, ["--run-dir", str(REPLICATE.parent), "--results-dir", "one", *small]) == 0
    assert [row["experiment"] for row in read(home / "one" / "cells.csv")] == FIRST[:1]
    capsys.readouterr()
    assert call(CHECK, small) in (0, 3)  # after two epochs, members need not fit better
    out = capsys.readouterr().out
    for name in ALL:
        assert f"ok   {name}: target, 3 of 3 shadow models" in out
        assert f"ok   {name}: loss AUC" in out


def test_status_and_dry_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call(TRAIN, ["--status"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["dense/synthetic/train_seed_1", "4", "4", "0", "0", "0"] in rows
    assert call(TRAIN, [*SWEEP, "--replicates", "2", "--dry-run", "--quiet", "--shard", "1/2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # targets first: dense with its two replicates, static with its two; the first shard has each second of them
    assert [line.split() for line in lines[:3]] == [
        ["finished", "runs/dense/synthetic"],
        ["new", "runs/dense/synthetic/train_seed_2"],
        ["new", "runs/static/sparsity_0.5/synthetic/train_seed_1"],
    ]
    assert lines[-1].startswith("12 runs of shard 1/2: ")


def test_a_replicate_that_was_planned_and_never_started_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(home / REPLICATE)
    capsys.readouterr()
    assert call(UNIFIED, ["--attacks", "loss", "--num-threads", "1", "--device", "cpu", "--quiet"]) == 0
    row = next(row for row in read(home / "comprehensive_mia_results.csv") if row["experiment"] == AGAIN)
    assert row["reason"].startswith("not started")
    assert row["train_seed"] == "1"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Method ")
    assert [line.split("  ")[0] for line in lines if line.startswith("Dense")] == ["Dense", "Dense (train seed 1)"]


def test_run_experiment_trains_the_same_replicate(home: Path) -> None:
    argv = [*TINY, "--num-shadows", "3", "--num-threads", "1", "--quiet", "--train-seed", "1"]
    assert call(EXPERIMENT, [*argv, "--skip-existing"]) == 0
    assert call(EXPERIMENT, [*argv, "--name", "mine"]) == 0
    model = (home / REPLICATE / "best_model.pth").read_bytes()
    assert (home / "runs" / "mine" / "train_seed_1" / "best_model.pth").read_bytes() == model
    stored = home / REPLICATE / "config.json"
    again = ["--config", str(stored), "--runs-dir", "repeated", "--jobs", "1", "--num-threads", "1", "--quiet"]
    assert call(EXPERIMENT, again) == 0
    assert (home / "repeated" / "dense" / "synthetic" / "train_seed_1" / "best_model.pth").read_bytes() == model


def test_an_interrupted_replicate_goes_on_to_the_same_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*TINY, "--num-shadows", "3", "--num-threads", "1", "--quiet", "--train-seed", "1", "--runs-dir", "other"]
    argv += ["--checkpoint-seconds", "0"]
    original = loop.Trainer.run_epoch

    def stops(self: loop.Trainer, *given: object) -> object:
        if self.history:
            raise OSError("stopped in the second epoch")
        return original(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "run_epoch", stops)
        assert call(EXPERIMENT, argv) == 3
    run = home / "other" / "dense" / "synthetic" / "train_seed_1"
    assert (run / "checkpoint.pth").is_file()
    assert call(EXPERIMENT, argv) == 0
    assert (run / "best_model.pth").read_bytes() == (home / REPLICATE / "best_model.pth").read_bytes()


def test_settings_go_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [*SWEEP, "--train-seed", "3", "--replicates", "2", "--replicate-cells", "dense", "static_0.5"]
    assert call(TRAIN, [*asked, "--print-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "sweep.yaml").write_text(text)
    assert "train_seed: 3\n" in text
    assert "replicates: 2\n" in text
    for argv in (asked, ["--config", "sweep.yaml"]):
        assert call(TRAIN, [*argv, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[: len(out) // 2] == out[len(out) // 2 :]
    assert [line.split("/")[-1] for line in out[:6]] == [f"train_seed_{n}" for n in (3, 4, 5)] * 2


CASES = [
    (["--replicate-cells", "dense"], ["--replicate-cells", "--replicates"]),
    (["--replicates", "1", "--replicate-cells", "dpf"], ["--replicate-cells", "'dpf'", "dense, static, static_0.5"]),
    (["--replicates", "1", "--replicate-cells", "dense_0.5"], ["--replicate-cells", "dense_0.5", "choose from"]),
    (["--replicates", "1", "--replicate-cells", "dense", "dense"], ["--replicate-cells", "twice"]),
    (["--replicates", "-1"], ["--replicates", "from 0 to"]),
    (["--replicates", "many"], ["--replicates", "whole number"]),
    (["--train-seed", "-1"], ["--train-seed", "from 0"]),
    (["--replicates", "1", "--train-seed", str(2**31 - 1)], ["--train-seed"]),
]


@pytest.mark.parametrize(("argv", "words"), CASES, ids=[" ".join(argv) for argv, _ in CASES])
def test_bad_input_is_one_line_and_nothing_is_written(
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


def test_run_experiment_trains_one_cell(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(EXPERIMENT, [*TINY, "--replicates", "1"]) == 2
    assert "--replicates" in capfd.readouterr().err


def test_an_explicit_train_seed_0_is_the_run_of_before() -> None:
    assert ExperimentConfig(train_seed=0).fingerprint() == ExperimentConfig().fingerprint()
