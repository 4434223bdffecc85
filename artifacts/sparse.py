"""A pruned network in one small file: the kept weights and bit-packed masks, as safetensors.

A tensor NAME with dropped weights is stored as NAME.values, its kept weights in the order of memory (row-major), and
NAME.mask, one bit per weight, 1 = kept, the first weight in the highest bit of the first byte, padded with 0 (numpy's
`packbits`). A dropped weight is +0.0. Every other tensor is stored as it is. The header, JSON, is the metadata's entry
`sparse`: `shapes` of the tensors with a mask, `about` the network, and a `digest` of the unpacked tensors and `about`,
so that a flipped bit is noticed. No torch is needed to read it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from artifacts.atomic_writes import write_atomic
from configs.errors import RunError

FORMAT = "bit-packed masks 1"
HEADER = "sparse"
VALUES, MASK = ".values", ".mask"
MAX_DIMENSIONS = 8
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SparseModel:
    """tensors: dense, by name; masks: bool of the same shape, True = kept, of the tensors that have one; about: words
    and figures on the network, as they were given to `save_sparse`."""

    tensors: Arrays
    masks: Arrays
    about: dict[str, Any]


def save_sparse(path: Path, tensors: Mapping[str, NDArray[Any]], masks: Mapping[str, NDArray[Any]], about: Any) -> str:
    """Write atomically; returns the file's sha256. about: anything that JSON can say.

    Of a tensor with a mask (bool, the tensor's shape), dropped weights must be 0 (ValueError); -0.0 becomes +0.0.
    """
    stored: Arrays = {}
    shapes: dict[str, list[int]] = {}
    dense = dict(tensors)
    for name, mask in masks.items():
        values = tensors[name]
        if mask.dtype != np.bool_ or mask.shape != values.shape or values[~mask].any():
            raise ValueError(f"the mask of {name} is not bool {values.shape} over weights that are 0 where it is False")
        dense[name] = np.where(mask, values, values.dtype.type(0))
        stored[name + VALUES], stored[name + MASK] = values[mask], np.packbits(mask.reshape(-1))
        shapes[name] = list(values.shape)
    for name, values in tensors.items():
        if name not in masks:
            if name in stored:
                raise ValueError(f"the name {name} is taken by a part of another tensor")
            stored[name] = np.ascontiguousarray(values).reshape(values.shape)  # of one number, an array of no axis
    header = {"format": FORMAT, "shapes": shapes, "about": about, "digest": _seal(dense, about)}
    # one entry: the library writes several in an order that changes from call to call
    content = safetensors.numpy.save(stored, metadata={HEADER: json.dumps(header)})

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    return write_atomic(path, write)


def load_sparse(path: Path) -> SparseModel:
    """Read and verify a file of `save_sparse`. RunError, one line, where it is not one, or is not whole.

    Safe on files from anybody: nothing is executed, and no more memory is taken than 64 times the file's size.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise RunError(f"{path} is not a file of kept weights and masks ({FORMAT})")
        shapes, about, seal = header["shapes"], header["about"], header["digest"]
        if not isinstance(shapes, dict) or not isinstance(about, dict):
            raise RunError(f"{path} is damaged (its header)")
        tensors, masks = _unpacked(path, stored, shapes)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read as a sparse model ({type(error).__name__})") from None
    if seal != _seal(tensors, about):
        raise RunError(f"{path} is damaged (its digest differs)")
    return SparseModel(tensors, masks, about)


def _unpacked(path: Path, stored: Arrays, shapes: dict[str, Any]) -> tuple[Arrays, Arrays]:
    tensors, masks = dict(stored), {}
    for name, shape in shapes.items():
        values, packed = tensors.pop(name + VALUES), tensors.pop(name + MASK)
        masks[name] = _mask(path, name, packed, shape)
        if values.ndim != 1 or values.size != int(masks[name].sum()):
            raise RunError(f"{path} is damaged: {name} has {values.size} weights for {int(masks[name].sum())} places")
        if name in tensors:
            raise RunError(f"{path} is damaged: it holds {name} twice")
        tensors[name] = np.zeros(shape, dtype=values.dtype)
        tensors[name][masks[name]] = values
    return tensors, masks


def _mask(path: Path, name: str, packed: NDArray[Any], shape: Any) -> NDArray[np.bool_]:
    """Bits to bool; everything is checked before room is made."""
    sound = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and all(type(size) is int for size in shape)
    if not sound or min(shape, default=1) < 0 or packed.dtype != np.uint8 or packed.ndim != 1:
        raise RunError(f"{path} is damaged: {name} has no sound shape or mask")
    size = math.prod(shape)
    if packed.size != -(-size // 8) or (size % 8 and packed[-1] & ((1 << (-size % 8)) - 1)):
        raise RunError(f"{path} is damaged: the mask of {name} does not fit its shape {shape}")
    return np.asarray(np.unpackbits(packed, count=size).astype(np.bool_).reshape(shape))


def _seal(tensors: Mapping[str, NDArray[Any]], about: Any) -> str:
    return hashlib.sha256(f"{digest_of(tensors)} {json.dumps(about, sort_keys=True)}".encode()).hexdigest()


def digest_of(tensors: Mapping[str, NDArray[Any]]) -> str:
    """sha256 of names, dtypes, shapes and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{json.dumps(name)} {array.dtype.str} {list(tensors[name].shape)} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
