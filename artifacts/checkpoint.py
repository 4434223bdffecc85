"""Saving and loading of training states and final models: files of tensors that may come from anybody."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from artifacts.atomic_writes import file_hash, write_atomic
from artifacts.run_dir import one_line
from configs.errors import RunError

FORMAT = 1
# A training state ends in this and the sha256 of all before it; torch reads the file as if they were not there.
SEAL = b"\nsha256 "
SEAL_BYTES = len(SEAL) + 64
MAX_DEPTH = 8


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What the attacks evaluate: masked weights (and BatchNorm statistics) and the masks (bool, True = kept)."""

    weights: dict[str, Tensor]
    masks: dict[str, Tensor]


class _Sink(io.RawIOBase):
    """Passes bytes on and hashes them; keeps the error of a full disk, of which torch makes one of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        try:
            self.stream.write(content)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(content)
        return len(content)


def _save(stream: IO[bytes], content: dict[str, Any]) -> str:
    sink = _Sink(stream)
    try:
        torch.save({"format": FORMAT, **content}, cast(IO[bytes], sink))
    except RuntimeError:
        if sink.error is not None:
            raise sink.error from None
        raise
    return sink.digest.hexdigest()


def save_state(path: Path, content: dict[str, Any], keep: Path | None = None) -> None:
    """Write a training state with the digest of its own bytes; keep: what one that was there before becomes."""

    def write(stream: IO[bytes]) -> None:
        stream.write(SEAL + _save(stream, content).encode())

    write_atomic(path, write, keep)


def load_state(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read what `save_state` wrote; RunError in one line when it is damaged or foreign."""
    with path.open("rb") as stream:
        length = os.fstat(stream.fileno()).st_size - SEAL_BYTES
        digest = hashlib.sha256()
        left = max(0, length)
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
        if stream.read() != SEAL + digest.hexdigest().encode():
            raise RunError(f"{path} is damaged, or of an earlier version (its digest differs)")
        return _load(path, stream, keys)


def load_model(path: Path, sha256: str | None = None) -> TrainedModel:
    """Read `best_model.pth`; RunError when it is damaged, or is not the file with this hash."""
    if sha256 is not None and file_hash(path) != sha256:
        raise RunError(f"{path} is not the file that the run wrote (its hash differs)")
    with path.open("rb") as stream:
        content = _load(path, stream, ("fingerprint", "weights", "masks"))
    if not (_is_named(content["weights"]) and _is_named(content["masks"])):
        raise RunError(f"{path} is not a model of this project")
    return TrainedModel(content["weights"], content["masks"])


def save_model(path: Path, model: TrainedModel, fingerprint: str) -> str:
    """Write `best_model.pth`, a plain file of torch; returns the sha256."""
    content = {"fingerprint": fingerprint, "weights": model.weights, "masks": model.masks}

    def write(stream: IO[bytes]) -> None:
        _save(stream, content)

    return write_atomic(path, write)


def load_start_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Weights to start from: a `best_model.pth`, or a plain state dict made by any framework code."""
    if sha256 is not None and file_hash(path) != sha256:
        raise RunError(f"--pretrained {path} has changed since the run was planned")
    with path.open("rb") as stream:
        content = _read(f"--pretrained {path}", stream)
    weights = content.get("weights", content.get("state_dict", content)) if isinstance(content, dict) else None
    if not _is_named(weights):
        raise RunError(f"--pretrained {path} holds no state dict")
    return weights  # type: ignore[return-value]


def _is_named(tensors: Any) -> bool:
    return isinstance(tensors, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()
    )


def _load(path: Path, stream: IO[bytes], keys: tuple[str, ...]) -> dict[str, Any]:
    content = _read(str(path), stream)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not all(key in content for key in keys):
        raise RunError(f"{path} is not a checkpoint of this project")
    return content


def _read(name: str, stream: IO[bytes]) -> Any:
    """Tensors and plain values on the CPU. What is stored cannot grow by being read: nothing in it is compressed, no
    two parts of it overlap, and no tensor is larger than what is stored for it.

    `weights_only=True` is passed explicitly: torch's default can be turned off from outside.
    """
    try:
        stream.seek(0)
        with zipfile.ZipFile(stream) as archive:
            parts = archive.infolist()
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
            if packed or sum(part.file_size for part in parts) > os.fstat(stream.fileno()).st_size:
                raise RunError(f"{name} is refused: it would take more room than the file itself")
        stream.seek(0)
        content = torch.load(stream, map_location="cpu", weights_only=True)
        _check_tensors(name, content)
    except RunError:
        raise
    except pickle.UnpicklingError:
        raise RunError(f"{name} is refused: it holds more than tensors and plain values") from None
    except (
        *(OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError),
        *(zipfile.BadZipFile, IndexError, AssertionError, MemoryError, NotImplementedError, OverflowError),
    ) as error:
        raise RunError(f"{name} cannot be loaded as a checkpoint ({one_line(error)[:120]})") from None
    return content


def _check_tensors(name: str, content: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise RunError(f"{name} is refused: its contents are nested too deeply")
    if isinstance(content, Tensor):
        plain = content.layout == torch.strided and content.device.type == "cpu" and not content.is_quantized
        if not plain or content.numel() * content.element_size() > content.untyped_storage().nbytes():
            raise RunError(f"{name} is refused: a tensor in it is not what is stored for it")
    elif isinstance(content, dict | list | tuple):
        for value in content.values() if isinstance(content, dict) else content:
            _check_tensors(name, value, depth + 1)


def check_like(found: Any, ours: Any, what: str = "it") -> None:
    """RunError unless `found` has the keys of `ours` and, at each, a value of its type and a tensor of its shape."""
    if isinstance(ours, Tensor):
        if not isinstance(found, Tensor) or found.shape != ours.shape or found.dtype != ours.dtype:
            raise RunError(f"{what} is not {tuple(ours.shape)} of {ours.dtype}")
    elif isinstance(ours, dict):
        if not isinstance(found, dict) or found.keys() != ours.keys():
            raise RunError(f"{what} does not have the expected parts")
        for name, value in ours.items():
            check_like(found[name], value, str(name))
    elif isinstance(ours, list):
        if not isinstance(found, list) or len(found) != len(ours):
            raise RunError(f"{what} does not have the expected parts")
        for one, other in zip(found, ours, strict=True):
            check_like(one, other, what)
    elif isinstance(ours, float):
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise RunError(f"{what} is not a number")
    elif type(found) is not type(ours):
        raise RunError(f"{what} is not a {type(ours).__name__}")
