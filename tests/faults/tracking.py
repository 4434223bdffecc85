"""Weights & Biases that is not there, does not answer, dies or has no room: a run neither waits nor ends for it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.children import PATIENCE, REPOSITORY, Process, descendants
from tests.faults.disks import no_mount, small_disk
from tests.faults.sweeps import model_argv, undisturbed_model, verdict
from tests.faults.trials import Tally, Trial

SECONDS = 5.0  # that tracking may add
SLOWER = "more than without --wandb"
LONG = ("--epochs", "60")
KEY = "f" * 40
Case = Callable[[Trial, Path], tuple[bool, str, float]]


def no_wandb() -> str | None:
    """Why nothing can be tried here; None where it can."""
    return None if importlib.util.find_spec("wandb") else "the package wandb is not installed"


def broken_tracking(trial: Trial) -> Tally:
    """One of the six cases, with the time it takes beside the same run without `--wandb`."""
    case = CASES[trial.number]
    expected, _ = undisturbed_model(trial, *LONG)
    tally = _compared(case, trial, expected)
    if tally.injected and tally.detail.endswith(SLOWER):
        # The machine may have been busier for the one command than for the other: both again, whatever comes of it.
        again = dataclasses.replace(trial, folder=trial.folder / "again")
        again.folder.mkdir()
        tally = _compared(case, again, expected)
    return tally


def _compared(case: Case, trial: Trial, expected: dict[str, str]) -> Tally:
    work = trial.folder / "work"
    work.mkdir()
    injected, wrong, seconds = case(trial, work)
    added = seconds - _without(trial)
    wrong = wrong or verdict(work, expected)
    if added > SECONDS:
        wrong = wrong or f"{added:.1f} s {SLOWER}"
    return Tally(injected, not wrong, f"{case.__name__}: {wrong or f'{added:.1f} s more'}")


def _without(trial: Trial) -> float:
    """Seconds of the same command without tracking, measured beside it, for the machine may be busy."""
    folder = trial.folder / "without"
    folder.mkdir()
    return Process("run_experiment", model_argv(*LONG), folder, trial.folder / "plain", {}).wait().seconds


def _environment(work: Path, **more: str) -> dict[str, str]:
    home = work.parent / "home"
    home.mkdir(exist_ok=True)
    blank = dict.fromkeys((name for name in os.environ if name.startswith("WANDB_")), "")
    return {**blank, "HOME": str(home), "NETRC": str(home / "none"), **more}


def _run(trial: Trial, work: Path, said: str, **more: str) -> tuple[bool, str, float]:
    end = Process("run_experiment", model_argv(*LONG, "--wandb"), work, trial.folder, _environment(work, **more)).wait()
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    wrong = wrong or ("" if said in end.err else f"no word: {end.err[-300:]}")
    return True, wrong or ("a traceback" if "Traceback" in end.err else ""), end.seconds


def no_key_without_a_terminal(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """Offline, with a word on it."""
    return _run(trial, work, "no key")


def no_key_with_a_terminal(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """A terminal on all three streams, and nobody who types: wandb would ask for a key there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(REPOSITORY / "run_experiment.py"), *map(str, model_argv(*LONG, "--wandb"))]
    environment = {**os.environ, **_environment(work), "OMP_NUM_THREADS": "1", "TERM": "dumb"}
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=work, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""
    while time.monotonic() - started < PATIENCE:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            said += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
    if process.poll() is None and time.monotonic() - started >= PATIENCE:
        process.kill()
    code, seconds = process.wait(), time.monotonic() - started
    os.close(ours)
    text = said.decode(errors="replace")
    wrong = "" if code == 0 else f"exit code {code}: {text[-300:]}"
    return True, wrong or ("it asks" if "nter your choice" in text else ""), seconds


def no_network(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """A key, and a server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = _run(trial, work, "wandb", WANDB_API_KEY=KEY, WANDB_BASE_URL=address)
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return False, "nobody tried to connect", result[2]
    return result


def service_killed(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """kill -9 to wandb's own process in the middle of a run."""
    process = Process("run_experiment", model_argv(*LONG, "--wandb"), work, trial.folder, _environment(work))
    killed = False
    while not killed and not process.ended(0.02):
        for pid in descendants(process.pid):
            if not (work / "runs/dpf/sparsity_0.6/synthetic/checkpoint.pth").exists():
                break
            os.kill(pid, signal.SIGKILL)
            killed = True
    end = process.wait()
    wrong = "" if end.code == 0 else f"exit code {end.code}: {end.err[-300:]}"
    return killed, wrong or ("a traceback" if "Traceback" in end.err else ""), end.seconds


def package_missing(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """As if it had never been installed."""
    (trial.folder / "site").mkdir()
    (trial.folder / "site/sitecustomize.py").write_text('import sys\nsys.modules["wandb"] = None\n')
    return _run(trial, work, "not installed", PYTHONPATH=str(trial.folder / "site"))


def its_folder_full(trial: Trial, work: Path) -> tuple[bool, str, float]:
    """Its folder is a disk without a free byte."""
    missing = no_mount()
    if missing:
        return False, missing, 0.0
    (work / "runs").mkdir()
    with small_disk(work / "runs/wandb", 1 << 16) as disk:
        try:
            (disk / "full").write_bytes(bytes(1 << 17))
        except OSError:
            return _run(trial, work, "wandb")
    return False, "the disk took more than it holds", 0.0


CASES: tuple[Case, ...] = (
    *(no_key_without_a_terminal, no_key_with_a_terminal, no_network),
    *(service_killed, package_missing, its_folder_full),
)
