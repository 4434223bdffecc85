"""scikit-learn's handwritten digits: embedded in the package, so that everything runs without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data.base import ImageData, unpublished_normalisation
from data.splits import draw_pool

TRAIN_SIZE = 1400
# Fixed once: which 1,400 of the 1,797 digits are the training set is part of the dataset, not of an experiment.
SPLIT_SEED = 1797
MAX_VALUE = 16


def load(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """1,400 training and 397 test pictures of 1x8x8, values 0..16 stretched to 0..255, stratified by class.

    The same for every seed; no argument is used.
    """
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    images = np.rint(values * (255 / MAX_VALUE)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    train = draw_pool(labels, TRAIN_SIZE, SPLIT_SEED)
    test = np.setdiff1d(np.arange(len(labels)), train)
    return ImageData(
        train_images=torch.from_numpy(images[train]),
        train_labels=torch.from_numpy(labels[train]),
        test_images=torch.from_numpy(images[test]),
        test_labels=torch.from_numpy(labels[test]),
        class_names=tuple("0123456789"),
        **unpublished_normalisation(1),
    )
