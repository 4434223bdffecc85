"""Noise with arbitrary labels: the only way to fit it is to memorise it, so attacks have the most to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data.base import DEFAULT_MEAN, DEFAULT_STD, ImageData, TableData, unpublished_normalisation

TRAIN_SIZE = 512
TEST_SIZE = 128
CLASSES = 10
SHAPE = (3, 16, 16)
FEATURES = 32
SEED_TAG = 0x5717
TABLE_TAG = 0x7AB1


def load(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """512 training and 128 test pictures of 3x16x16, every value uniform on 0..255, drawn from `seed` alone.

    Labels go round the 10 classes (balanced to one example) and are independent of the pixels, as these are of
    each other: accuracy on the test set is chance. The other arguments are not used.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, SEED_TAG])))
    pixels = generator.integers(0, 256, size=(TRAIN_SIZE + TEST_SIZE, *SHAPE), dtype=np.uint8)
    images = torch.from_numpy(pixels)
    return ImageData(
        train_images=images[:TRAIN_SIZE].clone(),
        train_labels=torch.arange(TRAIN_SIZE) % CLASSES,
        test_images=images[TRAIN_SIZE:].clone(),
        test_labels=torch.arange(TEST_SIZE) % CLASSES,
        class_names=tuple(f"class_{index}" for index in range(CLASSES)),
        **unpublished_normalisation(SHAPE[0]),
    )


def load_table(data_dir: Path, image_size: int, seed: int, progress: bool) -> TableData:
    """The same as a table: 512 training and 128 test rows of 32 features, each uniform on 0..1."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, TABLE_TAG])))
    features = torch.from_numpy(generator.random((TRAIN_SIZE + TEST_SIZE, FEATURES)).astype(np.float32))
    return TableData(
        train_features=features[:TRAIN_SIZE].clone(),
        train_labels=torch.arange(TRAIN_SIZE) % CLASSES,
        test_features=features[TRAIN_SIZE:].clone(),
        test_labels=torch.arange(TEST_SIZE) % CLASSES,
        class_names=tuple(f"class_{index}" for index in range(CLASSES)),
        mean=(DEFAULT_MEAN,) * FEATURES,
        std=(DEFAULT_STD,) * FEATURES,
    )
