"""Loss traces: a training's file with each member's loss at every epoch (`--trace-losses`)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import write_atomic
from artifacts.signals import digest_of
from configs.errors import RunError

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class LossTraces:
    """Of one training.

    index: int64 [n], the members, as positions in the data set's training set. losses: float16 [epochs, n],
    cross-entropy (nats) in the forward pass of the epoch's step that trained on the member: of the augmented picture,
    before that step's update. weights_hash: sha256 of the weights file that the training ended in.
    """

    index: NDArray[np.int64]
    losses: NDArray[np.float16]
    weights_hash: str


def save_traces(path: Path, traces: LossTraces) -> None:
    """Write the file atomically, with a digest of its own contents; losses too large for float16 become its largest."""
    largest = np.finfo(np.float16).max
    arrays = {"index": np.ascontiguousarray(traces.index), "losses": np.minimum(traces.losses, largest)}
    meta = {"format": FORMAT, "weights_hash": traces.weights_hash, "digest": digest_of(arrays)}
    text = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8)
    write_atomic(path, lambda stream: np.savez(stream, allow_pickle=False, meta=text, **arrays))


def load_traces(path: Path, weights_hash: str) -> LossTraces:
    """Read and verify the traces of the training with these weights.

    RunError in one line when the file is missing, damaged, no such file, or of other weights.
    """
    arrays = read_arrays(path)
    try:
        meta = json.loads(arrays.pop("meta").astype(np.uint8).tobytes().decode())
        if meta["format"] != FORMAT:
            raise RunError(f"{path} has format {meta['format']!r}, not {FORMAT}")
        if meta["digest"] != digest_of(arrays):
            raise RunError(f"{path} is damaged (its digest differs)")
        if meta["weights_hash"] != weights_hash:
            raise RunError(f"{path} is of another training (its weights differ)")
        index, losses = arrays.pop("index"), arrays.pop("losses")
        fits = index.dtype == np.int64 and losses.dtype == np.float16 and index.ndim == 1 and losses.ndim == 2
        if arrays or not fits or losses.shape[1:] != index.shape or not len(losses) or not np.isfinite(losses).all():
            raise RunError(f"{path} does not hold a finite loss for each member and epoch")
        return LossTraces(index, losses, weights_hash)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as loss traces ({type(error).__name__})") from None
