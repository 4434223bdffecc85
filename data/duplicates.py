"""Equal examples: one that is in the pool twice, or in the pool and in the test set, blurs what membership means.

A network that never trained on an example has trained on it all the same where it trained on an equal one.
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

    from data.base import DataSet

IntArray = NDArray[np.int64]
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Duplicates:
    """How many examples of a pool have an equal one elsewhere in it, and how many have one in the test set."""

    duplicates_in_pool: int
    duplicates_in_test: int

    def in_words(self) -> str:
        """What that means where there are any, else nothing."""
        said = []
        if self.duplicates_in_pool:
            said.append(
                f"examples of the pool with an equal one elsewhere in it: {self.duplicates_in_pool}, so a non-member "
                "may be what a member is"
            )
        if self.duplicates_in_test:
            said.append(
                f"examples of the pool with an equal one in the test set: {self.duplicates_in_test}, so test accuracy "
                "and RMIA's population rest on examples that may have been trained on"
            )
        return "; ".join(said)


def example_numbers(data: DataSet) -> tuple[IntArray, IntArray]:
    """A number for each example of the training set, [N], and of the test set, [T]: the same for equal bytes alone.

    Labels do not count: the same example under another label is blurred as well.
    """
    numbers: dict[bytes, int] = {}
    train, test = (
        np.fromiter((numbers.setdefault(digest, len(numbers)) for digest in _digests(inputs)), np.int64, len(inputs))
        for inputs in (data.train_inputs, data.test_inputs)
    )
    return train, test


def _digests(inputs: Tensor) -> Iterator[bytes]:
    for example in inputs.numpy().reshape(len(inputs), -1):
        yield hashlib.blake2b(example.data, digest_size=DIGEST_BYTES).digest()


def count_duplicates(numbers: tuple[IntArray, IntArray], pool: IntArray) -> Duplicates:
    """numbers: of `example_numbers`. pool: indices into the training set, [n]."""
    train, test = numbers
    own = train[pool]
    _, where, times = np.unique(own, return_inverse=True, return_counts=True)
    return Duplicates(int((times[where] > 1).sum()), int(np.isin(own, test).sum()))
