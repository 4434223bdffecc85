"""Files of signals that other people's models gave, made by any framework: the format, and every check on it.

The format for people is in docs/signals.md; FIELDS is the same for the checks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import read_arrays
from artifacts.files import file_hash
from artifacts.run_dir import COLUMNS, SAFE_NAME
from artifacts.signals import phi
from configs.errors import RunError, UsageError

Arrays = dict[str, NDArray[np.generic]]
MAX_MODELS = 4097
PHI_TOLERANCE = 0.01  # relative to 1 + |phi|: float16 logits pass, a loss or a probability in its place does not
# Axes of each array (M models, n examples, C classes, Q queries, P population examples, k bytes) and its kind.
FIELDS = {
    "logits": ("MnC", "floating point"),
    "labels": ("n", "integer"),
    "membership": ("Mn", "bool"),
    "phi": ("MnQ", "floating point"),
    "sensitivity": ("MnC", "floating point"),
    "population_logits": ("MPC", "floating point"),
    "population_labels": ("P", "integer"),
    "population_phi": ("MPQ", "floating point"),
    "audited": ("n", "bool"),
    "index": ("n", "integer"),
    "test_accuracy": ("M", "floating point"),
    "meta": ("k", "uint8"),
}
REQUIRED = ("logits", "labels", "membership")
KINDS = {"floating point": np.floating, "integer": np.integer, "bool": np.bool_, "uint8": np.uint8}
ABOUT = {"name": str, "method": str, "sparsity": float, "dataset": str, "arch": str, "seed": int}


@dataclass(frozen=True)
class About:
    """What a file says of its models, for the tables; None where it says nothing. sparsity: in [0, 1)."""

    name: str
    method: str | None = None
    sparsity: float | None = None
    dataset: str | None = None
    arch: str | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ForeignSignals:
    """M models, the target first, on n examples with C classes; floating point is float32 or float64.

    logits: [M, n, C]; phi: [M, n, Q]; membership: bool [M, n]; labels, index: int64 [n]; sensitivity: [M, n, C];
    population_phi: [M, P, Q], of examples that no model holds; audited: bool [n]; test_accuracy: [M]; file_hash:
    sha256 of the file.
    """

    path: Path
    about: About
    file_hash: str
    logits: NDArray[np.floating]
    phi: NDArray[np.floating]
    membership: NDArray[np.bool_]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    sensitivity: NDArray[np.floating] | None
    population_phi: NDArray[np.floating] | None
    audited: NDArray[np.bool_] | None
    test_accuracy: NDArray[np.floating] | None

    def data_hash(self) -> str:
        """sha256 of the examples: their labels and places."""
        return _digest(self.labels, self.index)

    def split_hash(self) -> str:
        """sha256 of who holds what, and of what is asked."""
        return _digest(self.membership, *([] if self.audited is None else [self.audited]))


def read_foreign(path: Path) -> ForeignSignals:
    """Read and check a file of signals. UsageError, one line, names the file and what is wrong in it."""
    try:
        arrays = read_arrays(path)
        digest = file_hash(path)
    except (RunError, OSError) as error:
        raise UsageError(f"argument --signals: {error}") from None
    try:
        return _checked(path, arrays, digest)
    except _Wrong as wrong:
        raise UsageError(f"argument --signals: {path}: {wrong}") from None


class _Wrong(Exception):
    """What is wrong in a file, in words."""


def _checked(path: Path, arrays: Arrays, digest: str) -> ForeignSignals:
    _check_shapes(arrays)
    floats = {name: _as_float(name, array) for name, array in arrays.items() if _kind(name) == "floating point"}
    logits, membership = floats["logits"], arrays["membership"].astype(np.bool_)
    _check_sizes(membership, logits)
    labels = _labels("labels", arrays["labels"], logits.shape[2])
    accuracy = floats.get("test_accuracy")
    if accuracy is not None and (accuracy.min() < 0 or accuracy.max() > 1):
        raise _Wrong("test_accuracy must lie in [0, 1]")
    return ForeignSignals(
        path=path,
        about=_about(path, arrays.get("meta")),
        file_hash=digest,
        logits=logits,
        phi=_phi(floats, labels),
        membership=membership,
        labels=labels,
        index=_index(arrays.get("index"), labels.size),
        sensitivity=floats.get("sensitivity"),
        population_phi=_population(floats, arrays),
        audited=_audited(arrays.get("audited"), membership),
        test_accuracy=accuracy,
    )


def _kind(name: str) -> str:
    return FIELDS[name][1]


def _check_shapes(arrays: Arrays) -> None:
    """Names, kinds and shapes; an axis has the length that the first array with it has."""
    missing = next((name for name in REQUIRED if name not in arrays), None)
    if missing is not None:
        raise _Wrong(f"it has no array {missing!r}; {', '.join(REQUIRED)} are needed")
    unknown = next((name for name in arrays if name not in FIELDS), None)
    if unknown is not None:
        raise _Wrong(f"the array {unknown[:40]!r} is unknown; allowed: {', '.join(FIELDS)}")
    sizes: dict[str, int] = {}
    for name in (name for name in FIELDS if name in arrays):
        array, (axes, kind) = arrays[name], FIELDS[name]
        if not np.issubdtype(array.dtype, KINDS[kind]):
            raise _Wrong(f"{name} holds {array.dtype}; it must be {kind}")
        expected = [sizes.get(axis, size) for axis, size in zip(axes, array.shape, strict=False)]
        if len(array.shape) != len(axes) or list(array.shape) != expected:
            known = "".join(f", {axis} = {sizes[axis]}" for axis in axes if axis in sizes)
            raise _Wrong(f"{name} has shape {list(array.shape)}; it must be [{', '.join(axes)}]{known}")
        if 0 in array.shape:
            raise _Wrong(f"{name} is empty")
        sizes.update(zip(axes, array.shape, strict=True))


def _check_sizes(membership: NDArray[np.bool_], logits: NDArray[np.floating]) -> None:
    models, _, classes = logits.shape
    if classes < 2:
        raise _Wrong("logits have one class; two or more are needed (of one logit z of a binary model: [0, z])")
    if models > MAX_MODELS:
        raise _Wrong(f"it holds {models} models; allowed: at most {MAX_MODELS}")
    if membership.all() or not membership.any():
        raise _Wrong(f"membership is {membership.flat[0]} everywhere; attacks need members and non-members")


def _as_float(name: str, array: NDArray[np.generic]) -> NDArray[np.floating]:
    if not np.isfinite(array).all():
        hint = "; take the logarithm of probabilities that are clipped above 0" if name.endswith("logits") else ""
        raise _Wrong(f"{name} holds NaN or infinite values{hint}")
    return np.asarray(array, dtype=np.float32 if array.dtype.itemsize <= 4 else np.float64)


def _labels(name: str, array: NDArray[np.generic], classes: int) -> NDArray[np.int64]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= classes:
        raise _Wrong(f"{name} run from {low} to {high}; with {classes} classes they must lie in 0 to {classes - 1}")
    return array.astype(np.int64)


def _phi(floats: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64]) -> NDArray[np.floating]:
    """The phi that was given, whose first query must be that of the logits; else that query alone."""
    logits = floats["logits"]
    plain = np.stack([phi(of_model, labels) for of_model in logits])
    given = floats.get("phi")
    if given is None:
        return plain.astype(logits.dtype)[:, :, None]
    if (np.abs(given[:, :, 0] - plain) > PHI_TOLERANCE * (1 + np.abs(plain))).any():
        raise _Wrong("phi of the first query is not z_y - log sum exp of the other logits; leave phi out to have it so")
    return given


def _population(floats: Mapping[str, NDArray[np.floating]], arrays: Arrays) -> NDArray[np.floating] | None:
    logits, given = floats.get("population_logits"), floats.get("population_phi")
    if logits is None:
        if "population_labels" in arrays and given is None:
            raise _Wrong("population_labels need population_logits")
        return given
    if given is not None:
        raise _Wrong("population_logits and population_phi are two ways to say one thing; give one of them")
    if "population_labels" not in arrays:
        raise _Wrong("population_logits need population_labels")
    if "phi" in floats and floats["phi"].shape[2] > 1:
        raise _Wrong("population_logits are one query and phi has more; give population_phi [M, P, Q]")
    labels = _labels("population_labels", arrays["population_labels"], logits.shape[2])
    return np.stack([phi(of_model, labels) for of_model in logits]).astype(logits.dtype)[:, :, None]


def _audited(array: NDArray[np.generic] | None, membership: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    if array is None:
        return None
    audited = array.astype(np.bool_)
    if not audited.any():
        raise _Wrong("audited marks no example; leave it out to ask about all")
    if membership[1:, audited].any():
        raise _Wrong("a shadow model holds an audited example; leave audited out where shadows share the target's pool")
    return audited


def _index(array: NDArray[np.generic] | None, examples: int) -> NDArray[np.int64]:
    if array is None:
        return np.arange(examples)
    index = array.astype(np.int64)
    if index.min() < 0 or np.unique(index).size != examples:
        raise _Wrong("index must hold a different place, 0 or above, for every example")
    return index


def _about(path: Path, array: NDArray[np.generic] | None) -> About:
    """`meta`, UTF-8 JSON; the name is the file's where it gives none."""
    try:
        given: Any = {} if array is None else json.loads(array.tobytes().decode())
    except ValueError:
        raise _Wrong("meta is not JSON in UTF-8") from None
    if not isinstance(given, dict) or set(given) - set(ABOUT):
        raise _Wrong(f"meta must be one JSON object of {', '.join(ABOUT)}")
    fields = {name: value for name, value in given.items() if value is not None}
    for name, value in fields.items():
        kinds = (int, float) if ABOUT[name] is float else ABOUT[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise _Wrong(f"meta: {name} is {str(value)[:40]!r}; it must be {ABOUT[name].__name__}")
        if isinstance(value, str) and (not value.isprintable() or not 0 < len(value) <= 128):
            raise _Wrong(f"meta: {name} must be 1 to 128 printable characters")
    about = About(**{"name": _file_name(path), **fields})
    if not SAFE_NAME.fullmatch(about.name) or about.name in COLUMNS:
        raise _Wrong(f"meta: the name {about.name!r} is not allowed; use letters, digits, '.', '_' and '-'")
    if (about.method is None) != (about.sparsity is None) or not 0 <= (about.sparsity or 0) < 1:
        raise _Wrong("meta: method and sparsity, a number in [0, 1), go together")
    if not 0 <= about.seed < 2**31:
        raise _Wrong("meta: seed must lie in 0 to 2147483647")
    return about


def _file_name(path: Path) -> str:
    allowed = [letter if SAFE_NAME.fullmatch(f"_{letter}") else "_" for letter in path.stem]
    name = ("".join(allowed).lstrip(".-") or "signals")[:128]
    return f"{name}_" if name in COLUMNS else name


def _digest(*arrays: NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
