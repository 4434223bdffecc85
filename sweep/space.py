"""Room on the disk: what runs will need, and whether it is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from data.base import DataSet
from pruning.weights import prunable_weights
from training.networks import blank_model

NUMBER = 4  # bytes of a float32
STATES = 3  # two checkpoints, and a third while it is written


def run_bytes(
    config: ExperimentConfig, data: DataSet, queries: QuerySettings, kept: int = 0, traced: bool = False
) -> int:
    """Bytes of one run's folder at its largest: weights, checkpoints and signals; the small files are left out.

    kept: how many states it keeps for other runs. traced: whether each member's loss at every epoch is kept.
    """
    model = blank_model(config, data)
    numbers = sum(value.numel() for value in model.state_dict().values())
    prunable = sum(value.numel() for value in prunable_weights(model, config.prune_layers or "conv").values())
    weights = NUMBER * numbers + prunable  # with masks of a byte a weight
    state = 2 * NUMBER * numbers + NUMBER * prunable + prunable  # model, momentum, dense weights, mask
    if config.select == "best":
        state += weights
    pool = min(config.pool_size or len(data.train_labels), len(data.train_labels))
    classes = data.num_classes * (2 if queries.samia else 1)
    population = min(queries.population, len(data.test_labels))
    signals = pool * (17 + NUMBER * (classes + queries.num_queries)) + NUMBER * population * queries.num_queries
    traces = 2 * config.total_epochs * config.train_fraction * pool if traced else 0  # of float16, in each state too
    return int(weights + STATES * state + kept * (2 * NUMBER * numbers + traces) + signals + (STATES + 1) * traces)


def shortfall(needed: Iterable[int], folder: Path) -> str | None:
    """None where there is room for all of it below `folder`, else how much is wanted and how much there is."""
    total = sum(needed)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if total <= free:
        return None
    return f"the runs need about {in_words(total)} and {folder} has {in_words(free)} left"


def in_words(number: int) -> str:
    """Bytes, for people."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
