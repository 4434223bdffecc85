"""A dataset in memory, checked and hashed."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from configs.errors import UsageError
from configs.limits import IMAGE_SIZE_RANGE

MIN_SIDE = IMAGE_SIZE_RANGE[0]
DEFAULT_MEAN = 0.5
DEFAULT_STD = 0.25


class DataSet(ABC):
    """Examples and labels of the training set (the pool's source) and of the test set (in no pool), whatever an example
    is: a subclass has the arrays.

    Labels are int64 [N] in 0..classes-1. `mean` and `std` are what inputs are normalised with.
    """

    train_labels: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    @abstractmethod
    def train_inputs(self) -> Tensor:
        """The training set's examples as they are stored, [N, ...]."""

    @property
    @abstractmethod
    def test_inputs(self) -> Tensor:
        """The test set's."""

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one example: [C, H, H] of a picture, [F] of a table's row."""
        return tuple(self.train_inputs.shape[1:])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def data_hash(self) -> str:
        """SHA-256 (hex) over every array with its shape, the class names and the normalisation."""
        arrays = (self.train_inputs, self.train_labels, self.test_inputs, self.test_labels)
        header = [[list(array.shape) for array in arrays], self.class_names, self.mean, self.std]
        digest = hashlib.sha256(json.dumps(header).encode("ascii"))
        for array in arrays:
            values = array.numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def _check_labels(self) -> None:
        _check_labels("training", self.train_labels, len(self.train_inputs), self.class_names)
        _check_labels("test", self.test_labels, len(self.test_inputs), self.class_names)


@dataclass(frozen=True, eq=False)
class ImageData(DataSet):
    """Square pictures and labels of the training set (the pool's source) and of the test set (in no pool).

    Pictures are uint8 [N, C, H, H], contiguous, on the CPU; labels int64 [N] in 0..classes-1.
    `mean` and `std` normalise each channel on the 0..1 scale. They are constants, written down in the source and never
    taken over the data at hand: a mean over the pool would carry non-members of a model into its training.

    Raises UsageError where arrays do not have that form, a label is out of range, or a class has no example.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_pictures("training", self.train_images)
        _check_pictures("test", self.test_images)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            shapes = f"{list(self.train_images.shape[1:])} and {list(self.test_images.shape[1:])}"
            raise UsageError(f"--dataset: training and test pictures differ in shape: {shapes}")
        if not len(self.mean) == len(self.std) == self.channels or min(self.std) <= 0:
            raise UsageError(f"--dataset: mean and std > 0 are needed for each of {self.channels} channels")
        self._check_labels()

    @property
    def train_inputs(self) -> Tensor:
        return self.train_images

    @property
    def test_inputs(self) -> Tensor:
        return self.test_images

    @property
    def channels(self) -> int:
        return int(self.train_images.shape[1])

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train_images.shape[2])


@dataclass(frozen=True, eq=False)
class TableData(DataSet):
    """Rows of features and labels of the training set (the pool's source) and of the test set (in no pool).

    Features are finite float32 [N, F], contiguous, on the CPU; labels int64 [N] in 0..classes-1.
    `mean` and `std` standardise each feature, `(value - mean) / std`. They are published or chosen constants, or taken
    over the test set (`test_range`), never over the training set: a mean over the pool would carry non-members of a
    model into its training.

    Raises UsageError where arrays do not have that form, a label is out of range, or a class has no example.
    """

    train_features: Tensor
    train_labels: Tensor
    test_features: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_features("training", self.train_features)
        _check_features("test", self.test_features)
        features = self.train_features.shape[1]
        if self.test_features.shape[1] != features:
            both = f"{features} and {self.test_features.shape[1]}"
            raise UsageError(f"--dataset: training and test rows differ in their number of features: {both}")
        sound = all(math.isfinite(value) for value in (*self.mean, *self.std)) and min(self.std, default=0) > 0
        if not (len(self.mean) == len(self.std) == features and sound):
            raise UsageError(f"--dataset: finite mean and std > 0 are needed for each of {features} features")
        self._check_labels()

    @property
    def train_inputs(self) -> Tensor:
        return self.train_features

    @property
    def test_inputs(self) -> Tensor:
        return self.test_features


def test_range(test_features: Tensor) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` for a table without constants of its own: each feature's smallest value in the test set, and its
    range there (1 where it has none), so that features run from 0 to 1 and yes-or-no ones stay what they are.

    The test set is in nobody's pool, so its range says nothing of members and non-members. Divided by its standard
    deviation, a yes that one row in a thousand has would become 30.
    """
    low, high = test_features.double().min(0).values, test_features.double().max(0).values
    span = torch.where(high > low, high - low, torch.ones_like(low))
    return {"mean": tuple(low.tolist()), "std": tuple(span.tolist())}


def unpublished_normalisation(channels: int) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` for data that has no published constants: 0.5 and 0.25 a channel, whatever the pictures are."""
    return {"mean": (DEFAULT_MEAN,) * channels, "std": (DEFAULT_STD,) * channels}


def _check_pictures(part: str, images: Tensor) -> None:
    refuse = partial(_refuse, part)
    if images.dtype != torch.uint8 or images.dim() != 4 or not images.is_contiguous():
        refuse(f"pictures must be contiguous uint8 [N, C, H, W], got {images.dtype} {list(images.shape)}")
    if images.shape[2] != images.shape[3] or images.shape[2] < MIN_SIDE:
        refuse(f"pictures must be square, {MIN_SIDE} pixels or more a side, got {list(images.shape[2:])}")


def _check_features(part: str, features: Tensor) -> None:
    refuse = partial(_refuse, part)
    if features.dtype != torch.float32 or features.dim() != 2 or not features.is_contiguous():
        refuse(f"features must be contiguous float32 [N, F], got {features.dtype} {list(features.shape)}")
    if features.shape[1] < 1:
        refuse("rows need one feature or more")
    if not torch.isfinite(features).all():
        refuse("a feature is NaN or infinite; give finite numbers")


def _check_labels(part: str, labels: Tensor, count: int, class_names: tuple[str, ...]) -> None:
    refuse = partial(_refuse, part)
    if labels.dtype != torch.int64 or labels.shape != (count,) or not labels.is_contiguous():
        refuse(f"labels must be contiguous int64 [{count}], got {labels.dtype} {list(labels.shape)}")
    if len(class_names) < 2:
        refuse(f"there is one class only ({', '.join(class_names)}); at least two are needed")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
        refuse(f"labels run from {int(labels.min())} to {int(labels.max())}, allowed: 0 to {len(class_names) - 1}")
    counts = torch.bincount(labels, minlength=len(class_names)).tolist()
    missing = [name for name, examples in zip(class_names, counts, strict=True) if examples == 0]
    if missing:
        refuse(f"class {', '.join(map(repr, missing))} has no example; every class needs one or more")


def _refuse(part: str, problem: str) -> None:
    raise UsageError(f"--dataset, {part} set: {problem}")
