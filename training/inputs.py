"""What a run reads: its data set and the split that its cell shares."""

from __future__ import annotations

import functools
from pathlib import Path

from configs.config import ExperimentConfig
from data.base import ImageData
from data.registry import load_dataset
from data.splits import Split, draw_disjoint, draw_membership, draw_pool


@functools.lru_cache(maxsize=1)
def _cached_data(dataset: str, data_dir: str, image_size: int | None, seed: int) -> tuple[ImageData, str]:
    data = load_dataset(dataset, Path(data_dir), image_size, seed, progress=True)
    return data, data.data_hash()


def open_data(config: ExperimentConfig, data_dir: str) -> tuple[ImageData, str]:
    """The data set of a configuration and its hash; kept in memory for the next model of the process."""
    return _cached_data(config.dataset, data_dir, config.image_size, config.seed)


def open_split(config: ExperimentConfig, data: ImageData) -> Split:
    """The split of the cell: it depends on the data, the seed and the number of models, never on the method."""
    pool = draw_pool(data.train_labels.numpy(), config.pool_size, config.seed)
    sizes = (len(pool), config.num_models, config.train_fraction, config.seed)
    return Split(pool, *draw_disjoint(*sizes)) if config.split == "disjoint" else Split(pool, draw_membership(*sizes))
