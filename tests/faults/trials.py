"""What a fault is, what one try of it gets, and what it answers."""

from __future__ import annotations

import dataclasses
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.faults.children import Server

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Tally:
    """One try: whether the fault was really there, whether what must hold held, and what happened, in words."""

    injected: bool
    survived: bool
    detail: str = ""


@dataclasses.dataclass
class Trial:
    """What one try gets: its number from 0 on, its own random numbers, an empty folder, and a fork server.

    shared: what tries have in common (undisturbed runs), kept by `once`.
    """

    number: int
    rng: np.random.Generator
    folder: Path
    server: Server
    shared: Shared


class Shared:
    """Results that are made once for all tries, whichever thread comes first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock, self.made = folder, threading.RLock(), dict[str, object]()

    def once(self, name: str, make: Callable[[Path], T]) -> T:
        """`make(an empty folder)`, or what it gave before."""
        with self.lock:
            if name not in self.made:
                folder = self.folder / name
                folder.mkdir(parents=True)
                self.made[name] = make(folder)
            return self.made[name]  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of the table.

    tries: of the whole set, or a function that counts them. share: how many of them `make test` runs.
    needs: why it cannot run here, or None where it can.
    """

    name: str
    run: Callable[[Trial], Tally]
    tries: int | Callable[[Trial], int]
    share: int
    needs: Callable[[], str | None] = lambda: None


def generator(seed: int, fault: str, number: int) -> np.random.Generator:
    """The random numbers of one try: the same wherever and whenever it runs."""
    return np.random.default_rng([seed, zlib.crc32(fault.encode()), number])
