"""Writing a file so that it is whole or absent, reading JSON that may come from anybody, and hashing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from artifacts import stopping
from configs.errors import DiskFull, UsageError

TEMPORARY_PREFIX = ".writing-"
FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_JSON_BYTES = 16 << 20
WINDOWS = os.name == "nt"
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none


def write_atomic(path: Path, write: Callable[[IO[bytes]], None], keep: Path | None = None) -> str:
    """Write through a temporary file in the same folder: flush, fsync, rename, fsync the folder. Returns the sha256.

    keep: where the file that was there before goes, instead of being replaced. Raises DiskFull where there is no room.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _new_temporary(path) as (temporary, stream):
            with stopping.postponed():  # an archive that is left halfway cannot be closed, and hides why it was left
                write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            if WINDOWS:
                stream.close()  # an open file can be neither renamed nor, while it is locked, read there
            digest = file_hash(temporary)
            # the file is made private; shared run folders follow the umask like any other file
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
        _fsync_folder(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"the disk is full: {path} was not written, what was there before is whole") from None
        raise
    return digest


def move_atomic(source: Path, target: Path) -> None:
    """Put a finished file in its place on the same disk, such that it is there whole even after a power failure."""
    with source.open("r+b") as stream:  # Windows syncs no file that is open for reading alone
        os.fsync(stream.fileno())
    source.replace(target)
    _fsync_folder(target.parent)


@contextlib.contextmanager
def _new_temporary(path: Path) -> Any:
    """A temporary file beside `path`, locked while it is written, so that `clear_temporaries` knows it from a leftover.

    Gone after an error.
    """
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY_PREFIX}{path.name[:100]}-")
        with contextlib.suppress(OSError):  # a file system without locks has no sure way to tell leftovers
            lock_descriptor(handle)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # taken for a leftover in the moment before it was locked
    temporary = Path(name)
    with os.fdopen(handle, "wb") as stream:
        try:
            yield temporary, stream
        except BaseException:
            temporary.unlink(missing_ok=True)
            # what is still in the buffer has nowhere to go
            with contextlib.suppress(OSError):
                stream.close()
            raise


def clear_temporaries(folder: Path, name: str = "") -> None:
    """Delete what killed processes left half-written in a folder (of the file `name` alone, where it is given)."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.name.startswith(f"{TEMPORARY_PREFIX}{name[:100]}"):
            _delete_leftover(path)


def _delete_leftover(path: Path) -> None:
    with contextlib.suppress(OSError):  # in use, or gone already
        if WINDOWS:
            path.unlink()  # refused there while anybody has it open
            return
        handle = os.open(path, os.O_RDONLY | NO_LINK)
        try:
            if lock_descriptor(handle, blocking=False):
                path.unlink()
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> str:
    """`write_atomic` for text in UTF-8."""

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    return write_atomic(path, write)


def read_json(path: Path) -> Any:
    """The value in a JSON file. UsageError, one line, where it is none or is out of all proportion; OSError."""
    with path.open("rb") as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise UsageError(f"{path.name} is larger than {MAX_JSON_BYTES:,} bytes")
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:  # numbers of too many digits are a ValueError too
        raise UsageError(f"{path.name} is not valid JSON ({' '.join(str(error).split())[:160]})") from None


def _fsync_folder(folder: Path) -> None:
    if WINDOWS:
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: IO[bytes]) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
