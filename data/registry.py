"""The datasets by name. Importing this module costs nothing: a loader is looked up when a dataset is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from configs.errors import UsageError
from configs.limits import DEFAULT_IMAGE_SIZE, IMAGE_SIZE_RANGE

if TYPE_CHECKING:
    from data.base import DataSet


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset.

    `load` is "module:function" of a `(data_dir, image_size, seed, progress) -> DataSet`.
    `needs_folder` says that `--data-dir` has to name a folder of the user's own pictures, which `--image-size`
    resizes, and `needs_file` that it has to name a file of the user's own; the others either carry their data with them
    or download it into `--data-dir`.
    `shape` is channels of a picture and classes, where they are known without the data.
    `augment` is how its pictures are augmented where nobody says: a digit's mirror image is no digit.
    `table` says that its examples are rows of features, for which only a network for tables will do.
    """

    load: str
    needs_folder: bool
    summary: str
    augment: str = "standard"
    shape: tuple[int, int] | None = None
    table: bool = False
    needs_file: bool = False

    @property
    def is_own(self) -> bool:
        """Whether the data are the user's own, so that they may change."""
        return self.needs_folder or self.needs_file


DATASETS = {
    "cifar10": DatasetEntry(
        "data.torchvision_sets:load_cifar10", False, "CIFAR-10: 50,000 + 10,000, 3x32x32", shape=(3, 10)
    ),
    "cifar100": DatasetEntry(
        "data.torchvision_sets:load_cifar100", False, "CIFAR-100: 50,000 + 10,000, 3x32x32", shape=(3, 100)
    ),
    "fashion_mnist": DatasetEntry(
        "data.torchvision_sets:load_fashion_mnist", False, "Fashion-MNIST: 60,000 + 10,000, 1x28x28", shape=(1, 10)
    ),
    "svhn": DatasetEntry(
        "data.torchvision_sets:load_svhn", False, "SVHN: 73,257 + 26,032, 3x32x32", augment="crop", shape=(3, 10)
    ),
    "digits": DatasetEntry(
        "data.digits:load", False, "scikit-learn's digits: 1,400 + 397, 1x8x8, no download", shape=(1, 10)
    ),
    "imagefolder": DatasetEntry(
        "data.imagefolder:load", True, "your pictures: DIR/train/<class>/*, DIR/test/<class>/*"
    ),
    "synthetic": DatasetEntry("data.synthetic:load", False, "noise with arbitrary labels: 512 + 128, 3x16x16"),
    "digits_table": DatasetEntry(
        "data.digits:load_table", False, "the digits as a table: 1,400 + 397, 64 features", augment="none", table=True
    ),
    "synthetic_table": DatasetEntry(
        "data.synthetic:load_table", False, "noise as a table: 512 + 128, 32 features", augment="none", table=True
    ),
    "npz": DatasetEntry(
        "data.npz_file:load_pictures", False, "your pictures: `--dataset FILE.npz` of uint8 arrays", needs_file=True
    ),
    "npz_table": DatasetEntry(
        "data.npz_file:load_table",
        False,
        "your table: `--dataset FILE.npz` of float arrays",
        augment="none",
        table=True,
        needs_file=True,
    ),
}


def load_dataset(name: str, data_dir: Path, image_size: int | None, seed: int, progress: bool) -> DataSet:
    """The dataset `name`, whole and in memory.

    `data_dir` is where downloads go, or the folder of pictures, or the file of arrays; datasets that need no files
    ignore it.
    `image_size` is the side in pixels to which `imagefolder` resizes (None: 32); elsewhere it has to be None.
    `seed` draws the synthetic examples; every other dataset is the same for all seeds.
    `progress` allows a bar on stderr, which is drawn on a terminal only.

    Raises UsageError, naming the flag, for an unknown name, a wrong size, and files that are missing or unreadable.
    """
    if name not in DATASETS:
        raise UsageError(f"--dataset {name}: unknown dataset; allowed: {', '.join(DATASETS)}")
    entry = DATASETS[name]
    if image_size is not None and not entry.needs_folder:
        raise UsageError(f"--image-size {image_size}: --dataset {name} has a fixed picture size; leave the flag out")
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    smallest, largest = IMAGE_SIZE_RANGE
    if not smallest <= size <= largest:
        raise UsageError(f"--image-size {size}: out of range; allowed: {smallest} to {largest}")
    load: Callable[[Path, int, int, bool], DataSet] = resolve_name(entry.load)
    return load(Path(data_dir).expanduser(), size, seed, progress)


def needs_download(name: str, data_dir: Path) -> bool:
    """Whether loading this data set would download it first."""
    module, _, _ = DATASETS[name].load.partition(":")
    if not module.endswith("torchvision_sets"):
        return False
    at_hand: Callable[[str, Path], bool] = resolve_name(f"{module}:at_hand")
    return not at_hand(name, Path(data_dir).expanduser())


def folder_name(data_dir: Path) -> str:
    """The folder's own name in the letters A-Z a-z 0-9 . _ - (others become -), to name a cell; never empty."""
    return _safe(Path(os.path.abspath(Path(data_dir).expanduser())).name) or "imagefolder"


def file_name(path: Path) -> str:
    """The same of a file, without what its name ends with."""
    return _safe(Path(path).stem) or "npz"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
