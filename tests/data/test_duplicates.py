"""Equal pictures in and beside a pool, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.base import ImageData
from data.duplicates import Duplicates, count_duplicates, example_numbers
from data.registry import load_dataset


def made_up(train: str, test: str) -> ImageData:
    """A data set whose pictures of one letter are equal; labels alternate."""

    def pictures(letters: str) -> torch.Tensor:
        seeds = [torch.Generator().manual_seed(ord(letter)) for letter in letters]
        return torch.stack([torch.randint(256, (1, 4, 4), dtype=torch.uint8, generator=seed) for seed in seeds])

    labels = [torch.arange(len(letters)) % 2 for letters in (train, test)]
    parts = (pictures(train), labels[0], pictures(test), labels[1])
    return ImageData(*parts, class_names=("a", "b"), mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize(
    ("pool", "in_pool", "in_test"),
    [
        ([0, 1, 2, 3, 4, 5], 5, 3),  # x x x, y y; x x x again in the test set
        ([0, 1, 4, 5], 2, 2),
        ([0, 5], 0, 1),  # the others of x are not in this pool
        ([5], 0, 0),
    ],
)
def test_counts_by_hand(pool: list[int], in_pool: int, in_test: int) -> None:
    data = made_up("xxxyyz", "xwvx")
    assert count_duplicates(example_numbers(data), np.array(pool)) == Duplicates(in_pool, in_test)


def test_one_pixel_is_a_difference_and_a_label_is_none() -> None:
    data = made_up("xx", "vw")
    assert data.train_labels.tolist() == [0, 1]
    assert count_duplicates(example_numbers(data), np.arange(2)) == Duplicates(2, 0)
    data.train_images[1, 0, 3, 3] ^= 1
    assert count_duplicates(example_numbers(data), np.arange(2)) == Duplicates(0, 0)


def test_the_digits_have_none() -> None:
    data = load_dataset("digits", Path("nowhere"), None, 0, progress=False)
    assert count_duplicates(example_numbers(data), np.arange(1400)) == Duplicates(0, 0)


def test_words_name_what_there_is() -> None:
    pool, test = (f"examples of the pool with an equal one {where}" for where in ("elsewhere in it", "in the test"))
    assert Duplicates(0, 0).in_words() == ""
    assert Duplicates(2, 0).in_words().startswith(f"{pool}: 2, so ")
    assert test not in Duplicates(2, 0).in_words()
    assert Duplicates(0, 3).in_words().startswith(f"{test} set: 3, so ")
    assert f"{pool}: 2, so " in Duplicates(2, 1).in_words()
    assert f"{test} set: 1, so " in Duplicates(2, 1).in_words()
