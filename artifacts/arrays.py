"""Reading .npz files that may come from anybody: nothing is unpickled, and nothing allocated before it is checked."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from configs.errors import RunError

KINDS = "buif"  # truth values and numbers; no text, no records, no Python objects
MAX_ARRAYS = 100_000
MAX_DIMENSIONS = 8
# What a compressed file may grow to: this much, or this many times its own size where that is more.
SMALL_BYTES = 64 << 20
MAX_RATIO = 100


def read_arrays(path: Path, max_bytes: int | None = None) -> dict[str, NDArray[np.generic]]:
    """Every array of an .npz file by name. RunError, one line, when it cannot be read or is not what it says it is.

    max_bytes: of all arrays together, half of this machine's memory by default. The sizes in the archive's
    directory and the shapes in the arrays' headers must agree before room is made for any of them.
    """
    with _opened(path) as archive:
        arrays = {}
        for name, member in _members(archive, path.stat().st_size, max_bytes or half_of_memory()).items():
            with archive.open(member) as content:
                _read_header(content, member.file_size)
            with archive.open(member) as content:
                arrays[name] = npy.read_array(content, allow_pickle=False)
                content.read()  # to the end, where the archive's checksum is compared
        return arrays


def read_forms(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of every array of an .npz file by name, from their headers alone. RunError as `read_arrays`."""
    with _opened(path) as archive:
        forms = {}
        for name, member in _members(archive, path.stat().st_size, half_of_memory()).items():
            with archive.open(member) as content:
                forms[name] = _read_header(content, member.file_size)
        return forms


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """What goes wrong within is a RunError of one line."""
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except _Refused as refusal:
        raise RunError(f"{path} is refused: {refusal}") from None
    except Exception as error:  # damaged bytes lead zipfile and numpy to many kinds
        raise RunError(f"{path} cannot be read as arrays ({type(error).__name__})") from None


class _Refused(Exception):
    pass


def _members(archive: zipfile.ZipFile, file_bytes: int, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    found = archive.infolist()
    if len(found) > MAX_ARRAYS:
        raise _Refused(f"it holds {len(found)} arrays, more than {MAX_ARRAYS}")
    members = {member.filename.removesuffix(".npy"): member for member in found}
    if len(members) != len(found):
        raise _Refused("it holds two arrays of one name")
    foreign = next((member.filename for member in found if not member.filename.endswith(".npy")), None)
    if foreign is not None:
        raise _Refused(f"{foreign[:80]!r} in it is no array")
    total = sum(member.file_size for member in found)
    allowed = min(max_bytes, max(SMALL_BYTES, MAX_RATIO * file_bytes))
    if total > allowed:
        raise _Refused(f"its arrays would take {total:,} bytes, more than {allowed:,}")
    return members


def _read_header(content: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(content)
    if version not in ((1, 0), (2, 0)):
        raise _Refused(f"an array in it has format version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(content)
    if dtype.kind not in KINDS:
        raise _Refused(f"an array in it holds {dtype}, not numbers")
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise _Refused("an array in it has an impossible shape")
    if content.tell() + math.prod(shape) * dtype.itemsize != size:
        raise _Refused("an array in it is not as long as its header says")
    return shape, dtype


def half_of_memory() -> int:
    """Bytes: half of what this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 8 << 30
