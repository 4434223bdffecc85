"""ImageData: what it refuses, and that its hash covers everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from configs.errors import UsageError
from data.base import ImageData


@pytest.fixture
def data() -> ImageData:
    return ImageData(
        train_images=torch.arange(3 * 2 * 4 * 4, dtype=torch.uint8).reshape(3, 2, 4, 4),
        train_labels=torch.tensor([0, 1, 0]),
        test_images=torch.zeros(2, 2, 4, 4, dtype=torch.uint8),
        test_labels=torch.tensor([1, 0]),
        class_names=("cat", "dog"),
        mean=(0.5, 0.5),
        std=(0.25, 0.25),
    )


def test_properties(data: ImageData) -> None:
    assert (data.num_classes, data.channels, data.image_size) == (2, 2, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"train_labels": torch.tensor([0, 1, 1])},
        {"test_labels": torch.tensor([0, 1])},
        {"test_images": torch.ones(2, 2, 4, 4, dtype=torch.uint8)},
        {"train_images": torch.zeros(3, 2, 4, 4, dtype=torch.uint8)},
        {"class_names": ("cat", "fox")},
        {"mean": (0.5, 0.4)},
        {"std": (0.25, 0.2)},
    ],
)
def test_hash_covers_every_field(data: ImageData, change: dict[str, Any]) -> None:
    assert len(data.data_hash()) == 64
    assert replace(data).data_hash() == data.data_hash()
    assert replace(data, **change).data_hash() != data.data_hash()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": torch.zeros(3, 2, 4, 4)}, "training set: pictures must be contiguous uint8"),
        ({"test_images": torch.zeros(2, 4, 4, dtype=torch.uint8)}, "test set: pictures must be contiguous uint8"),
        ({"train_images": torch.zeros(3, 4, 4, 2, dtype=torch.uint8).permute(0, 3, 1, 2)}, "must be contiguous"),
        ({"train_images": torch.zeros(3, 2, 4, 5, dtype=torch.uint8)}, "must be square"),
        ({"train_images": torch.zeros(3, 2, 3, 3, dtype=torch.uint8)}, "4 pixels or more"),
        ({"test_images": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)}, "differ in shape"),
        ({"train_labels": torch.tensor([0, 1])}, r"labels must be contiguous int64 \[3\]"),
        ({"train_labels": torch.tensor([0, 1, 0], dtype=torch.int32)}, "int64"),
        ({"train_labels": torch.tensor([0, 1, 2])}, "labels run from 0 to 2, allowed: 0 to 1"),
        ({"test_labels": torch.tensor([-1, 1])}, "labels run from -1 to 1"),
        ({"train_labels": torch.tensor([0, 0, 0])}, "training set: class 'dog' has no example"),
        ({"test_labels": torch.tensor([1, 1])}, "test set: class 'cat' has no example"),
        ({"class_names": ("cat",)}, "one class only"),
        ({"mean": (0.5,)}, "mean and std"),
        ({"std": (0.25, 0.0)}, "std > 0"),
    ],
)
def test_refuses(data: ImageData, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(data, **change)


def test_a_class_name_that_is_no_text_can_be_hashed(data: ImageData) -> None:
    assert len(replace(data, class_names=("cat", "\udcff")).data_hash()) == 64
