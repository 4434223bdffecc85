"""Weights & Biases and TensorBoard: neither blocks, prompts or stops a run, whatever it does itself."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places, Tracking
from tests.repository import REPOSITORY
from tests.wandb_reader import read_all
from training import tracking
from training.run import run_one
from training.tracking import Tracker

Make = Callable[..., ExperimentConfig]
SPECIFIC = ("seconds", "_timestamp", "_runtime", "_step")
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds a process by Linux's /proc")
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


class Stopped(Exception):
    """Ends a run in the middle, as a kill would."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No key, no home, and no process left from another test."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    tracking._say_once.cache_clear()
    tracking._installed.cache_clear()
    yield
    if tracking._service.cache_info().currsize:
        tracking._service().process.kill()
        tracking.close()
    tracking._installed.cache_clear()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Puts the fake package in front of the real one; the value ends the process and gives what it recorded."""
    packages = tmp_path / "packages"
    packages.mkdir()
    shutil.copy(Path(__file__).with_name("fake_wandb.py"), packages / "wandb.py")
    record = tmp_path / "record.jsonl"
    record.touch()
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("FAKE_WANDB_RECORD", str(record))
    monkeypatch.syspath_prepend(str(packages))

    def recorded() -> list[dict[str, Any]]:
        tracking.close()
        return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]

    return recorded


def train(config: ExperimentConfig, folder: Path, stop_after: int | None = None, **options: Any) -> dict[str, Any]:
    options = options or {"wandb": True, "wandb_tags": ("a", "b"), "wandb_entity": "me"}

    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == stop_after:
            raise Stopped

    return run_one(
        config,
        RunDir(folder / "run"),
        Places(),
        Machine(device="cpu", checkpoint_seconds=0.0),
        QuerySettings(1, samia=False),
        on_epoch=stop,
        tracker=Tracker(Tracking(**options), "sweep", folder),
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_without_a_key_it_goes_offline_and_says_so(
    fake: Callable[[], list[dict[str, Any]]], make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_config(epochs=2), tmp_path)
    call, *rows, summary, end = fake()
    assert (call["mode"], call["dir"]) == ("offline", str(tmp_path))
    assert (call["group"], call["job_type"], call["tags"], call["entity"]) == ("sweep", "target", ["a", "b"], "me")
    assert "offline" in caplog.text
    assert [(row["step"], row["row"]["epoch"]) for row in rows] == [(1, 1), (2, 2)]
    assert "test_accuracy" in summary["values"]
    assert end == {"kind": "finish", "code": 0}


def test_a_shadow_is_a_job_of_its_own_type(
    fake: Callable[[], list[dict[str, Any]]], make_config: Make, tmp_path: Path
) -> None:
    train(make_config(epochs=1, model_index=1), tmp_path)
    assert fake()[0]["job_type"] == "shadow"


def test_a_replicate_is_a_job_of_its_own(
    fake: Callable[[], list[dict[str, Any]]], make_config: Make, tmp_path: Path
) -> None:
    for train_seed in (0, 1):
        train(make_config(epochs=1, train_seed=train_seed), tmp_path / str(train_seed))
    jobs = [call for call in fake() if call["kind"] == "init"]
    assert [job["config"]["train_seed"] for job in jobs] == [0, 1]
    assert len({job["id"] for job in jobs}) == 2


def test_a_failed_run_is_marked(fake: Callable[[], list[dict[str, Any]]], make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(make_config(epochs=2), tmp_path, stop_after=1)
    assert fake()[-1] == {"kind": "finish", "code": 1}


def test_no_network_with_a_key_falls_back_to_offline_for_good(
    fake: Callable[[], list[dict[str, Any]]], make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("FAKE_WANDB_FAULT", "unreachable")
    train(make_config(epochs=1), tmp_path)
    train(make_config(epochs=1, model_index=1), tmp_path / "second")
    calls = [call for call in fake() if call["kind"] in ("init", "teardown")]
    # the package refuses to begin a run anew that it could not begin, until its service is started anew
    assert [call.get("mode", call["kind"]) for call in calls] == ["online", "teardown", "offline", "offline"]
    assert calls[0]["settings"]["init_timeout"] <= 5
    assert calls[0]["resume"] == "allow"


@pytest.mark.parametrize("fault", ["broken", "killed", "full"])
def test_a_failing_service_is_a_warning_and_the_run_finishes(
    fault: str,
    fake: Callable[[], list[dict[str, Any]]],
    make_config: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FAKE_WANDB_FAULT", fault)
    assert train(make_config(epochs=2), tmp_path)["test_accuracy"] is not None
    fake()
    lines = warnings(caplog)
    (line,) = [line for line in lines if "the run goes on without it" in line]
    assert line.startswith("wandb: ")
    assert not any("\n" in line for line in lines)


def test_a_hanging_service_is_left_behind(
    fake: Callable[[], list[dict[str, Any]]],
    make_config: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FAKE_WANDB_FAULT", "hanging")
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.2)
    train(make_config(epochs=1), tmp_path)
    process = tracking._service().process
    fake()
    assert any("still busy" in line for line in warnings(caplog))
    assert process.poll() is None  # it hung, and nobody waited for it
    process.kill()
    process.wait()


def test_a_process_that_cannot_start_is_a_warning(
    fake: Callable[[], list[dict[str, Any]]],
    make_config: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    train(make_config(epochs=1), tmp_path)
    assert any("wandb" in line and "the run goes on without it" in line for line in warnings(caplog))


@pytest.mark.parametrize("option", ["wandb", "tensorboard"])
def test_a_missing_package_is_one_clear_warning(
    option: str, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    train(make_config(epochs=1), tmp_path, **{option: True})
    train(make_config(epochs=1, model_index=1), tmp_path / "second", **{option: True})
    (warning,) = warnings(caplog)
    assert "not installed" in warning
    assert f"pip install {option}" in warning


def test_a_key_in_netrc_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tracking.has_key()
    file = tmp_path / "home" / ".netrc"
    file.write_text("machine wandb.example.org login user password secret\n")
    file.chmod(0o600)
    assert not tracking.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert tracking.has_key()


def test_only_the_process_of_its_own_imports_the_package() -> None:
    sources = [path for path in REPOSITORY.glob("*/*.py") if path.parent.name != "tests"]
    importing = [path.name for path in sources if "import wandb" in path.read_text(encoding="utf-8")]
    assert importing == ["wandb_log.py"]


@needs_wandb
def test_without_a_network_the_package_logs_offline(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 60)  # of a busy machine
    train(make_config(epochs=2), tmp_path)
    tracking.close()
    (line,) = warnings(caplog)
    assert line.startswith("wandb: ")
    assert line.endswith("; logging offline instead")
    (logged,) = read_all(tmp_path)
    assert list(logged.history) == [1, 2]
    assert logged.exit_code == 0


@needs_wandb
@on_linux
def test_a_killed_service_costs_one_run_its_log_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 60)  # of a busy machine
    tracker = Tracker(Tracking(wandb=True), "sweep", tmp_path)
    with tracker.job("target", "first", {}, "1", tmp_path) as job:
        assert wait_for(lambda: list(tmp_path.glob("wandb/offline-run-*/*.wandb")))
        assert wait_for(lambda: kill_service(tracking._service().process.pid))
        for epoch in range(50):
            job.epoch({"epoch": epoch, "loss": 1.0})
    with tracker.job("target", "second", {}, "2", tmp_path) as job:
        job.epoch({"epoch": 1, "loss": 2.0})
    tracking.close()
    lost = [line for line in warnings(caplog) if "the run goes on without it" in line]
    assert len(lost) == 1
    (second,) = [one for one in read_all(tmp_path) if one.name == "second"]
    assert (second.history[1]["loss"], second.exit_code) == (2.0, 0)


def wait_for(condition: Callable[[], Any]) -> bool:
    """Whether a condition comes true within a minute."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def kill_service(parent: int) -> bool:
    """Kill the service of wandb, a child of process `parent`; True once it is gone."""
    there = False
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            service = int(stat[1]) == parent and "wandb-core" in (folder / "cmdline").read_text()
            if service and stat[0] != "Z":
                os.kill(int(folder.name), signal.SIGKILL)
                there = True
    return not there


