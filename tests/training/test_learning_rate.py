"""Learning rates against torch's own schedulers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from configs.experiment import ExperimentConfig
from training.lr import learning_rate

EPOCHS, STEPS, PEAK = 20, 7, 0.1


def reference(name: str, optimizer: SGD) -> tuple[LRScheduler, bool]:
    """Torch's scheduler and whether it steps every batch."""
    if name == "multistep":
        return MultiStepLR(optimizer, [EPOCHS // 2, EPOCHS * 3 // 4], gamma=0.1), False
    if name == "cosine":
        return CosineAnnealingLR(optimizer, EPOCHS), False
    return OneCycleLR(optimizer, max_lr=PEAK, total_steps=EPOCHS * STEPS, cycle_momentum=False), True


@pytest.mark.parametrize("name", ["multistep", "cosine", "onecycle"])
def test_rates_equal_torch(name: str) -> None:
    config = dataclasses.replace(ExperimentConfig(), scheduler=name, epochs=EPOCHS, lr=PEAK)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler, every_step = reference(name, optimizer)
    for step in range(EPOCHS * STEPS):
        assert learning_rate(config, step, STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-12)
        optimizer.step()
        if (every_step and step < EPOCHS * STEPS - 1) or (not every_step and (step + 1) % STEPS == 0):
            scheduler.step()
