"""scikit-learn's handwritten digits: embedded in the package, so that everything runs without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.base import DEFAULT_MEAN, DEFAULT_STD, ImageData, TableData, unpublished_normalisation
from data.splits import draw_pool

TRAIN_SIZE = 1400
# Fixed once: which 1,400 of the 1,797 digits are the training set is part of the dataset, not of an experiment.
SPLIT_SEED = 1797
MAX_VALUE = 16


def load(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """1,400 training and 397 test pictures of 1x8x8, values 0..16 stretched to 0..255, stratified by class.

    The same for every seed; no argument is used.
    """
    values, labels, train, test = _read()
    images = np.rint(values * (255 / MAX_VALUE)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return ImageData(
        train_images=torch.from_numpy(images[train]),
        train_labels=torch.from_numpy(labels[train]),
        test_images=torch.from_numpy(images[test]),
        test_labels=torch.from_numpy(labels[test]),
        class_names=tuple("0123456789"),
        **unpublished_normalisation(1),
    )


def load_table(data_dir: Path, image_size: int, seed: int, progress: bool) -> TableData:
    """The same digits as rows of 64 features from 0 to 16, shifted by 8 and divided by 4; no argument is used.

    The constants are chosen, as those of the pictures, which they equal up to the pictures' rounding to bytes.
    """
    values, labels, train, test = _read()
    features = values.astype(np.float32)
    return TableData(
        train_features=torch.from_numpy(features[train]),
        train_labels=torch.from_numpy(labels[train]),
        test_features=torch.from_numpy(features[test]),
        test_labels=torch.from_numpy(labels[test]),
        class_names=tuple("0123456789"),
        mean=(DEFAULT_MEAN * MAX_VALUE,) * features.shape[1],
        std=(DEFAULT_STD * MAX_VALUE,) * features.shape[1],
    )


def _read() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Values [1797, 64], labels, and which digits are the training and the test set."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    labels = labels.astype(np.int64)
    train = draw_pool(labels, TRAIN_SIZE, SPLIT_SEED)
    return values, labels, train, np.setdiff1d(np.arange(len(labels)), train)
