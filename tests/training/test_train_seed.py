"""A train seed changes initialisation, batches and augmentation alone; train seed 0 draws what was drawn before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from artifacts.checkpoint import load_model
from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, load_signals
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from configs.streams import EPOCH_STREAM, INIT_STREAM, MASK_STREAM, stream_seed
from data.inputs import open_data, open_split
from training import loop, networks
from training.loop import Trainer
from training.networks import new_model
from training.run import run_one

Make = Callable[..., ExperimentConfig]
METHODS = [("dense", 0.0), ("static", 0.5), ("dpf", 0.5)]
# Of the code before there were train seeds: seed, model index, stream, and what it drew.
DRAWN_BEFORE = [
    (0, 0, (INIT_STREAM,), 7896617691693857887),
    (0, 0, (EPOCH_STREAM, 0), 4324601099084218337),
    (0, 3, (EPOCH_STREAM, 39), 1641696461332802669),
    (7, 0, (INIT_STREAM,), 8460147692890830636),
    (2**31 - 1, 64, (EPOCH_STREAM, 199), 2233074005132346408),
]


def config_of(seed: int, model: int, train_seed: int = 0) -> ExperimentConfig:
    return ExperimentConfig(seed=seed, model_index=model, num_shadows=64, train_seed=train_seed)


def trained(config: ExperimentConfig, folder: Path) -> RunDir:
    run = RunDir(folder)
    run_one(config, run, Places(), Machine(device="cpu"), QuerySettings(1, samia=False))
    return run


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return load_model(run.model).weights


def same_weights(one: RunDir, other: RunDir) -> bool:
    theirs = weights(other)
    return all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


@pytest.mark.parametrize(("seed", "model", "stream", "drawn"), DRAWN_BEFORE)
def test_train_seed_0_draws_what_was_drawn_before(seed: int, model: int, stream: tuple[int, ...], drawn: int) -> None:
    assert stream_seed(config_of(seed, model), *stream) == drawn


def test_no_two_streams_are_the_same() -> None:
    streams = [(INIT_STREAM,), *((EPOCH_STREAM, n) for n in range(5)), *((MASK_STREAM, n) for n in range(4))]
    combinations = list(product((0, 1, 2, 3, 2**31 - 1), range(10), (0, 1, 2, 5, *range(10, 26)), streams))
    seeds = {stream_seed(config_of(seed, model, again), *stream) for seed, model, again, stream in combinations}
    assert len(seeds) == len(combinations) == 10_000


def test_a_replicate_has_the_same_memberships_and_data(make_config: Make, tmp_path: Path) -> None:
    first, again = (make_config(train_seed=train_seed, epochs=1, model_index=1) for train_seed in (0, 1))
    data, data_hash = open_data(first, "datasets")
    assert open_data(again, "datasets")[1] == data_hash
    assert open_split(first, data).split_hash() == open_split(again, data).split_hash()
    signals = [load_signals(trained(config, tmp_path / str(config.train_seed)).signals) for config in (first, again)]
    for name in ("labels", "pool", "membership"):
        assert np.array_equal(getattr(signals[0], name), getattr(signals[1], name))
    assert not np.array_equal(signals[0].phi, signals[1].phi)


def test_a_replicate_has_other_starts_batches_and_augmentation(make_config: Make) -> None:
    drawn = []
    for train_seed in (0, 1):
        config = make_config(train_seed=train_seed, augment="standard")
        data, _ = open_data(config, "datasets")
        split = open_split(config, data)
        trainer = Trainer(config, data, split.pool[split.members(0)], torch.device("cpu"))
        generator = torch.Generator().manual_seed(stream_seed(config, EPOCH_STREAM, 0))
        batches = list(trainer.epoch_batches(generator))
        order = torch.cat([batch for batch, _ in batches])
        assert sorted(order.tolist()) == list(range(len(trainer.members)))
        start = torch.cat([value.flatten() for value in new_model(config, data).parameters()])
        drawn.append((start, order, torch.cat([draws for _, draws in batches], dim=1)))
    assert not any(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_the_streams_are_all_that_a_train_seed_changes(
    method: str, sparsity: float, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(method=method, sparsity=sparsity, epochs=2, augment="standard")
    first = trained(config, tmp_path / "first")
    again = trained(dataclasses.replace(config, train_seed=1), tmp_path / "again")
    assert not same_weights(first, again)

    def of_the_replicate(config: ExperimentConfig, *stream: int) -> int:
        return stream_seed(dataclasses.replace(config, train_seed=1), *stream)

    for module in (loop, networks):
        monkeypatch.setattr(module, "stream_seed", of_the_replicate)
    assert same_weights(trained(config, tmp_path / "patched"), again)


def test_random_states_of_the_process_have_no_say(make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="dpf", sparsity=0.5, epochs=2, augment="standard", train_seed=1)
    runs = []
    for state in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            runs.append(trained(config, tmp_path / str(state)))
    assert same_weights(*runs)
