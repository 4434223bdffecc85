"""Learning rate as a pure function of the step, so that an exact resume has no scheduler state to restore."""

from __future__ import annotations

import math

from configs.experiment import ExperimentConfig

# torch.optim.lr_scheduler.OneCycleLR's defaults, which these formulas reproduce (a test compares them).
ONECYCLE_WARMUP = 0.3
ONECYCLE_START = 25.0
ONECYCLE_END = 1e4


def learning_rate(config: ExperimentConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step` = 0, 1, ...; multistep and cosine change once an epoch, onecycle every step.

    A method that trains beyond the schedule's epochs says which of them its own take (`MethodKnobs.schedule_epoch`).
    """
    epoch, place = divmod(step, steps_per_epoch)
    epoch = config.knobs.schedule_epoch(epoch, config.epochs)
    step = epoch * steps_per_epoch + place
    if config.scheduler == "multistep":
        drops = sum(epoch >= round(config.epochs * share) for share in (0.5, 0.75))
        return config.lr * 0.1**drops
    if config.scheduler == "cosine":
        return config.lr * 0.5 * (1.0 + math.cos(math.pi * epoch / config.epochs))
    return _onecycle(config.lr, step, config.epochs * steps_per_epoch)


def _onecycle(peak: float, step: int, total: int) -> float:
    start = peak / ONECYCLE_START
    end = start / ONECYCLE_END
    turn = max(1e-9, ONECYCLE_WARMUP * total - 1.0)
    if step <= turn:
        return _anneal(start, peak, step / turn)
    return _anneal(peak, end, (step - turn) / max(1.0, total - 1.0 - turn))


def _anneal(begin: float, end: float, share: float) -> float:
    return end + 0.5 * (begin - end) * (1.0 + math.cos(math.pi * min(1.0, share)))
