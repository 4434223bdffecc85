"""One process a folder: a lock that ends with its process, however that ends, and who holds it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from artifacts.files import clear_temporaries, write_text
from configs.errors import DiskFull, RunLocked

LOCK, HOLDER = ".lock", ".lock.holder"


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
    try:
        with (folder / HOLDER).open(encoding="utf-8") as stream:
            said = " ".join(stream.read(200).split())
    except (OSError, UnicodeDecodeError):
        said = ""
    return said if said.isprintable() and said.startswith("pid ") else "it has not said which"
