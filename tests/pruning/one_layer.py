"""A layer of four weights, small enough to check by hand, with its pruner and torch's own SGD."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from configs.experiment import ExperimentConfig
from pruning.registry import METHODS, build_pruner

RATE, MOMENTUM = 0.1, 0.5
START = [1.0, -2.0, 3.0, -4.0]
GRADIENT = [10.0, 1.0, -1.0, 1.0]


class OneLayer(nn.Module):
    """Four weights w; the loss is GRADIENT . w, so that the gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 1, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(START).view(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.conv(x)
        return answer


def config_of(method: str, sparsity: float, **knobs: object) -> ExperimentConfig:
    own = METHODS[method].Knobs.completed(knobs, epochs=4)
    return ExperimentConfig(method=method, sparsity=sparsity, epochs=4, knobs=own)


class Run:
    """One model, its pruner and torch's own SGD."""

    def __init__(self, config: ExperimentConfig, gradient: list[float] = GRADIENT, power: int = 1) -> None:
        self.power = power
        self.model = OneLayer()
        self.pruner = build_pruner(config, steps_per_epoch=1)
        self.leaf = self.pruner.attach(self.model)
        self.optimizer = self.pruner.optimizer = torch.optim.SGD([self.leaf], lr=RATE, momentum=MOMENTUM)
        self.inputs = torch.tensor(gradient).view(1, 4, 1, 1)
        self.step = 0
        self.used: list[list[float]] = []

    def go(self, steps: int = 1) -> Run:
        for _ in range(steps):
            self.pruner.before_forward(self.step)
            self.used.append(self.pruner.weights.values.tolist())
            self.pruner.weights.grad.zero_()
            (self.model(self.inputs).sum() ** self.power / self.power).backward()
            self.pruner.after_backward()
            self.optimizer.step()
            self.pruner.after_step()
            self.step += 1
        return self

    @property
    def weights(self) -> list[float]:
        return self.model.conv.weight.flatten().tolist()
