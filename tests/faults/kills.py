"""kill -9, SIGTERM and SIGINT, at random moments and at every write step."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.children import Child, Ended, Process, descendants, is_alive
from tests.faults.same import content
from tests.faults.sweeps import LEAST, ONE_PROCESS, PICTURES, SWEEP, TINY, sweep, undisturbed, verdict
from tests.faults.trials import Tally, Trial

REAL_EVERY = 10  # of so many kills one hits a process that users would start, or one of its worker processes
STOP_SECONDS = 30.0
EVERY_STEP = ("--checkpoint-seconds", "1e-9")  # a checkpoint after every step; 0 is one after every epoch
MOMENTS = 40  # attempts at a moment before the work is done


def random_kill(trial: Trial) -> Tally:
    """kill -9 at a random moment, now and then again during the restart, until a restart comes through."""
    if trial.number % REAL_EVERY == REAL_EVERY - 1:
        return _kill_real_process(trial)
    expected, seconds, _ = undisturbed(trial, "sweep", SWEEP)
    flags = [*SWEEP, *(EVERY_STEP if trial.number % 2 else ())]
    kills, restarts = 0, 0
    while not kills or (kills < 4 and trial.rng.random() < 0.3):
        if restarts > MOMENTS:
            return Tally(False, False, "no kill fell before the work was done")
        child = _start(trial, flags)
        restarts += 1
        moment = trial.rng.uniform(0, seconds)
        if child.ended(moment) or not child.signal(signal.SIGKILL):
            if kills:
                break  # it had come through
            _empty(trial.folder)
            continue
        if child.wait().signal == signal.SIGKILL:
            kills += 1
    end = sweep(trial, flags, trial.folder)
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    wrong = wrong or verdict(trial.folder, expected)
    return Tally(kills > 0, not wrong, wrong or f"{kills} kills")


def _start(trial: Trial, flags: Sequence[str] = SWEEP) -> Child:
    argv = [*TINY, *ONE_PROCESS, *flags, "--skip-existing"]
    return trial.server.start("train", argv, trial.folder, hooks=PICTURES)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _real(trial: Trial, name: str) -> Process:
    argv = [*TINY, *SWEEP, "--jobs", "2", "--skip-existing"]
    return Process("train", argv, trial.folder / "work", trial.folder / name, {})


def _restart(trial: Trial) -> Ended:
    """One process alone goes on, figures drawn in full: who trains makes no difference to any byte."""
    argv = [*TINY, *SWEEP, *ONE_PROCESS, "--skip-existing"]
    return trial.server.run("train", argv, trial.folder / "work")


def _undisturbed_real(trial: Trial) -> tuple[dict[str, str], float]:
    """What an ordinary process leaves behind, with figures drawn in full."""

    def make(folder: Path) -> tuple[dict[str, str], float]:
        (folder / "work").mkdir()
        end = Process("train", [*TINY, *SWEEP, "--jobs", "2"], folder / "work", folder, {}).wait()
        assert end.code == 0, end.err
        return content(folder / "work"), end.seconds

    return trial.shared.once("real", make)


def _kill_real_process(trial: Trial) -> Tally:
    """The same with an ordinary process and two workers: by turns the parent is killed, and a worker."""
    expected, seconds = _undisturbed_real(trial)
    (trial.folder / "work").mkdir()
    worker = trial.number // REAL_EVERY % 2 == 1
    for attempt in range(MOMENTS):
        process = _real(trial, f"killed-{attempt}")
        deadline = time.monotonic() + trial.rng.uniform(0.1, 0.9) * seconds
        victims: list[int] = []
        while not process.ended(0.05) and (time.monotonic() < deadline or (worker and not victims)):
            victims = descendants(process.pid)
        if process.ended(0):
            _empty(trial.folder / "work")
            continue
        return _after_real_kill(trial, process, worker, victims, expected)
    return Tally(False, False, "no kill fell before the work was done")


def _after_real_kill(
    trial: Trial, process: Process, worker: bool, victims: list[int], expected: dict[str, str]
) -> Tally:
    if worker:
        victim = int(trial.rng.choice(victims))
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return Tally(False, False, "the worker had ended")
        first = process.wait()
        wrong = "" if first.code in (0, 3) else f"after its worker's death: exit code {first.code}: {first.err[-300:]}"
    else:
        process.signal(signal.SIGKILL)
        first = process.wait()
        if first.signal != signal.SIGKILL:
            return Tally(False, False, "it ended before the kill")
        wrong = _orphans_end(victims)
    end = _restart(trial)
    if end.code != 0:
        wrong = wrong or f"restarted: exit code {end.code}: {end.err[-300:]}"
    wrong = wrong or verdict(trial.folder / "work", expected)
    return Tally(True, not wrong, wrong or f"{'a worker' if worker else 'the parent'} of two workers")


def _orphans_end(pids: list[int]) -> str:
    deadline = time.monotonic() + STOP_SECONDS
    while alive := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            return f"{len(alive)} workers outlive their parent by {STOP_SECONDS:g} s"
        time.sleep(0.05)
    return ""


def write_steps(trial: Trial) -> int:
    """How many write steps the least sweep has: as many tries."""
    undisturbed(trial, "least", LEAST)

    def count(folder: Path) -> int:
        hook = ("die_at_write_step", (0, str(folder / "steps")))
        (folder / "work").mkdir()
        assert sweep(trial, LEAST, folder / "work", [hook]).code == 0
        return len((folder / "steps").read_text().splitlines())

    return trial.shared.once("steps", count)


def kill_at_write_step(trial: Trial) -> Tally:
    """kill -9 at the write step after as many others as the try's number; the next try dies one step later.

    The try after the last step must come through unkilled: then every step was met.
    """
    expected, *_ = undisturbed(trial, "least", LEAST)
    steps = write_steps(trial)
    killed = sweep(trial, LEAST, trial.folder, [("die_at_write_step", (trial.number + 1, ""))])
    if killed.signal != signal.SIGKILL:
        return Tally(False, False, f"step {trial.number + 1} of {steps} was not met: exit code {killed.code}")
    if trial.number + 1 == steps:
        beyond = trial.folder / "beyond"
        beyond.mkdir()
        if sweep(trial, LEAST, beyond, [("die_at_write_step", (steps + 1, ""))]).code != 0:
            return Tally(True, False, "there is a step more than were counted")
        shutil.rmtree(beyond)
    end = sweep(trial, LEAST, trial.folder)
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    wrong = wrong or verdict(trial.folder, expected)
    return Tally(True, not wrong, f"step {trial.number + 1}: {wrong}")


STOPS = (signal.SIGTERM, signal.SIGINT)


def stopped(trial: Trial) -> Tally:
    """SIGTERM or SIGINT at a random moment; the third of four tries is stopped twice, the fourth has two workers."""
    number = STOPS[trial.number % 2]
    if trial.number % 4 == 3:
        return _stop_real_process(trial, STOPS[trial.number // 4 % 2])
    twice = trial.number % 4 == 2
    number = signal.SIGINT if twice else number
    expected, seconds, _ = undisturbed(trial, "sweep", SWEEP)
    for _ in range(MOMENTS):
        child = _start(trial)
        if child.ended(trial.rng.uniform(0.05, 1.0) * seconds) or not child.signal(number):
            _empty(trial.folder)
            continue
        if twice:
            child.signal(number)
        started = time.monotonic()
        end = child.wait()
        if end.signal == number or end.code == 0:
            # before the command had taken over its signals, or in the moment after its work was done
            _empty(trial.folder)
            continue
        return _after_stop(trial, end, number, time.monotonic() - started, twice, expected)
    return Tally(False, False, "no signal fell before the work was done")


def _after_stop(trial: Trial, end: Ended, number: int, seconds: float, twice: bool, expected: dict[str, str]) -> Tally:
    wrong = _wrong_with_stop(end, number, seconds, twice)
    again = sweep(trial, SWEEP, trial.folder)
    if again.code != 0:
        wrong = wrong or f"restarted: exit code {again.code}: {again.err[-300:]}"
    wrong = wrong or verdict(trial.folder, expected)
    return Tally(True, not wrong, wrong or f"{signal.Signals(number).name}, ended after {seconds:.2f} s")


def _wrong_with_stop(end: Ended, number: int, seconds: float, twice: bool) -> str:
    if end.code != 128 + number:
        return f"exit code {end.code} (signal {end.signal}) after {signal.Signals(number).name}: {end.err[-300:]}"
    if seconds > STOP_SECONDS:
        return f"it took {seconds:.1f} s to stop"
    if "Traceback" in end.err:
        return f"a traceback: {end.err[-300:]}"
    return "" if twice or "--skip-existing" in end.err else f"no word on how to go on: {end.err[-300:]}"


def _stop_real_process(trial: Trial, number: int) -> Tally:
    expected, seconds = _undisturbed_real(trial)
    (trial.folder / "work").mkdir()
    for attempt in range(MOMENTS):
        process = _real(trial, f"stopped-{attempt}")
        deadline = time.monotonic() + trial.rng.uniform(0.2, 0.8) * seconds
        workers: list[int] = []
        while not process.ended(0.05) and (time.monotonic() < deadline or not workers):
            workers = descendants(process.pid)
        if not process.signal(number):
            _empty(trial.folder / "work")
            continue
        started = time.monotonic()
        end = process.wait()
        seconds_to_stop = time.monotonic() - started
        if end.code == 0:
            _empty(trial.folder / "work")
            continue
        wrong = _wrong_with_stop(end, number, seconds_to_stop, twice=False)
        left = [pid for pid in workers if is_alive(pid)]
        wrong = wrong or (f"{len(left)} workers go on without their parent" if left else "")
        again = _restart(trial)
        if again.code != 0:
            wrong = wrong or f"restarted: exit code {again.code}: {again.err[-300:]}"
        wrong = wrong or verdict(trial.folder / "work", expected)
        return Tally(True, not wrong, wrong or f"{signal.Signals(number).name}, two workers, {seconds_to_stop:.2f} s")
    return Tally(False, False, "no signal fell before the work was done")
