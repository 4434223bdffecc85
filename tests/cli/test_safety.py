"""Stops, held folders, runs that fail for good and links that lead out, from the command line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.checkpoint import load_state
from artifacts.locks import locked
from artifacts.run_dir import RunDir
from tests.cli.scripts import EXPERIMENT, TINY, TRAIN, UNIFIED, call
from tests.repository import REPOSITORY

BAD = [*TINY, "--lr", "1e30", "--num-shadows", "1"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_state_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    flags = [*TINY, "--epochs", "100000", "--name", "long", "--checkpoint-seconds", "1e9", "--verbose"]
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "run_experiment.py"), *flags],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 3/" in line:
            break
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == code
    assert said.splitlines()[-1].endswith(
        f"stopped by {signal.Signals(number).name}; the same command with --skip-existing goes on"
    )
    run = RunDir(tmp_path / "runs" / "long")
    assert load_state(run.checkpoint, ("step",))["step"] >= 3
    assert not list(run.path.glob(".writing-*"))


def test_a_run_whose_numbers_are_not_finite_is_named_and_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [*BAD, "--methods", "dense", "--no-mia"]
    assert call(TRAIN, flags) == 3
    run = RunDir(tmp_path / "runs/dense/synthetic")
    marker = run.failure.read_bytes()
    assert "step" in json.loads(marker)["reason"]
    assert call(TRAIN, [*flags, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 runs: 2 failed"
    assert call(TRAIN, flags) == 2  # neither kept nor replaced unasked
    monkeypatch.setattr("training.run._train_and_finish", None)  # training would now be an error of another kind
    assert call(TRAIN, [*flags, "--skip-existing"]) == 3
    assert "lower --lr" in capsys.readouterr().err
    assert run.failure.read_bytes() == marker
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run.failure.write_text(json.dumps({**json.loads(marker), "reason": "old"}))
    assert call(TRAIN, [*flags, "--overwrite"]) == 3
    assert run.failure.read_bytes() == marker


def test_a_results_folder_that_is_held_is_refused_at_once(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (home / "comprehensive_mia_results.csv").read_bytes()
    with locked(tmp_path / "results"):
        flags = ["--attacks", "loss", "--device", "cpu", "--results-dir", str(tmp_path / "results")]
        assert call(UNIFIED, flags) == 4
    assert "is in use by another process (pid " in capsys.readouterr().err
    assert (home / "comprehensive_mia_results.csv").read_bytes() == before


def test_evidence_names_what_it_came_from(home: Path) -> None:
    about = json.loads((home / "results/mia/evaluation.json").read_text())
    cell = about["inputs"]["dense_synthetic"]
    assert len(cell) == 9
    run = RunDir(home / cell["0"]["folder"])
    assert cell["0"]["weights"] == run.read_summary()["hashes"]["best_model.pth"]
    assert {"cells.csv", "tidy.csv", "comprehensive_mia_results.csv", "exposure.npz"} <= about["files"].keys()


def test_a_link_in_the_runs_directory_that_leaves_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/dense").symlink_to(tmp_path / "outside")
    assert call(EXPERIMENT, TINY) == 2
    assert "is a link that leaves it" in capsys.readouterr().err
    assert not list((tmp_path / "outside").iterdir())
    (tmp_path / "elsewhere").symlink_to(tmp_path / "outside")
    assert call(EXPERIMENT, [*TINY, "--runs-dir", "elsewhere", "--dry-run"]) == 0  # the directory itself may be a link


def test_too_little_room_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    assert call(EXPERIMENT, TINY) == 0
    said = capsys.readouterr().err
    assert "the runs need about" in said
    assert "has 1.0 MB left" in said