@needs_wandb
def test_a_resumed_run_reads_back_as_one_undisturbed_run(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(epochs=4)
    with pytest.raises(Stopped):
        train(config, tmp_path / "resumed", stop_after=2)
    train(config, tmp_path / "resumed")
    train(config, tmp_path / "whole")
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 60)  # of a busy machine
    tracking.close()
    first, last = sorted(read_all(tmp_path / "resumed"), key=lambda one: len(one.history))
    (whole,) = read_all(tmp_path / "whole")
    assert first.identity == last.identity == whole.identity
    assert (first.exit_code, last.exit_code, whole.exit_code) == (1, 0, 0)
    assert list(first.history) == [1, 2]
    assert list(last.history) == list(whole.history) == [1, 2, 3, 4]
    for step, row in whole.history.items():
        for name in set(row) - set(SPECIFIC):
            assert last.history[step][name] == row[name], name
    summary = json.loads(RunDir(tmp_path / "whole" / "run").summary.read_text(encoding="utf-8"))
    for name in ("test_accuracy", "heldout_accuracy", "measured_sparsity", "parameters"):
        assert whole.summary[name] == summary[name]


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_hold_the_history_once_after_a_resume(make_config: Make, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config(epochs=4)
    with pytest.raises(Stopped):
        train(config, tmp_path, stop_after=2, tensorboard=True)
    train(config, tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    loss = events.Scalars("train_loss")
    assert [event.step for event in loss] == [1, 2, 3, 4]
    history = RunDir(tmp_path / "run").history.read_text(encoding="utf-8").splitlines()
    column = history[0].split(",").index("train_loss")
    assert [event.value for event in loss] == pytest.approx([float(line.split(",")[column]) for line in history[1:]])
    (final,) = events.Scalars("summary/test_accuracy")
    assert (final.step, final.value) == (4, pytest.approx(events.Scalars("test_accuracy")[-1].value))


@needs_tensorboard
def test_events_that_cannot_be_written_are_a_warning(
    make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file is in the way")
    assert train(make_config(epochs=2), tmp_path, tensorboard=True)["test_accuracy"] is not None
    (line,) = warnings(caplog)
    assert "TensorBoard" in line
