"""Queries are float32: TF32 is off while a model is asked, and as it was before once it has answered or failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artifacts.signals import QuerySettings
from data.augment import Augmenter
from training.query import query

CUBLAS: Any = torch.backends.cuda.matmul
CUDNN: Any = torch.backends.cudnn
SWITCHES = (CUBLAS, CUDNN.conv, CUDNN.rnn)


def settings() -> list[str]:
    return [switch.fp32_precision for switch in SWITCHES]


@pytest.fixture(autouse=True)
def tf32_everywhere() -> Iterator[None]:
    before = settings()
    for switch in SWITCHES:
        switch.fp32_precision = "tf32"
    yield
    for switch, precision in zip(SWITCHES, before, strict=True):
        switch.fp32_precision = precision


class Recording(nn.Module):
    """Notes under which settings it is asked, and fails when it is asked for the `fails`-th time."""

    def __init__(self, fails: int = 0) -> None:
        super().__init__()
        self.linear, self.fails = nn.Linear(64, 3), fails
        self.seen: list[list[str]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(settings())
        if len(self.seen) == self.fails:
            raise ValueError("broken")
        logits: Tensor = self.linear(images.flatten(1))
        return logits


def ask(model: nn.Module) -> None:
    images = torch.zeros((5, 1, 8, 8), dtype=torch.uint8)
    augmenter = Augmenter("none", (0.5,), (0.25,), 8, "cpu")
    query(model, images, np.zeros(5, dtype=np.int64), augmenter, QuerySettings(num_queries=2, draws=2))


def test_tf32_is_off_in_every_query_and_back_afterwards() -> None:
    model = Recording()
    ask(model)
    assert model.seen == [["ieee"] * 3] * 4  # the plain query, two of SAMIA's draws, the mirrored view
    assert settings() == ["tf32"] * 3


@pytest.mark.parametrize("fails", [1, 2])
def test_it_is_back_after_a_query_that_fails(fails: int) -> None:
    with pytest.raises(ValueError, match="broken"):
        ask(Recording(fails))
    assert settings() == ["tf32"] * 3


def test_the_defaults_come_back_as_they_were() -> None:
    torch.backends.cuda.matmul.fp32_precision = "none"
    ask(Recording())
    assert settings() == ["none", "tf32", "tf32"]
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
