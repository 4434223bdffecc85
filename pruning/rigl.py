"""RigL, "Rigging the Lottery" (Evci et al., ICML 2020, arXiv 1911.11134)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from configs.experiment import ExperimentConfig
from configs.knobs import DERIVED, knob
from pruning.dynamic import DynamicPruner


class RigLPruner(DynamicPruner):
    """Algorithm 1: as SET, but those weights grow where the gradient of the dense network is largest.

    The gradient is that of the step's mini-batch at w * mask. Before T_end (`freeze_epoch`) an update at step t
    replaces the share alpha / 2 (1 + cos(pi t / T_end)), alpha being `drop_fraction`. Algorithm 1 makes no optimiser
    step where it updates the mask; here the step follows, with the gradient masked by the new mask, so that all methods
    make the same steps.
    """

    title = "RigL"
    summary = (
        "as `set`, with growth where the gradient is largest, and a share that falls to zero by a cosine until "
        "`--freeze-epoch`"
    )
    example = "--update-freq 20 --densities uniform"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(DynamicPruner.Knobs):
        """Until when the mask changes."""

        freeze_epoch: int = knob(
            DERIVED,
            "epoch after which the mask is fixed; -1 is never",
            kind=int,
            low=-1,
            share=0.75,
            shown="three quarters of --epochs",
        )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        assert isinstance(config.knobs, self.Knobs)
        epoch = config.knobs.freeze_epoch
        self.freeze_step = epoch * steps_per_epoch if epoch >= 0 else self.total_steps
        self.step = 0

    def is_update(self, step: int) -> bool:
        return super().is_update(step) and step < self.freeze_step

    def share(self, step: int) -> float:
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * step / self.freeze_step))

    def before_forward(self, step: int) -> None:
        super().before_forward(step)
        self.step = step

    def after_backward(self) -> None:
        if self.is_update(self.step):
            self.update(self.step, self.weights.grad.abs())
        super().after_backward()

    def phase(self) -> int | None:
        return None if self.is_update(self.step) else super().phase()
