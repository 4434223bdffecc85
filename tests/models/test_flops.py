"""Multiply-adds against layers that can be counted by hand."""

from __future__ import annotations

import torch
from torch import nn

from models.flops import layer_flops
from models.registry import build_model


def test_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2, bias=True),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    )
    assert layer_flops(model, (2, 8, 8)) == {"0": 4 * 16 * 2 * 9, "1": 6 * 16 * 2, "3": 5 * 96}


def test_rows_of_a_table() -> None:
    counts = layer_flops(build_model("mlp", 3, None, 64, 10), (64,))
    assert counts == {"hidden.1": 64 * 256, "hidden.3": 256 * 128, "linear": 128 * 10}


def test_a_layer_used_twice_counts_twice() -> None:
    layer = nn.Linear(3, 3)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.layer(self.layer(x.mean(dim=(2, 3))))
            return answer

    assert layer_flops(Twice(), (3, 4, 4)) == {"layer": 18}


def test_resnet20() -> None:
    model = build_model("resnet", 20, 1, 3, 10)
    counts = layer_flops(model, (3, 32, 32))
    names = {name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    assert set(counts) == names
    assert counts["conv1"] == 32 * 32 * 16 * 27
    assert counts["stage2.0.shortcut.0"] == 16 * 16 * 32 * 16
    assert sum(counts.values()) == 40_813_184


def test_the_model_is_left_alone() -> None:
    model = build_model("wideresnet", 10, 1, 1, 4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    layer_flops(model, (1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
