"""Files of signals that other people's models gave, made by any framework: the format, and every check on it.

The format for people is in docs/signals.md; FIELDS is the same for the checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import file_hash
from artifacts.foreign_about import About, Wrong, read_about
from artifacts.foreign_tables import KINDS as TABLES
from artifacts.foreign_tables import read_table_arrays
from artifacts.signals import pairs_hash, phi, split_hash
from configs.errors import RunError, UsageError

Arrays = dict[str, NDArray[np.generic]]
MAX_MODELS = 4097
MAX_CLASSES = 1_000_000  # of labels without logits beside them
PHI_TOLERANCE = 0.01  # relative to 1 + |phi|: a loss or a probability in its place does not pass
HALF_TOLERANCE = 2.0**-10  # of float16 logits beside it, relative to the largest: two of them are rounded by half each
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
    "train_accuracy": ("M", "floating point"),
    "heldout_accuracy": ("M", "floating point"),
    "meta": ("k", "uint8"),
}
REQUIRED = ("labels", "membership")  # and logits, or phi alone
ACCURACIES = ("test_accuracy", "train_accuracy", "heldout_accuracy")
KINDS = {"floating point": np.floating, "integer": np.integer, "bool": np.bool_, "uint8": np.uint8}


@dataclass(frozen=True, eq=False)
class ForeignSignals:
    """M models, the target first, on n examples with C classes; floating point is float32 or float64.

    logits: [M, n, C] or None; phi: [M, n, Q]; membership: bool [M, n]; labels, index: int64 [n]; sensitivity: [M, n, C]
    or None; population_phi: [M, P, Q], of examples that no model holds, or None; audited: bool [n] or None; accuracies:
    by name of ACCURACIES, [M], those that are given; file_hash: sha256 of the file.
    """

    path: Path
    about: About
    file_hash: str
    logits: NDArray[np.floating] | None
    phi: NDArray[np.floating]
    membership: NDArray[np.bool_]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    sensitivity: NDArray[np.floating] | None
    population_phi: NDArray[np.floating] | None
    audited: NDArray[np.bool_] | None
    accuracies: Mapping[str, NDArray[np.floating]]

    def data_hash(self) -> str:
        """sha256 of the data set where the file names it, else of the examples: their labels and places."""
        return self.about.data_hash or _digest(self.labels, self.index)

    @property
    def named_by_seed(self) -> bool:
        """Whether split_hash stands for complementary pairs drawn from the seed, and not for the memberships."""
        about = self.about
        return about.described["split"] == "pairs" and about.split_hash == pairs_hash(self.index, about.seed)

    def split_hash(self) -> str:
        """sha256 of who holds what, and of what is asked."""
        return self.about.split_hash or _digest(self.membership, *([] if self.audited is None else [self.audited]))


def read_foreign(path: Path) -> ForeignSignals:
    """Read and check a file of signals. UsageError, one line, names the file and what is wrong in it."""
    try:
        arrays = read_table_arrays(path) if path.suffix in TABLES else read_arrays(path)
        digest = file_hash(path)
    except (RunError, OSError) as error:
        raise UsageError(f"argument --signals: {error}") from None
    except Wrong as wrong:
        raise UsageError(f"argument --signals: {path}: {wrong}") from None
    try:
        return _checked(path, arrays, digest)
    except Wrong as wrong:
        raise UsageError(f"argument --signals: {path}: {wrong}") from None


def _checked(path: Path, arrays: Arrays, digest: str) -> ForeignSignals:
    _check_shapes(arrays)
    floats = {name: _as_float(name, array) for name, array in arrays.items() if _kind(name) == "floating point"}
    membership = arrays["membership"].astype(np.bool_)
    per_class = next((floats[name] for name in ("logits", "sensitivity") if name in floats), None)
    _check_sizes(membership, per_class)
    labels = _labels("labels", arrays["labels"], MAX_CLASSES if per_class is None else per_class.shape[2])
    signals = ForeignSignals(
        path=path,
        about=read_about(path, arrays.get("meta")),
        file_hash=digest,
        logits=floats.get("logits"),
        phi=_phi(floats, labels, rounded="logits" in arrays and arrays["logits"].dtype == np.float16),
        membership=membership,
        labels=labels,
        index=_index(arrays.get("index"), labels.size),
        sensitivity=floats.get("sensitivity"),
        population_phi=_population(floats, arrays),
        audited=_audited(arrays.get("audited"), membership),
        accuracies={name: _accuracy(name, floats[name]) for name in ACCURACIES if name in floats},
    )
    _check_split(signals)
    return signals


def _accuracy(name: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    if values.min() < 0 or values.max() > 1:
        raise Wrong(f"{name} must lie in [0, 1]")
    return values


def _check_split(signals: ForeignSignals) -> None:
    """Files of one split_hash are paired example by example: it must be that of what the file holds.

    Of complementary pairs it is that of their seed, which whoever can draw them compares with what the file holds.
    """
    named = signals.about.split_hash
    if signals.named_by_seed:
        return
    if named is not None and named != split_hash(signals.index, signals.membership, signals.audited):
        raise Wrong("meta: split_hash is not that of index, membership and audited")


def _kind(name: str) -> str:
    return FIELDS[name][1]


def _check_shapes(arrays: Arrays) -> None:
    """Names, kinds and shapes; an axis has the length that the first array with it has."""
    missing = next((name for name in REQUIRED if name not in arrays), None)
    if missing is not None:
        raise Wrong(f"it has no array {missing!r}; {', '.join(REQUIRED)} and logits are needed")
    if "logits" not in arrays and "phi" not in arrays:
        raise Wrong("it has no array 'logits'; without them, phi is needed")
    unknown = next((name for name in arrays if name not in FIELDS), None)
    if unknown is not None:
        raise Wrong(f"the array {unknown[:40]!r} is unknown; allowed: {', '.join(FIELDS)}")
    sizes: dict[str, int] = {}
    for name in (name for name in FIELDS if name in arrays):
        array, (axes, kind) = arrays[name], FIELDS[name]
        if not np.issubdtype(array.dtype, KINDS[kind]):
            raise Wrong(f"{name} holds {array.dtype}; it must be {kind}")
        expected = [sizes.get(axis, size) for axis, size in zip(axes, array.shape, strict=False)]
        if len(array.shape) != len(axes) or list(array.shape) != expected:
            known = "".join(f", {axis} = {sizes[axis]}" for axis in axes if axis in sizes)
            raise Wrong(f"{name} has shape {list(array.shape)}; it must be [{', '.join(axes)}]{known}")
        if 0 in array.shape:
            raise Wrong(f"{name} is empty")
        sizes.update(zip(axes, array.shape, strict=True))


def _check_sizes(membership: NDArray[np.bool_], per_class: NDArray[np.floating] | None) -> None:
    models = len(membership)
    if per_class is not None and per_class.shape[2] < 2:
        raise Wrong("logits have one class; two or more are needed (of one logit z of a binary model: [0, z])")
    if models > MAX_MODELS:
        raise Wrong(f"it holds {models} models; allowed: at most {MAX_MODELS}")
    if membership.all() or not membership.any():
        raise Wrong(f"membership is {membership.flat[0]} everywhere; attacks need members and non-members")


def _as_float(name: str, array: NDArray[np.generic]) -> NDArray[np.floating]:
    if not np.isfinite(array).all():
        hint = "; take the logarithm of probabilities that are clipped above 0" if name.endswith("logits") else ""
        raise Wrong(f"{name} holds NaN or infinite values{hint}")
    return np.asarray(array, dtype=np.float32 if array.dtype.itemsize <= 4 else np.float64)


def _labels(name: str, array: NDArray[np.generic], classes: int) -> NDArray[np.int64]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= classes:
        raise Wrong(f"{name} run from {low} to {high}; with {classes} classes they must lie in 0 to {classes - 1}")
    return array.astype(np.int64)


def _phi(floats: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64], rounded: bool) -> NDArray[np.floating]:
    """The phi that was given, whose first query must be that of the logits; else that query alone.

    rounded: whether the logits came as float16.
    """
    logits, given = floats.get("logits"), floats.get("phi")
    if logits is None:
        return floats["phi"]
    plain = np.stack([phi(of_model, labels) for of_model in logits])
    if given is None:
        return plain.astype(logits.dtype)[:, :, None]
    allowed = PHI_TOLERANCE * (1 + np.abs(plain)) + HALF_TOLERANCE * rounded * np.abs(logits).max(axis=2)
    if (np.abs(given[:, :, 0] - plain) > allowed).any():
        raise Wrong("phi of the first query is not z_y - log sum exp of the other logits; leave phi out to have it so")
    return given


def _population(floats: Mapping[str, NDArray[np.floating]], arrays: Arrays) -> NDArray[np.floating] | None:
    logits, given = floats.get("population_logits"), floats.get("population_phi")
    if logits is None:
        if "population_labels" in arrays and given is None:
            raise Wrong("population_labels need population_logits")
        return given
    if given is not None:
        raise Wrong("population_logits and population_phi are two ways to say one thing; give one of them")
    if "population_labels" not in arrays:
        raise Wrong("population_logits need population_labels")
    if "phi" in floats and floats["phi"].shape[2] > 1:
        raise Wrong("population_logits are one query and phi has more; give population_phi [M, P, Q]")
    labels = _labels("population_labels", arrays["population_labels"], logits.shape[2])
    return np.stack([phi(of_model, labels) for of_model in logits]).astype(logits.dtype)[:, :, None]


def _audited(array: NDArray[np.generic] | None, membership: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    if array is None:
        return None
    audited = array.astype(np.bool_)
    if not audited.any():
        raise Wrong("audited marks no example; leave it out to ask about all")
    if membership[1:, audited].any():
        raise Wrong("a shadow model holds an audited example; leave audited out where shadows share the target's pool")
    return audited


def _index(array: NDArray[np.generic] | None, examples: int) -> NDArray[np.int64]:
    if array is None:
        return np.arange(examples)
    index = array.astype(np.int64)
    if index.min() < 0 or np.unique(index).size != examples:
        raise Wrong("index must hold a different place, 0 or above, for every example")
    return index


def _digest(*arrays: NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
