"""Where a run in training stands: a small file beside it, there only while the run lasts, for `--status` to read."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artifacts.atomic_writes import TEMPORARY_PREFIX

FILE = "progress.json"
LEAST_SECONDS = 0.5  # between two writes
# A process on another host counts as running for so long after its last sign, or for as many of its epochs.
SILENT_SECONDS, SILENT_EPOCHS = 900.0, 10


@dataclass(frozen=True)
class Beat:
    """A run's last sign of life. `first`: the epochs it had behind it at `started`; times in seconds since 1970."""

    epoch: int
    epochs: int
    first: int
    started: float
    updated: float
    pid: int
    host: str

    @property
    def epoch_seconds(self) -> float | None:
        """Seconds an epoch, None before the first one ended."""
        done = self.epoch - self.first
        return (self.updated - self.started) / done if done > 0 else None

    def alive(self, now: float) -> bool:
        """Whether its process still trains: it is there (as far as this host can tell), and not silent for too long."""
        if self.host == socket.gethostname() and not process_exists(self.pid):
            return False
        if self.host == socket.gethostname() and self.epoch_seconds is None:
            return True  # the first epoch of a large network may take its time
        return now - self.updated < max(SILENT_SECONDS, SILENT_EPOCHS * (self.epoch_seconds or 0.0))


class Heartbeat:
    """Writes the beats of this process's run; a disk that cannot take them is no reason to stop."""

    def __init__(self, folder: Path, epochs: int, first: int) -> None:
        self.folder, self.epochs, self.first, self.started = folder, epochs, first, time.time()
        self.last = 0.0
        self._write(first)

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Epoch `step` ended."""
        if time.time() - self.last >= LEAST_SECONDS or step == self.epochs:
            self._write(step)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The summary has a file of its own."""

    def show(self, tables: Mapping[str, Any], images: Sequence[Path], files: Sequence[Path]) -> None:
        """Nothing to show."""

    def finish(self, code: int) -> None:
        """The run is over, well or not."""
        with contextlib.suppress(OSError):
            (self.folder / FILE).unlink(missing_ok=True)

    def _write(self, epoch: int) -> None:
        self.last = time.time()
        beat = Beat(epoch, self.epochs, self.first, self.started, self.last, os.getpid(), socket.gethostname())
        temporary = self.folder / f"{TEMPORARY_PREFIX}{FILE}"
        with contextlib.suppress(OSError):
            # renamed, so that a reader never finds half of it; not synced, so that it costs next to nothing
            temporary.write_text(json.dumps(asdict(beat)), encoding="utf-8")
            temporary.replace(self.folder / FILE)


def read_beat(folder: Path) -> Beat | None:
    """The last sign of life of the run in a folder; None where there is none that can be read."""
    try:
        fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
        epoch, epochs, first, pid = (int(fields[name]) for name in ("epoch", "epochs", "first", "pid"))
        started, updated = float(fields["started"]), float(fields["updated"])
        plausible = 0 <= first <= epoch <= epochs and epochs > 0 and 0 <= started <= updated < math.inf
        return Beat(epoch, epochs, first, started, updated, pid, str(fields["host"])) if plausible else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def process_exists(pid: int) -> bool:
    """Whether a process of this host has this number; where that cannot be asked, it is assumed."""
    if os.name == "nt" or pid <= 0:  # os.kill would end it there
        return pid > 0
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
