"""Jobs that take a second, and what a test compares of their folders."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places, Tracking
from sweep.engine import Rules
from sweep.local import run_here
from sweep.worker import Job, Outcome

MACHINE = Machine(device="cpu", checkpoint_seconds=0.0, num_threads=1)
FILES = ("config.json", "best_model.pth", "signals.npz")


def job_of(config: ExperimentConfig, runs_dir: Path, name: str) -> Job:
    """A job in a folder of its own."""
    places = Places(runs_dir=str(runs_dir))
    return Job(config, str(runs_dir / name), places, MACHINE, QuerySettings(1, samia=False), Tracking(), "tests")


def contents(jobs: Sequence[Job]) -> list[bytes]:
    """The bytes that must not depend on who trained."""
    return [(Path(job.folder) / name).read_bytes() for job in jobs for name in FILES]


def undisturbed(configs: Sequence[ExperimentConfig], runs_dir: Path) -> list[bytes]:
    """What a run in this process leaves."""
    jobs = [job_of(config, runs_dir, f"run_{index}") for index, config in enumerate(configs)]
    outcomes = run_here(jobs, 1, ignore_epoch, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["finished"] * len(jobs)
    return contents(jobs)


def ignore_epoch(folder: str, row: dict[str, Any]) -> None:
    """An epoch hook that does nothing."""


def ignore_done(outcome: Outcome) -> None:
    """A hook for ended runs that does nothing."""


def when(folder: str, epoch: int, act: Callable[[], None]) -> Callable[[str, dict[str, Any]], None]:
    """An epoch hook that acts once, at that epoch of that run or the first one after it."""
    acted: list[int] = []

    def hook(name: str, row: dict[str, Any]) -> None:
        if name == folder and row["epoch"] >= epoch and not acted:
            acted.append(row["epoch"])
            act()

    return hook


def shorten(rules: Rules) -> None:
    """From now on a run may take a tenth of a second: a limit set before would run out on a slow machine's start."""
    object.__setattr__(rules, "timeout", 0.1)


def gone(pid: int, seconds: float = 30.0) -> bool:
    """Whether a process ends (or is a zombie that nobody waits for) within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
