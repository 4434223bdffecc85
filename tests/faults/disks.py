"""Full disks: small file systems in memory, and (where none can be mounted) writes that fail."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.children import Ended
from tests.faults.sweeps import SWEEP, sweep, undisturbed, verdict
from tests.faults.trials import Tally, Trial

TRIES = 20
FAILED = (1, 3)
FIRST_CELL = "dense"
PAGE = 4096


@functools.cache
def no_mount() -> str | None:
    """Why no file system can be mounted here; None where it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "mounting a tmpfs needs root"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"no tmpfs can be mounted here ({done.stderr.strip()})"
        subprocess.run(["umount", folder], check=True)
    return None


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def full_disk(trial: Trial) -> Tally:
    """A sweep on a disk of a twentieth, two, ... of what it needs; then the disk grows and the sweep goes on."""
    expected, _, finished = undisturbed(trial, "sweep", SWEEP)
    size = max(PAGE * 4, _needed(finished) * (2 * trial.number + 1) // (2 * TRIES))
    with small_disk(trial.folder / "disk", size) as disk:
        old = _old_cell(finished, disk, size)
        end = sweep(trial, SWEEP, disk)
        if end.code == 0:
            return Tally(False, False, f"{size} bytes were enough")
        wrong = _wrong(end) or _invalid(disk, old)
        subprocess.run(["mount", "-o", f"remount,size={size + 3 * _needed(finished)}", disk], check=True)
        return _go_on(trial, disk, expected, wrong, f"{size >> 10} KiB")


def failing_writes(trial: Trial) -> Tally:
    """The same without a mount: every write beyond so many bytes fails as on a full disk."""
    expected, _, finished = undisturbed(trial, "sweep", SWEEP)
    size = _needed(finished) * (2 * trial.number + 1) // (2 * TRIES)
    end = sweep(trial, SWEEP, trial.folder, [("no_space_after", (size,))])
    if end.code == 0:
        return Tally(False, False, f"{size} bytes were enough")
    return _go_on(trial, trial.folder, expected, _wrong(end) or _invalid(trial.folder, {}), f"{size >> 10} KiB")


def _go_on(trial: Trial, folder: Path, expected: dict[str, str], wrong: str, size: str) -> Tally:
    again = sweep(trial, SWEEP, folder)
    wrong = wrong or ("" if again.code == 0 else f"with space: exit code {again.code}: {again.err[-300:]}")
    wrong = wrong or verdict(folder, expected)
    return Tally(True, not wrong, f"{size}: {wrong}")


def _needed(folder: Path) -> int:
    """Bytes that a sweep's files take, in whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*") if path.is_file())


def _old_cell(finished: Path, disk: Path, size: int) -> dict[Path, bytes]:
    """Put the first cell there, finished, where it fits: it must stay as it is."""
    cell = finished / "runs" / FIRST_CELL
    if 2 * _needed(cell) > size:
        return {}
    shutil.copytree(cell, disk / "runs" / FIRST_CELL)
    kept = (path for path in (disk / "runs").rglob("*") if path.is_file() and path.name != "run.log")
    return {path: path.read_bytes() for path in kept}


def _wrong(end: Ended) -> str:
    if end.code not in FAILED:
        return f"exit code {end.code}: {end.err[-300:]}"
    if "Traceback" in end.err:
        return f"a traceback: {end.err[-500:]}"
    return "" if "disk is full" in end.err or "No space left" in end.err else f"no word on it: {end.err[-300:]}"


def _invalid(folder: Path, old: dict[Path, bytes]) -> str:
    """What is wrong with the files that a full disk left; each of them must be whole."""
    from artifacts.atomic_writes import read_json
    from artifacts.checkpoint import load_state
    from artifacts.run_dir import RunDir
    from artifacts.signals import load_signals
    from configs.errors import RunError, UsageError

    for path, content in old.items():
        if path.read_bytes() != content:
            return f"{path.relative_to(folder)} has changed"
    try:
        for path in folder.rglob("experiment_summary.json"):
            damage = RunDir(path.parent).damage()
            if damage:
                return f"{path.relative_to(folder)}: {damage}"
        for path in folder.rglob("checkpoint*.pth"):
            load_state(path, ("step", "model", "optimizer"))
        for path in folder.rglob("signals.npz"):
            load_signals(path)
        for path in folder.rglob("[!.]*.json"):
            read_json(path)
    except (RunError, UsageError) as error:
        return f"{path.relative_to(folder)}: {error}"
    return ""
