"""Dynamic Pruning with Feedback (Lin et al., ICLR 2020, arXiv 2006.07253)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import DERIVED, knob
from pruning.base import Pruner, PruneState
from pruning.schedule import RampKnobs, cubic_sparsity

if TYPE_CHECKING:
    from torch import Tensor, nn


class DPFPruner(Pruner):
    """Dense weights w are kept; forward and backward run at w * mask; that gradient, unmasked, updates w.

    The mask is recomputed from |w| every `prune_freq` optimiser steps and at the steps where the ramp ends and where
    the mask freezes, so that the full sparsity is reached even when no multiple of `prune_freq` lies between the two.
    """

    title = "DPF"
    summary = (
        "Dynamic Pruning with Feedback: every `--prune-freq` steps the mask is taken anew from dense weights, which "
        "the gradient at the pruned ones updates; sparsity rises until `--target-epoch`"
    )
    example = "--target-epoch 20 --freeze-epoch 36"
    prunes = True

    @dataclass(frozen=True, kw_only=True)
    class Knobs(RampKnobs):
        """Until when the mask is updated."""

        freeze_epoch: int = knob(
            DERIVED,
            "epoch after which the mask is fixed; -1 is never",
            kind=int,
            low=-1,
            share=0.9,
            shown="nine tenths of --epochs",
        )

        def check(self) -> None:
            """A mask must not freeze below the target sparsity."""
            target, freeze = self.target_epoch, self.freeze_epoch
            if 0 <= freeze < target:
                raise UsageError(
                    f"argument --freeze-epoch: {freeze} is before --target-epoch {target}, so the mask would freeze "
                    f"below the target sparsity; give at least {target}, or -1 for never"
                )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        import torch

        super().__init__(config, steps_per_epoch)
        knobs = config.knobs
        assert isinstance(knobs, self.Knobs)
        self.prune_freq = knobs.prune_freq
        self.ramp_steps = knobs.target_epoch * steps_per_epoch
        self.freeze_step = knobs.freeze_epoch * steps_per_epoch if knobs.freeze_epoch >= 0 else self.total_steps
        self.target = 0.0
        self.returned = torch.zeros(())

    def _make_leaf(self) -> nn.Parameter:
        from torch import nn

        return nn.Parameter(self.weights.values.clone())

    def is_update(self, step: int) -> bool:
        """Whether the mask is recomputed before optimiser step `step`."""
        return step <= self.freeze_step and (step % self.prune_freq == 0 or step in (self.ramp_steps, self.freeze_step))

    def before_forward(self, step: int) -> None:
        import torch

        if self.is_update(step):
            self._update_mask(cubic_sparsity(self.final_sparsity, step, self.ramp_steps))
        torch.mul(self.leaf.detach(), self.mask, out=self.weights.values)

    def _update_mask(self, sparsity: float) -> None:
        from pruning.weights import magnitude_mask

        mask = magnitude_mask(self.leaf.detach(), sparsity)
        # Kept on the device: reading it here would stall a GPU in mid-epoch.
        self.returned = (mask > self.mask).sum() / mask.numel()
        self.mask.copy_(mask)
        self.target = sparsity

    def finish(self) -> None:
        if self.target < self.final_sparsity:
            self._update_mask(self.final_sparsity)
        self.weights.values.copy_(self.evaluation_weights())

    def evaluation_weights(self) -> Tensor:
        # weights.values still holds the last forward's product, one optimiser step behind.
        return self.leaf.detach() * self.mask

    def at_target(self, step: int) -> bool:
        return self.target >= self.final_sparsity

    def state(self) -> PruneState:
        return PruneState(self.target, self.sparsity(), float(self.returned))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "target": self.target, "returned": self.returned.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.target = float(state["target"])
        self.returned = state["returned"].to(self.leaf.device)
