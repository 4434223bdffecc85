"""Queries in batches of any size: the same noise, the same answers, smaller batches where memory is short."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artifacts.signals import QuerySettings
from configs.errors import RunError
from data.augment import Augmenter
from training import query


def asked(images: torch.Tensor, model: nn.Module) -> tuple[np.ndarray, np.ndarray | None]:
    augmenter = Augmenter("none", (0.5,), (0.25,), 8, "cpu")
    labels = np.zeros(len(images), dtype=np.int64)
    logits, _, noise = query.query(model, images, labels, augmenter, QuerySettings(num_queries=1, draws=3))
    return logits, noise


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def test_larger_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(256, (47, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = small_model()
    monkeypatch.setattr(query, "CHUNK", 10)
    one_chunk = asked(images, model)
    monkeypatch.setattr(query, "largest_batches", lambda device, run: run(30))
    three_chunks = asked(images, model)
    np.testing.assert_allclose(three_chunks[0], one_chunk[0], atol=1e-5)
    assert one_chunk[1] is not None
    assert three_chunks[1] is not None
    # a difference of two softmaxes over eps: the last bits of either weigh a thousandfold
    np.testing.assert_allclose(three_chunks[1], one_chunk[1], atol=2e-3)
    assert one_chunk[1].std() > 0.01


def test_a_batch_that_does_not_fit_is_halved() -> None:
    tried = []

    def run(batch: int) -> int:
        tried.append(batch)
        if batch > 4 * query.CHUNK:
            raise torch.OutOfMemoryError("too large")
        return batch

    assert query.largest_batches(torch.device("cuda"), run) == 4 * query.CHUNK
    assert tried[:2] == [64 * query.CHUNK, 32 * query.CHUNK]


def test_a_chunk_that_does_not_fit_is_an_error() -> None:
    def run(batch: int) -> None:
        raise torch.OutOfMemoryError("too large")

    with pytest.raises(RunError, match="no room to ask about 250 examples"):
        query.largest_batches(torch.device("cuda"), run)
