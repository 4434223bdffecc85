"""Reading arrays from strangers: what is refused, and that refusing costs no memory."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from artifacts.arrays import read_arrays
from configs.errors import RunError


def npy_bytes(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def archive(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_back(write: object, tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3),
        "b": np.array([True, False]),
        "c": np.float32(2.5),
        "d/e": np.asfortranarray(np.eye(3)),
        "empty": np.zeros((0, 4), np.uint8),
    }
    path = tmp_path / "x.npz"
    write(path, **arrays)  # type: ignore[operator]
    found = read_arrays(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("executed").touch, ())


REFUSED = {
    "object array": {"a.npy": npy_bytes(np.array([Evil()], dtype=object), allow_pickle=True)},
    "a pickle": {"a.npy": pickle.dumps(Evil())},
    "text": {"a.npy": npy_bytes(np.array(["=1+1"]))},
    "records": {"a.npy": npy_bytes(np.zeros(2, dtype=[("x", "<f4")]))},
    "huge shape": {"a.npy": header("(1000000000000,)") + b"\0" * 16},
    "overflowing shape": {"a.npy": header("(4611686018427387904, 4)")},
    "negative shape": {"a.npy": header("(-1,)") + b"\0" * 16},
    "short": {"a.npy": header("(8,)") + b"\0" * 16},
    "long": {"a.npy": header("(2,)") + b"\0" * 16},
    "no array": {"a.txt": b"hello"},
    "path": {"../a.py": b"hello"},
    "nested header": {"a.npy": header("(" * 50)},
    "empty": {"a.npy": b""},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_an_array_of_numbers_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "x.npz", REFUSED[case])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=r"x\.npz (is refused|cannot be read)"):
        read_arrays(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {"a.npy": npy_bytes(np.zeros(100 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(RunError, match="would take"):
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_size_in_the_directory_that_is_a_lie_is_noticed(tmp_path: Path) -> None:
    """The directory says 144 bytes, the stream would give 100 MB: no more is read than was declared."""
    path = archive(tmp_path / "x.npz", {"a.npy": npy_bytes(np.zeros(100 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    real = (128 + (100 << 20)).to_bytes(4, "little")
    assert content.count(real) == 2
    path.write_bytes(content.replace(real, (144).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(RunError):
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_every_flipped_bit_of_the_values_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(4, dtype=np.uint8) + 200)
    content = path.read_bytes()
    start = content.index(bytes([200, 201, 202, 203]))
    for bit in range(32):
        damaged = bytearray(content)
        damaged[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(RunError):
            read_arrays(path)


def test_the_limit_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(1000))
    with pytest.raises(RunError, match="more than 1,000"):
        read_arrays(tmp_path / "x.npz", max_bytes=1000)
    with pytest.raises(RunError, match="does not exist"):
        read_arrays(tmp_path / "y.npz")
