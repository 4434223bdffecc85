"""A dataset in memory, checked and hashed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from configs.errors import UsageError
from configs.limits import IMAGE_SIZE_RANGE

MIN_SIDE = IMAGE_SIZE_RANGE[0]
DEFAULT_MEAN = 0.5
DEFAULT_STD = 0.25


@dataclass(frozen=True, eq=False)
class ImageData:
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
        _check_labels("training", self.train_labels, len(self.train_images), self.class_names)
        _check_labels("test", self.test_labels, len(self.test_images), self.class_names)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return int(self.train_images.shape[1])

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train_images.shape[2])

    def data_hash(self) -> str:
        """SHA-256 (hex) over every array with its shape, the class names and the normalisation."""
        arrays = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        header = [[list(array.shape) for array in arrays], self.class_names, self.mean, self.std]
        digest = hashlib.sha256(json.dumps(header).encode("ascii"))
        for array in arrays:
            values = array.numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()


def unpublished_normalisation(channels: int) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` for data that has no published constants: 0.5 and 0.25 a channel, whatever the pictures are."""
    return {"mean": (DEFAULT_MEAN,) * channels, "std": (DEFAULT_STD,) * channels}


def _check_pictures(part: str, images: Tensor) -> None:
    refuse = partial(_refuse, part)
    if images.dtype != torch.uint8 or images.dim() != 4 or not images.is_contiguous():
        refuse(f"pictures must be contiguous uint8 [N, C, H, W], got {images.dtype} {list(images.shape)}")
    if images.shape[2] != images.shape[3] or images.shape[2] < MIN_SIDE:
        refuse(f"pictures must be square, {MIN_SIDE} pixels or more a side, got {list(images.shape[2:])}")


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
