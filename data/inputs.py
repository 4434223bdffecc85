"""What a run reads: its data set and the split that its cell shares."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from configs.experiment import ExperimentConfig
from data.base import DataSet
from data.duplicates import Duplicates, count_duplicates, example_numbers
from data.registry import load_dataset
from data.splits import Split, draw_disjoint, draw_membership, draw_pairs, draw_pool


@functools.lru_cache(maxsize=1)
def _cached_data(
    dataset: str, data_dir: str, image_size: int | None, seed: int, dataset_hash: str | None
) -> tuple[DataSet, str]:
    data = load_dataset(dataset, Path(data_dir), image_size, seed, progress=True)
    return data, data.data_hash()


def _key(config: ExperimentConfig, data_dir: str) -> tuple[Any, ...]:
    return (config.dataset, data_dir, config.image_size, config.seed, config.dataset_hash)


def open_data(config: ExperimentConfig, data_dir: str) -> tuple[DataSet, str]:
    """The data set of a configuration and its hash; kept in memory for the next model of the process."""
    return _cached_data(*_key(config, data_dir))


@functools.lru_cache(maxsize=1)
def _cached_numbers(*data_set: Any) -> Any:
    return example_numbers(_cached_data(*data_set)[0])


def open_duplicates(config: ExperimentConfig, data_dir: str) -> Duplicates:
    """Equal examples in and beside the pool of a configuration; they are hashed once per data set and process."""
    data, _ = open_data(config, data_dir)
    numbers = _cached_numbers(*_key(config, data_dir))
    return count_duplicates(numbers, draw_pool(data.train_labels.numpy(), config.pool_size, config.seed))


def open_split(config: ExperimentConfig, data: DataSet) -> Split:
    """The split of the cell: it depends on the data, the seed and the number of models, never on the method.

    Of complementary pairs the number of models decides only how many are drawn.
    """
    pool = draw_pool(data.train_labels.numpy(), config.pool_size, config.seed)
    if config.split == "pairs":
        return Split(pool, draw_pairs(len(pool), config.num_models, config.seed), pairs_seed=config.seed)
    sizes = (len(pool), config.num_models, config.train_fraction, config.seed)
    return Split(pool, *draw_disjoint(*sizes)) if config.split == "disjoint" else Split(pool, draw_membership(*sizes))
