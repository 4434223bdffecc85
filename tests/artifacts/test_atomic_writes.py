"""Writing whole or not at all; leftovers; locks; JSON of strangers."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import signal
import socket
import threading
import zipfile
from pathlib import Path
from typing import IO

import pytest

from artifacts import atomic_writes, stopping
from artifacts.atomic_writes import clear_temporaries, file_hash, read_json, write_atomic, write_text
from artifacts.locks import locked
from artifacts.logs import log_file
from configs.errors import DiskFull, RunLocked, StopRequested, UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_hash_is_that_of_the_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    digest = write_text(tmp_path / "below" / "a.txt", "content")
    assert digest == file_hash(tmp_path / "below" / "a.txt")
    assert names(tmp_path / "below") == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_at_any_step_leaves_the_old_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(DiskFull, match=r"a\.txt was not written"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_is_kept_is_there_at_every_moment(tmp_path: Path) -> None:
    path, older = tmp_path / "new", tmp_path / "older"
    for text in "abc":
        write_atomic(path, lambda stream, text=text: stream.write(text.encode()), older)  # type: ignore[misc]
    assert (path.read_text(), older.read_text()) == ("c", "b")

    def broken(stream: IO[bytes]) -> None:
        stream.write(b"d")
        raise ValueError

    with pytest.raises(ValueError):
        write_atomic(path, broken, older)
    assert (path.read_text(), older.read_text()) == ("c", "b")
    assert names(tmp_path) == ["new", "older"]


def test_leftovers_go_and_files_being_written_stay(tmp_path: Path) -> None:
    (tmp_path / ".writing-a.txt-x1").touch()
    (tmp_path / ".writing-b.txt-x2").touch()
    (tmp_path / "foreign").touch()
    clear_temporaries(tmp_path, "b.txt")
    assert names(tmp_path) == [".writing-a.txt-x1", "foreign"]

    def write(stream: IO[bytes]) -> None:
        clear_temporaries(tmp_path)
        stream.write(b"whole")

    write_atomic(tmp_path / "c.txt", write)
    assert names(tmp_path) == ["c.txt", "foreign"]
    assert (tmp_path / "c.txt").read_text() == "whole"


def test_cleaning_never_takes_a_file_from_under_a_writer(tmp_path: Path) -> None:
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            clear_temporaries(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    for i in range(100):
        write_text(tmp_path / "a.txt", str(i))
    stop.set()
    cleaner.join()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "99"


def hold(folder: Path, ready: object) -> None:
    with locked(folder):
        ready.send(os.getpid())  # type: ignore[attr-defined]
        threading.Event().wait()


def test_the_second_process_is_told_who_holds_the_folder_and_kill_frees_it(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, theirs))
    holder.start()
    pid = ours.recv()
    with pytest.raises(RunLocked) as refused, locked(tmp_path):
        pass
    assert f"in use by another process (pid {pid} on {socket.gethostname()})" in str(refused.value)
    holder.kill()
    holder.join()
    with locked(tmp_path):
        assert (tmp_path / ".lock.holder").read_text().startswith(f"pid {os.getpid()} ")


def test_links_that_a_stranger_left_are_not_followed(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    run.mkdir()
    for name in (".lock.holder", "run.log", "a.txt"):
        (run / name).symlink_to(outside)
    with locked(run), log_file(run / "run.log"):
        logging.getLogger("x").error("line")
        write_text(run / "a.txt", "theirs")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 200_000, b"9" * 5000, b" " * (17 << 20)],
    ids=["empty", "cut", "binary", "deep", "long number", "large"],
)
def test_json_of_strangers_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"^a\.json is [^\n]*$"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"a": [1]}))
    assert read_json(tmp_path / "a.json") == {"a": [1]}


def test_quota_counts_as_full() -> None:
    assert {errno.ENOSPC, errno.EDQUOT} == set(atomic_writes.FULL)


def test_the_next_holder_clears_what_a_killed_one_left_of_its_name(tmp_path: Path) -> None:
    left, other = tmp_path / ".writing-.lock.holder-abc", tmp_path / ".writing-best_model.pth-abc"
    for path in (left, other):
        path.write_bytes(b"half")
    with locked(tmp_path):
        assert not left.exists()
        assert other.exists()  # whose writer may be at work


def test_a_request_to_stop_waits_for_an_archive_to_be_closed(tmp_path: Path) -> None:
    def write(stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            entry = archive.open("entry", "w")
            signal.raise_signal(signal.SIGINT)
            entry.close()

    with stopping.installed(), pytest.raises(StopRequested):
        write_atomic(tmp_path / "archive.npz", write)
    assert list(tmp_path.iterdir()) == []
