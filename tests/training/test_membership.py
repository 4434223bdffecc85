"""Membership: balanced, the same in every cell, and training really used it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, load_signals
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from data.inputs import open_data, open_split
from training.loop import Trainer
from training.run import run_one

Make = Callable[..., ExperimentConfig]
METHODS = [("dense", 0.0), ("static", 0.5), ("dpf", 0.5)]


def seen_in_training(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch, run: RunDir) -> dict[bytes, int]:
    """How often each picture (by its bytes) entered a batch, taken where the network is fed."""
    counts: dict[bytes, int] = {}
    original = Trainer.train_step

    def spy(self: Trainer, batch: Tensor, rate: float, draws: Tensor) -> tuple[Tensor, Tensor]:
        for picture in self.images[batch]:
            key = picture.numpy().tobytes()
            counts[key] = counts.get(key, 0) + 1
        return original(self, batch, rate, draws)

    monkeypatch.setattr(Trainer, "train_step", spy)
    run_one(config, run, Places(), Machine(device="cpu"), QuerySettings(1, samia=False))
    return counts


@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_only_members_ever_enter_a_batch_each_once_an_epoch(
    method: str, sparsity: float, make_config: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = make_config(method=method, sparsity=sparsity, model_index=1, epochs=3)
    counts = seen_in_training(config, monkeypatch, RunDir(tmp_path / "run"))
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    pictures = [data.train_inputs[int(index)].numpy().tobytes() for index in split.pool]
    assert len(set(pictures)) == len(pictures)
    members = {pictures[position] for position in split.members(1)}
    assert set(counts) == members
    assert set(counts.values()) == {3}


def test_signals_carry_the_membership_that_training_used(make_config: Make, tmp_path: Path) -> None:
    config = make_config(model_index=2, epochs=1)
    run = RunDir(tmp_path / "run")
    run_one(config, run, Places(), Machine(device="cpu"), QuerySettings(1, samia=False))
    signals = load_signals(run.signals)
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    assert np.array_equal(signals.membership, split.membership[2])
    assert np.array_equal(signals.pool, split.pool)
    assert np.array_equal(signals.labels, data.train_labels.numpy()[split.pool])


def test_the_split_is_the_same_in_every_cell(make_config: Make) -> None:
    hashes = set()
    for method, sparsity in METHODS:
        config = make_config(method=method, sparsity=sparsity)
        hashes.add(open_split(config, open_data(config, "datasets")[0]).split_hash())
    assert len(hashes) == 1
    other = make_config(seed=1)
    assert open_split(other, open_data(other, "datasets")[0]).split_hash() not in hashes


def test_members_are_a_random_half_and_batches_cover_them(make_config: Make) -> None:
    config = make_config(pool_size=None, num_shadows=8)
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    per_example = split.membership.sum(axis=0)
    assert set(per_example.tolist()) == {4, 5}
    assert abs(split.membership.mean() - 0.5) < 0.02
    trainer = Trainer(config, data, split.pool[split.members(0)], torch.device("cpu"))
    batches = list(trainer.batches(torch.Generator().manual_seed(0)))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(trainer.members)))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= config.batch_size
