"""Equal pictures: one that is in the pool twice, or in the pool and in the test set, blurs what membership means.

A network that never trained on an example has trained on it all the same where it trained on an equal picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from data.base import ImageData

IntArray = NDArray[np.int64]
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Duplicates:
    """How many examples of a pool have an equal picture elsewhere in it, and how many have one in the test set."""

    duplicates_in_pool: int
    duplicates_in_test: int

    def in_words(self) -> str:
        """What that means where there are any, else nothing."""
        said = []
        if self.duplicates_in_pool:
            said.append(
                f"examples of the pool with an equal picture elsewhere in it: {self.duplicates_in_pool}, so the "
                "picture of a non-member may be that of a member"
            )
        if self.duplicates_in_test:
            said.append(
                f"examples of the pool with an equal picture in the test set: {self.duplicates_in_test}, so test "
                "accuracy and RMIA's population rest on pictures that may have been trained on"
            )
        return "; ".join(said)


def picture_numbers(data: ImageData) -> tuple[IntArray, IntArray]:
    """A number for each picture of the training set, [N], and of the test set, [T]: the same for equal bytes alone.

    Labels do not count: the same picture under another label is blurred as well.
    """
    numbers: dict[bytes, int] = {}
    train, test = (
        np.fromiter((numbers.setdefault(digest, len(numbers)) for digest in _digests(images)), np.int64, len(images))
        for images in (data.train_images, data.test_images)
    )
    return train, test


def _digests(images: Tensor) -> Iterator[bytes]:
    for picture in images.numpy().reshape(len(images), -1):
        yield hashlib.blake2b(picture.data, digest_size=DIGEST_BYTES).digest()


def count_duplicates(numbers: tuple[IntArray, IntArray], pool: IntArray) -> Duplicates:
    """numbers: of `picture_numbers`. pool: indices into the training set, [n]."""
    train, test = numbers
    own = train[pool]
    _, where, times = np.unique(own, return_inverse=True, return_counts=True)
    return Duplicates(int((times[where] > 1).sum()), int(np.isin(own, test).sum()))
