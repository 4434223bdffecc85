"""A worker process that neither works nor ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.faults.children import Child, descendants, is_alive
from tests.faults.sweeps import PICTURES, SWEEP, TINY, undisturbed, verdict
from tests.faults.trials import Tally, Trial

SILENCE = 5.0  # seconds without a sign of life that the engine allows
MOMENTS = 20


def stopped_worker(trial: Trial) -> Tally:
    """SIGSTOP to one of two workers in the middle of a sweep: it is killed, and its run trained by another."""
    expected, *_ = undisturbed(trial, "sweep", SWEEP)
    for attempt in range(MOMENTS):
        folder = trial.folder / f"{attempt}"
        folder.mkdir()
        argv = [*TINY, *SWEEP, "--jobs", "2", "--silence", SILENCE]
        child = trial.server.start("train", argv, folder, hooks=PICTURES)
        victim = _stop_one(child, folder, int(trial.rng.integers(1, 12)), int(trial.rng.integers(2)))
        end = child.wait()
        if victim is None or (end.code == 0 and _was_idle(end.err)):
            continue
        wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
        wrong = wrong or ("" if "stopped responding" in end.err else f"not noticed: {end.err[-300:]}")
        wrong = wrong or ("the stopped process is still there" if is_alive(victim) else "")
        wrong = wrong or verdict(folder, expected)
        return Tally(True, not wrong, wrong or f"killed and replaced: {end.seconds:.1f} s in all")
    return Tally(False, False, "no worker was stopped in the middle of a run")


def _stop_one(child: Child, folder: Path, finished: int, which: int) -> int | None:
    """Stop a worker once so many runs are finished; its pid, None if the sweep ended before."""
    while not child.ended(0.02):
        workers = descendants(child.pid)
        if len(list(folder.glob("runs/**/experiment_summary.json"))) >= finished and len(workers) == 2:
            os.kill(workers[which], signal.SIGSTOP)
            deadline = time.monotonic() + 5
            while _state(workers[which]) != "T" and time.monotonic() < deadline:
                time.sleep(0.01)
            return workers[which] if _state(workers[which]) == "T" else None
    return None


def _was_idle(err: str) -> bool:
    """Whether the sweep came to its end without the stopped worker, which had no run at that moment."""
    return "trying again" not in err and "stopped responding" not in err


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
