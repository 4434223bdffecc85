"""The signals cache: a model's query outputs in one file, the whole contract between training and the attacks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import write_atomic
from attacks.statistics import phi as phi  # what the cache's array of that name holds
from configs.errors import RunError

FORMAT = 1
SHAPES: dict[str, tuple[type, str]] = {
    "pool": (np.int64, "n"),
    "labels": (np.int64, "n"),
    "membership": (np.bool_, "n"),
    "logits": (np.float32, "nC"),
    "phi": (np.float32, "nQ"),
    "sensitivity": (np.float32, "nC"),
    "audited": (np.bool_, "n"),
    "population_phi": (np.float32, "PQ"),
}
OPTIONAL = ("sensitivity", "audited", "population_phi")


@dataclasses.dataclass(frozen=True)
class QuerySettings:
    """How a model was asked. Part of a cache's key.

    num_queries: 1 to 18 views an example. samia: whether the sensitivity was measured. draws, eps: its Gaussian noise.
    population: how many test examples were asked about as well (all, if there are fewer), 0 for none.
    samia_examples: on how many of the pool's examples the sensitivity was measured (`data.splits.draw_probed`), None
    for all.
    """

    num_queries: int = 2
    samia: bool = True
    draws: int = 10
    eps: float = 1e-3
    population: int = 0
    samia_examples: int | None = None

    def serves(self, wanted: QuerySettings) -> bool:
        """Whether a cache made with these settings answers `wanted`: what was not asked for does no harm."""
        return self.joined(wanted) == self

    def joined(self, wanted: QuerySettings) -> QuerySettings | None:
        """Settings that answer both; None where none can."""
        if (self.draws, self.eps) != (wanted.draws, wanted.eps):
            return None
        return dataclasses.replace(
            self,
            num_queries=max(self.num_queries, wanted.num_queries),
            samia=self.samia or wanted.samia,
            population=max(self.population, wanted.population),
            samia_examples=self._joined_examples(wanted),
        )

    def _joined_examples(self, wanted: QuerySettings) -> int | None:
        caps = [settings.samia_examples for settings in (self, wanted) if settings.samia]
        known = [cap for cap in caps if cap is not None]
        return max(known) if known and len(known) == len(caps) else None


@dataclasses.dataclass(frozen=True)
class Signals:
    """One model's answers on its pool.

    pool: int64 [n] positions in the data set's training set. labels: int64 [n].
    membership: bool [n], whether the example trained this model, as recorded by the training itself.
    logits: float32 [n, C] of the plain query, or None where they were not kept (evidence; never a run's own cache).
    phi: float32 [n, Q], `z_y - logsumexp_{c != y} z_c` per query, the plain one's first.
    sensitivity: float32 [n, C] or None (SAMIA); rows of NaN where `settings.samia_examples` left an example out.
    audited: bool [n], the examples whose membership is asked, or None for all (see `data.splits.Split`).
    population_phi: float32 [P, Q] of test examples (`data.splits.draw_population`), or None where none were asked.
    weights_hash, data_hash: sha256 of the weights file and of the data set.
    """

    pool: NDArray[np.int64]
    labels: NDArray[np.int64]
    membership: NDArray[np.bool_]
    logits: NDArray[np.float32] | None
    phi: NDArray[np.float32]
    sensitivity: NDArray[np.float32] | None
    weights_hash: str
    data_hash: str
    settings: QuerySettings
    audited: NDArray[np.bool_] | None = None
    population_phi: NDArray[np.float32] | None = None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, without those that are None."""
        named = {
            "pool": self.pool,
            "labels": self.labels,
            "membership": self.membership,
            "logits": self.logits,
            "phi": self.phi,
            "sensitivity": self.sensitivity,
            "audited": self.audited,
            "population_phi": self.population_phi,
        }
        return {name: np.ascontiguousarray(array) for name, array in named.items() if array is not None}


def save_signals(path: Path, signals: Signals) -> None:
    """Write the cache atomically, uncompressed, with a digest of its own contents."""
    arrays = signals.arrays()
    meta = {
        "format": FORMAT,
        "weights_hash": signals.weights_hash,
        "data_hash": signals.data_hash,
        "settings": dataclasses.asdict(signals.settings),
        "digest": digest_of(arrays),
    }
    text = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8)
    write_atomic(path, lambda stream: np.savez(stream, allow_pickle=False, meta=text, **arrays))


def load_signals(path: Path) -> Signals:
    """Read and verify a cache; RunError in one line when it is missing, damaged or not one."""
    arrays = read_arrays(path)
    try:
        meta = json.loads(arrays.pop("meta").astype(np.uint8).tobytes().decode())
        if meta["format"] != FORMAT:
            raise RunError(f"{path} has format {meta['format']!r}, not {FORMAT}")
        if meta["digest"] != digest_of(arrays):
            raise RunError(f"{path} is damaged (its digest differs)")
        settings = QuerySettings(**meta["settings"])
        _check(arrays, settings)
        named: dict[str, Any] = {name: arrays.get(name) for name in SHAPES}
        named |= {name: str(meta[name]) for name in ("weights_hash", "data_hash")}
        return Signals(**named, settings=settings)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as signals ({type(error).__name__})") from None


def _check(arrays: dict[str, NDArray[np.generic]], settings: QuerySettings) -> None:
    """ValueError or KeyError unless the arrays are those of `Signals`, in kind and shape."""
    lengths: dict[str, int] = {"n": len(arrays["pool"]), "C": arrays["logits"].shape[1], "Q": settings.num_queries}
    for name, array in arrays.items():
        kind, shape = SHAPES[name]
        if array.dtype != kind or array.ndim != len(shape):
            raise ValueError(name)
        if any(lengths.setdefault(axis, length) != length for axis, length in zip(shape, array.shape, strict=True)):
            raise ValueError(name)
    labels = arrays["labels"]
    if labels.size and not 0 <= labels.min() <= labels.max() < lengths["C"]:
        raise ValueError("labels")
    missing = {name for name in SHAPES if name not in OPTIONAL} - arrays.keys()
    if (
        missing
        or settings.samia != ("sensitivity" in arrays)
        or bool(settings.population) != ("population_phi" in arrays)
    ):
        raise KeyError("arrays")


def digest_of(arrays: dict[str, NDArray[np.generic]]) -> str:
    """SHA-256 (hex) over names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def pairs_hash(pool: NDArray[np.int64], seed: int) -> str:
    """SHA-256 (hex) of a split in complementary pairs: pool [n] and seed decide every model's membership.

    The number of models is no part of it, for it may grow.
    """
    digest = hashlib.sha256(f"pairs {seed} ".encode("ascii"))
    digest.update(pool.astype("<i8").tobytes())
    return digest.hexdigest()


def split_hash(pool: NDArray[np.int64], membership: NDArray[np.bool_], audited: NDArray[np.bool_] | None) -> str:
    """SHA-256 (hex) over the shape, the pool's indices [n] and every membership bit [M, n]; see `data.splits.Split`."""
    digest = hashlib.sha256(repr(membership.shape).encode("ascii"))
    digest.update(pool.astype("<i8").tobytes())
    digest.update(np.packbits(membership, axis=1).tobytes())
    if audited is not None:
        digest.update(np.packbits(audited).tobytes())
    return digest.hexdigest()
