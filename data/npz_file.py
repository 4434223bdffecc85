"""Data of the user's own in one .npz file: pictures or a table, with labels (docs/data.md).

Arrays `train_x`, `train_y`, `test_x`, `test_y`, and `mean` with `std` where the data have constants of their own. The
file may come from anybody: nothing in it is unpickled, and sizes are checked before room is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import read_arrays, read_forms
from configs.errors import RunError, UsageError

if TYPE_CHECKING:
    from data.base import ImageData, TableData

PICTURES, TABLE = "npz", "npz_table"  # names of the registry
NEEDED = ("train_x", "train_y", "test_x", "test_y")
CONSTANTS = ("mean", "std")
MOST_SHOWN = 80


def kind_of(path: Path) -> str:
    """PICTURES or TABLE, by shape and dtype of `train_x` alone. UsageError, one line, for anything else."""
    try:
        forms = read_forms(path)
    except RunError as error:
        raise _refused(path, str(error).removeprefix(f"{path} ")) from None
    missing = [name for name in NEEDED if name not in forms]
    if missing:
        raise _refused(path, f"has no array {missing[0]}; it needs {', '.join(NEEDED)}")
    unknown = sorted(set(forms) - {*NEEDED, *CONSTANTS})
    if unknown:
        allowed = ", ".join((*NEEDED, *CONSTANTS))
        raise _refused(path, f"has an array {unknown[0][:MOST_SHOWN]!r}, which is none of {allowed}")
    shape, dtype = forms["train_x"]
    if dtype == np.uint8 and len(shape) in (3, 4):
        return PICTURES
    if dtype.kind == "f" and len(shape) == 2:
        return TABLE
    raise _refused(
        path,
        f"has a train_x of {dtype} {list(shape)}; pictures are uint8 [N, C, H, H] or [N, H, H, C], a table is "
        "float [N, F]",
    )


def load_pictures(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """The pictures of the file `data_dir`, [N, C, H, H] or [N, H, H, C], or [N, H, H] of one channel.

    `mean` and `std`, of each channel on the 0..1 scale, are the file's or 0.5 and 0.25. The other arguments are not
    used. UsageError naming the file where it does not hold that.
    """
    import torch

    from data.base import ImageData, unpublished_normalisation

    arrays = _read(data_dir, PICTURES)
    train, test = (_channels_first(data_dir, part, arrays[f"{part}_x"]) for part in ("train", "test"))
    labels, class_names = _labels(data_dir, arrays)
    constants = _constants(data_dir, arrays, train.shape[1], "channels") or unpublished_normalisation(train.shape[1])
    try:
        return ImageData(
            torch.from_numpy(train), labels[0], torch.from_numpy(test), labels[1], class_names, **constants
        )
    except UsageError as error:
        raise _named(data_dir, error) from None


def load_table(data_dir: Path, image_size: int, seed: int, progress: bool) -> TableData:
    """The table of the file `data_dir`, in float32.

    `mean` and `std` of each feature are the file's, or those of `data.base.test_range`. The other arguments are not
    used. UsageError naming the file where it does not hold that.
    """
    import torch

    from data.base import TableData, test_range

    arrays = _read(data_dir, TABLE)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        # + 0: -0.0 equals 0.0, and is to have the same bytes
        parts = [
            np.ascontiguousarray(arrays[f"{part}_x"], dtype=np.float32) + np.float32(0) for part in ("train", "test")
        ]
    train, test = map(torch.from_numpy, parts)
    if test.dim() != 2 or not len(test):
        raise _refused(data_dir, f"has a test_x of shape {list(test.shape)}; it must be [N, F] with a row or more")
    labels, class_names = _labels(data_dir, arrays)
    constants = _constants(data_dir, arrays, train.shape[1], "features") or test_range(test)
    try:
        return TableData(train, labels[0], test, labels[1], class_names, **constants)
    except UsageError as error:
        raise _named(data_dir, error) from None


def _read(path: Path, kind: str) -> dict[str, NDArray[Any]]:
    if kind_of(path) != kind:
        held = "a table" if kind == PICTURES else "pictures"
        raise _refused(path, f"holds {held} now; give it as --dataset {path}")
    try:
        arrays = read_arrays(path)
    except RunError as error:
        raise _refused(path, str(error).removeprefix(f"{path} ")) from None
    train, test = arrays["train_x"], arrays["test_x"]
    if test.dtype.kind != train.dtype.kind or (kind == PICTURES and test.dtype != train.dtype):
        raise _refused(path, f"has a train_x of {train.dtype} and a test_x of {test.dtype}; they must be of one kind")
    return arrays


def _channels_first(path: Path, part: str, pictures: NDArray[Any]) -> NDArray[np.uint8]:
    """Pictures as [N, C, H, H]. Which axis counts the channels is told by the two others, which are equal."""
    if pictures.ndim == 3:
        pictures = pictures[:, None]
    shape = pictures.shape
    first, last = shape[2:3] == shape[3:], shape[1:2] == shape[2:3]
    if pictures.ndim != 4 or not (first or last):
        raise _refused(path, f"has a {part}_x of shape {list(shape)}; pictures must be square")
    if first and last:
        raise _refused(
            path,
            f"has a {part}_x of shape {list(shape)}, which may be [N, C, H, H] or [N, H, H, C]; give pictures with "
            "another number of channels than pixels a side",
        )
    return np.ascontiguousarray(pictures if first else pictures.transpose(0, 3, 1, 2))


def _labels(path: Path, arrays: dict[str, NDArray[Any]]) -> tuple[list[Any], tuple[str, ...]]:
    """int64 tensors of both parts, and the classes 0..K-1, K being one more than the largest label there is."""
    import torch

    for part in ("train", "test"):
        labels = arrays[f"{part}_y"]
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) != len(arrays[f"{part}_x"]):
            n = len(arrays[f"{part}_x"])
            raise _refused(path, f"has a {part}_y of {labels.dtype} {list(labels.shape)}; it must be integers [{n}]")
    there = sorted({int(label) for part in ("train", "test") for label in np.unique(arrays[f"{part}_y"])})
    if there != list(range(len(there))) or not there:
        some = ", ".join(str(label) for label in there[:4]) + (", ..." if len(there) > 4 else "")
        raise _refused(path, f"has the labels {some}; they must be 0 to K - 1, each there")
    tensors = [torch.from_numpy(arrays[f"{part}_y"].astype(np.int64)) for part in ("train", "test")]
    return tensors, tuple(str(label) for label in range(len(there)))


def _constants(path: Path, arrays: dict[str, NDArray[Any]], count: int, of: str) -> dict[str, tuple[float, ...]]:
    """The file's own mean and std; nothing where it has neither."""
    given = [name for name in CONSTANTS if name in arrays]
    if len(given) == 1:
        raise _refused(path, f"has {given[0]} alone; mean and std go together")
    for name in given:
        if arrays[name].dtype.kind not in "iuf" or arrays[name].shape != (count,):
            got = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise _refused(path, f"has a {name} of {got}; it must be numbers [{count}], one for each of the {of}")
    return {name: tuple(arrays[name].astype(np.float64).tolist()) for name in given}


def _refused(path: Path, words: str) -> UsageError:
    return UsageError(f"--dataset {path}: {words}")


def _named(path: Path, error: UsageError) -> UsageError:
    """A refusal of the data set itself, with the file in the place of the flag alone."""
    return _refused(path, str(error).removeprefix("--dataset").lstrip(":, "))
