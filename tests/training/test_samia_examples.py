"""SAMIA's noise queries on some of the pool: who is asked, what the cache serves, and that answers stay the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, load_signals
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from data.augment import Augmenter
from data.splits import draw_probed
from evaluation.cells import find_cells, load_cell, load_model
from training import ask, query
from training.ask import ensure_signals
from training.run import run_one

Make = Callable[..., ExperimentConfig]
ALL = QuerySettings(1, samia=True)


def capped(examples: int | None) -> QuerySettings:
    return dataclasses.replace(ALL, samia_examples=examples)


def test_the_draw_is_nested_seeded_and_of_the_right_size() -> None:
    small, large = draw_probed(1000, 100, seed=3), draw_probed(1000, 400, seed=3)
    assert (small.sum(), large.sum()) == (100, 400)
    assert large[small].all()
    assert not np.array_equal(small, draw_probed(1000, 100, seed=4))
    assert draw_probed(50, 50, 0).all()
    assert draw_probed(50, 51, 0).all()
    assert draw_probed(50, None, 0).all()
    assert np.flatnonzero(draw_probed(1000, 3, seed=0)).tolist() == [691, 726, 832]


def test_settings_join() -> None:
    none = QuerySettings(1, samia=False)
    assert ALL.serves(capped(7))
    assert capped(9).serves(capped(7))
    assert capped(7).serves(none)
    assert not capped(7).serves(ALL)
    assert not capped(7).serves(capped(9))
    assert capped(7).joined(capped(9)) == capped(9)
    assert capped(7).joined(ALL) == ALL
    assert capped(7).joined(none) == none.joined(capped(7)) == capped(7)
    assert none.joined(ALL) == ALL


def test_a_probed_example_gets_the_noise_that_it_gets_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "CHUNK", 10)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    images = torch.randint(256, (47, 1, 8, 8), dtype=torch.uint8)
    augmenter = Augmenter("none", (0.5,), (0.25,), 8, "cpu")
    logits = query.predict_logits(model, images, augmenter)
    whole = query.sensitivity(model, images, logits, augmenter, QuerySettings(draws=3))
    probed = np.isin(np.arange(47), [3, 12, 13, 19, 41, 46])  # none of the third chunk
    part = query.sensitivity(model, images, logits, augmenter, QuerySettings(draws=3), probed)
    assert np.isnan(part[~probed]).all()
    # a difference of two softmaxes over eps: the last bits of either weigh a thousandfold
    np.testing.assert_allclose(part[probed], whole[probed], atol=2e-3)
    assert whole[probed].std() > 0.01


def test_only_those_examples_are_sent_through_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "CHUNK", 10)
    seen: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            y: torch.Tensor = self.out(x.flatten(1))
            return y

    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    augmenter = Augmenter("none", (0.5,), (0.25,), 8, "cpu")
    probed = np.isin(np.arange(40), [0, 11, 12])
    query.sensitivity(Counting(), images, np.zeros((40, 3), np.float32), augmenter, QuerySettings(draws=4), probed)
    assert seen == [1] * 4 + [2] * 4


def test_a_cache_of_more_serves_fewer_and_one_of_all_serves_any(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, places = make_config(epochs=1), Places(runs_dir=str(tmp_path))
    run = RunDir(tmp_path / "run")
    run_one(config, run, Places(), Machine(device="cpu"), capped(20))
    first = load_signals(run.signals)
    assert first.sensitivity is not None
    size = len(first.pool)
    probed = draw_probed(size, 20, config.seed)
    np.testing.assert_array_equal(~np.isnan(first.sensitivity), np.repeat(probed[:, None], 10, axis=1))
    asked: list[QuerySettings] = []
    original = ask.ask

    def counting(*args: object) -> object:
        asked.append(args[5])  # type: ignore[arg-type]
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ask, "ask", counting)
    (cell,) = find_cells(tmp_path)
    few = load_cell(cell, places, "cpu", capped(10)).sensitivity
    assert few is not None
    np.testing.assert_array_equal(~np.isnan(few[0, :, 0]), draw_probed(size, 10, config.seed))
    assert not asked
    every = ensure_signals(run, config, Places(), "cpu", capped(size))
    assert len(asked) == 1
    assert every.settings == ALL  # a cap that leaves nobody out is none
    assert every.sensitivity is not None
    assert np.isfinite(every.sensitivity).all()
    cut = load_model(cell, 0, places, "cpu", capped(10)).sensitivity
    assert cut is not None
    np.testing.assert_allclose(cut, few[0], atol=2e-3)
    assert ensure_signals(run, config, Places(), "cpu", capped(20)).settings == ALL
    assert len(asked) == 1
