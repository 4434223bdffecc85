"""--status reads run folders: what is finished, running, failed, left, and the time left; it writes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.heartbeat import FILE, Beat, Heartbeat, read_beat
from artifacts.run_dir import RunDir
from cli.status import in_words, show_status, status_text
from configs.experiment import ExperimentConfig
from sweep.planned import remember
from sweep.status import survey, time_left
from tests.cli.scripts import TRAIN, call
from tests.repository import REPOSITORY

Make = Callable[..., ExperimentConfig]
LONG_AGO = time.time() - 1e6


def run_of(config: ExperimentConfig, index: int, runs_dir: Path) -> RunDir:
    config = dataclasses.replace(config, model_index=index)
    run = RunDir.of(config, runs_dir)
    run.path.mkdir(parents=True, exist_ok=True)
    run.config.write_text(config.to_json(), encoding="utf-8")
    return run


def finished(config: ExperimentConfig, index: int, runs_dir: Path, seconds: float) -> RunDir:
    run = run_of(config, index, runs_dir)
    run.model.write_bytes(b"weights")
    run.history.write_text("epoch\n", encoding="utf-8")
    run.write_summary({"seconds": seconds})
    return run


def running(run: RunDir, epoch: int, each: float, **changes: Any) -> None:
    """A run of 4 epochs that has trained `epoch` of them, `each` seconds an epoch, in this very process."""
    now = time.time()
    beat = Beat(epoch, 4, 0, now - each * epoch, now, os.getpid(), socket.gethostname())
    (run.path / FILE).write_text(json.dumps({**dataclasses.asdict(beat), **changes}), encoding="utf-8")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def runs(make_config: Make, tmp_path: Path) -> Path:
    """Two cells of four models: 2 finished, 1 running and 1 interrupted; and 1 stale, 1 damaged, 2 new."""
    runs_dir = tmp_path / "runs"
    dense, static = make_config(), make_config(method="static", sparsity=0.5)
    remember([dense, static], runs_dir)
    finished(dense, 0, runs_dir, seconds=10.0)
    finished(dense, 1, runs_dir, seconds=30.0)
    running(run_of(dense, 2, runs_dir), epoch=1, each=6.0)
    run_of(dense, 3, runs_dir).checkpoint.write_bytes(b"state")
    other = run_of(dataclasses.replace(static, lr=0.5), 0, runs_dir)
    assert other.path == runs_dir / "static/sparsity_0.5/synthetic"
    finished(static, 1, runs_dir, seconds=5.0).model.unlink()
    return runs_dir


def test_each_run_counts_once(runs: Path) -> None:
    dense, static = survey(runs)
    assert [state.kind for state in dense.runs] == ["finished", "finished", "running", "resume"]
    assert [state.kind for state in static.runs] == ["stale", "damaged", "new", "new"]
    assert (dense.left, static.left) == (1, 4)


def test_time_left_by_hand(runs: Path) -> None:
    dense, static = survey(runs)
    # the mean of 10 and 30 s a model; a dense one costs what a static one does, as far as is known
    assert (dense.expected, static.expected) == (20.0, 20.0)
    assert dense.work == pytest.approx(3 * 6.0 + 20.0)  # three epochs of the running one, and one model
    assert static.work == pytest.approx(4 * 20.0)
    assert time_left([dense, static]) == pytest.approx(18.0 + 20.0 + 80.0)
    running(dense.runs[3].run, epoch=2, each=6.0)
    assert time_left(survey(runs)) == pytest.approx((18.0 + 12.0 + 80.0) / 2)  # two at once


def test_time_left_without_a_finished_model(make_config: Make, tmp_path: Path) -> None:
    config = make_config()
    remember([config], tmp_path)
    assert time_left(survey(tmp_path)) is None
    run = run_of(config, 0, tmp_path)
    running(run, epoch=0, each=0.0)
    assert time_left(survey(tmp_path)) is None
    running(run, epoch=1, each=5.0)
    assert time_left(survey(tmp_path)) == pytest.approx(3 * 5.0 + 3 * 20.0)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "running"),
        ({"pid": 2**22 + 1}, "new"),  # past the largest pid of Linux: no such process
        ({"host": "elsewhere"}, "running"),
        ({"host": "elsewhere", "pid": 2**22 + 1}, "running"),
        # ten epochs of the length seen so far are not over
        ({"host": "elsewhere", "updated": LONG_AGO, "started": LONG_AGO - 1e6}, "running"),
        ({"host": "elsewhere", "updated": LONG_AGO, "started": LONG_AGO - 8}, "new"),
        ({"epochs": 0}, "new"),
        ({"updated": float("nan")}, "new"),
        ({"pid": "many"}, "new"),
    ],
)
def test_what_counts_as_running(changes: dict[str, Any], kind: str, make_config: Make, tmp_path: Path) -> None:
    config = make_config(num_shadows=0)
    remember([config], tmp_path)
    running(run_of(config, 0, tmp_path), epoch=1, each=8.0, **changes)
    assert [state.kind for cell in survey(tmp_path) for state in cell.runs] == [kind]


def test_a_failed_run_is_named_and_not_left(make_config: Make, tmp_path: Path) -> None:
    config = make_config(num_shadows=1)
    remember([config], tmp_path)
    finished(config, 0, tmp_path, seconds=1.0)
    run_of(config, 1, tmp_path).write_failure(dataclasses.replace(config, model_index=1), "the loss is not finite")
    cells = survey(tmp_path)
    assert (cells[0].count("failed"), cells[0].left, time_left(cells)) == (1, 0, 0.0)
    assert "failed   dense/synthetic/shadow_000: the loss is not finite" in status_text(cells, tmp_path)


def test_a_run_that_no_plan_names_is_counted(make_config: Make, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "mine")
    run.path.mkdir()
    run.config.write_text(make_config().to_json(), encoding="utf-8")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{", encoding="utf-8")
    assert {cell.folder.name: [state.kind for state in cell.runs] for cell in survey(tmp_path)} == {
        "mine": ["new"],
        "bad": ["stale"],
    }


def test_a_cell_that_starts_from_weights_is_no_other_experiment(make_config: Make, tmp_path: Path) -> None:
    config = make_config(num_shadows=0, pretrained="weights.pth")
    remember([config], tmp_path)
    finished(dataclasses.replace(config, pretrained_hash="0" * 64), 0, tmp_path, seconds=1.0)
    assert [state.kind for cell in survey(tmp_path) for state in cell.runs] == ["finished"]


def test_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(runs)
    assert call(TRAIN, ["--status", "--runs-dir", runs]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["cell", "planned", "finished", "running", "failed", "left", "time", "left"]
    assert lines[1] == ["dense/synthetic", "4", "2", "1", "0", "1", "38", "s"]
    assert lines[2] == ["static/sparsity_0.5/synthetic", "4", "0", "0", "0", "4", "1", "min"]
    assert lines[4] == ["total", "8", "2", "1", "0", "5", "2", "min"]
    text = "\n".join(" ".join(line) for line in lines)
    assert "running dense/synthetic/shadow_001: epoch 1/4" in text
    assert "damaged static/sparsity_0.5/synthetic/shadow_000: best_model.pth is missing" in text
    assert "stale static/sparsity_0.5/synthetic: the folder holds another experiment" in text
    assert "1 interrupted" in text
    assert "time left with 1 at once: 2 min" in text
    assert tree(runs) == before


def test_names_cannot_drive_the_terminal(make_config: Make, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a\x1b[2Jb")
    run.path.mkdir()
    run.config.write_text(make_config().to_json(), encoding="utf-8")
    assert "\x1b" not in status_text(survey(tmp_path), tmp_path)


def test_watching_ends_when_nothing_is_left(
    make_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(num_shadows=1)
    remember([config], tmp_path)
    finished(config, 0, tmp_path, seconds=1.0)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        finished(config, 1, tmp_path, seconds=1.0)

    monkeypatch.setattr(time, "sleep", sleep)
    assert call(TRAIN, ["--watch", "7", "--runs-dir", tmp_path]) == 0
    assert waits == [7.0]
    assert capsys.readouterr().out.count("planned") == 2


def test_ctrl_c_ends_watching_well(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert show_status(runs, 5.0) == 0


def test_a_process_watches_without_torch_and_ends_with_sigint(runs: Path) -> None:
    command = [sys.executable, "-X", "importtime", "train.py", "--watch", "3600", "--runs-dir", str(runs)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("time left"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    modules = {line.rsplit("|", 1)[-1].strip() for line in err.splitlines()}
    assert "sweep.status" in modules
    assert not modules & {"torch", "pandas", "numpy"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--status", "--runs-dir", "nowhere"], ["--runs-dir", "nowhere"]),
        (["--status", "--runs-dir", "file"], ["--runs-dir", "is a file"]),
        (["--watch", "0"], ["--watch", "from 1"]),
        (["--watch", "often"], ["--watch", "seconds"]),
    ],
)
def test_bad_input(
    argv: list[str],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert call(TRAIN, argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line


def test_an_empty_folder_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(TRAIN, ["--status", "--runs-dir", tmp_path]) == 0
    assert "nothing planned" in capsys.readouterr().out


def test_a_heartbeat_comes_and_goes(tmp_path: Path) -> None:
    heart = Heartbeat(tmp_path, 4, 1)
    beat = read_beat(tmp_path)
    assert beat is not None
    assert (beat.epoch, beat.epochs, beat.first, beat.pid) == (1, 4, 1, os.getpid())
    assert beat.epoch_seconds is None
    heart.log({}, 4)
    beat = read_beat(tmp_path)
    assert beat is not None
    assert beat.epoch == 4
    heart.finish(0)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_stops_no_run(tmp_path: Path) -> None:
    heart = Heartbeat(tmp_path / "nowhere", 4, 0)
    heart.log({}, 4)
    heart.finish(0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "?"), (0.0, "0 s"), (59.4, "59 s"), (3590.0, "1 h 0 min"), (5400.0, "1 h 30 min"), (180000.0, "2 d 2 h")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert in_words(seconds) == words
