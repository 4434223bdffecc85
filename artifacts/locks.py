"""One process a folder: a lock that ends with its process, however that ends, and who holds it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from artifacts.atomic_writes import clear_temporaries, write_text
from artifacts.heartbeat import process_exists
from configs.errors import DiskFull, RunLocked

LOCK, HOLDER = ".lock", ".lock.holder"
SAID = re.compile(r"pid (?P<pid>[0-9]{1,18}) on (?P<host>[!-~]{1,255})")
PATIENCE = 1.0  # seconds in which whoever takes a folder has said who it is


@contextlib.contextmanager
def locked(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder, made where it is missing. RunLocked, with pid and host, when another process holds it.

    wait: seconds to wait for it; by default the answer comes at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise RunLocked(f"{folder} is in use by another process ({_holder(folder)})") from None
    try:
        clear_temporaries(folder, HOLDER)
        with contextlib.suppress(OSError, DiskFull):  # only a courtesy to whoever comes second
            write_text(folder / HOLDER, f"pid {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    """What the holder says of itself; it does a moment after it has the lock, so what a dead one said is not taken."""
    deadline = time.monotonic() + PATIENCE
    while (said := _said(folder)) is None and time.monotonic() < deadline:
        time.sleep(PATIENCE / 100)
    return said or "it has not said which"


def _said(folder: Path) -> str | None:
    try:
        with (folder / HOLDER).open(encoding="utf-8") as stream:
            said = SAID.fullmatch(stream.read(400).strip())
    except (OSError, UnicodeDecodeError):
        return None
    if said is None or (said["host"] == socket.gethostname() and not process_exists(int(said["pid"]))):
        return None
    return said[0]
