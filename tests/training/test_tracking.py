"""Weights & Biases: it never blocks, prompts or stops a run, whatever it does itself."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings
from configs.config import ExperimentConfig, Machine, Places, Tracking
from training import tracking
from training.run import run_one
from training.tracking import Tracker

Make = Callable[..., ExperimentConfig]


class FakeSession:
    def __init__(self, log_fails: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self.finished = False
        self.log_fails = log_fails

    def log(self, row: dict[str, Any]) -> None:
        if self.log_fails:
            raise OSError("disk quota exceeded")
        self.rows.append(row)

    def finish(self) -> None:
        self.finished = True


class FakeWandb(types.ModuleType):
    """Stands for the package: records what it was asked, fails on demand."""

    def __init__(self, fail_online: bool = False, fail_all: bool = False, log_fails: bool = False) -> None:
        super().__init__("wandb")
        self.fail_online, self.fail_all, self.log_fails = fail_online, fail_all, log_fails
        self.calls: list[dict[str, Any]] = []
        self.sessions: list[FakeSession] = []

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def init(self, **values: Any) -> FakeSession:
        self.calls.append(values)
        if self.fail_all or (self.fail_online and values["mode"] == "online"):
            raise RuntimeError("cannot reach the service\nafter several tries")
        self.sessions.append(FakeSession(self.log_fails))
        return self.sessions[-1]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[FakeWandb | None], None]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tracking._say_once.cache_clear()
    return lambda module: monkeypatch.setitem(sys.modules, "wandb", module)  # type: ignore[arg-type]


def train(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    tracker = Tracker(Tracking(wandb=True, wandb_tags=("a", "b"), wandb_entity="me"), "sweep", folder)
    return run_one(
        config,
        RunDir(folder / "run"),
        Places(),
        Machine(device="cpu"),
        QuerySettings(1, samia=False),
        tracker=tracker,
    )


def test_without_a_key_it_goes_offline_and_says_so(
    install: Callable[[Any], None], make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeWandb()
    install(fake)
    train(make_config(epochs=2), tmp_path)
    (call,) = fake.calls
    assert call["mode"] == "offline"
    assert (call["group"], call["job_type"], call["tags"], call["entity"]) == ("sweep", "target", ["a", "b"], "me")
    assert call["dir"] == str(tmp_path)
    assert "offline" in caplog.text
    assert [row.get("epoch") for row in fake.sessions[0].rows] == [1, 2, None]
    assert "test_accuracy" in fake.sessions[0].rows[-1]
    assert fake.sessions[0].finished


def test_a_shadow_is_a_job_of_its_own_type(install: Callable[[Any], None], make_config: Make, tmp_path: Path) -> None:
    fake = FakeWandb()
    install(fake)
    train(make_config(epochs=1, model_index=1), tmp_path)
    assert fake.calls[0]["job_type"] == "shadow"


def test_no_network_with_a_key_falls_back_to_offline(
    install: Callable[[Any], None], make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb(fail_online=True)
    install(fake)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    train(make_config(epochs=1), tmp_path)
    assert [call["mode"] for call in fake.calls] == ["online", "offline"]
    assert fake.calls[0]["settings"]["init_timeout"] <= 5


@pytest.mark.parametrize("fake", [FakeWandb(fail_all=True), FakeWandb(log_fails=True)])
def test_a_failing_service_is_a_warning_and_the_run_finishes(
    fake: FakeWandb,
    install: Callable[[Any], None],
    make_config: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(fake)
    assert train(make_config(epochs=1), tmp_path)["test_accuracy"] is not None
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("the run goes on without it" in line for line in lines)
    assert not any("\n" in line for line in lines)


def test_a_missing_package_is_one_clear_warning(
    install: Callable[[Any], None], make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(None)
    train(make_config(epochs=1), tmp_path)
    (warning,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert "not installed" in warning
    assert "pip install wandb" in warning


def test_a_key_in_netrc_counts(install: Callable[[Any], None], tmp_path: Path) -> None:
    assert not tracking.has_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert tracking.has_key()
