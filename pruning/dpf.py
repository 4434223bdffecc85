"""Dynamic Pruning with Feedback (Lin et al., ICLR 2020, arXiv 2006.07253)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from configs.experiment import ExperimentConfig
from pruning.base import Pruner, PruneState
from pruning.schedule import cubic_sparsity
from pruning.weights import magnitude_mask


class DPFPruner(Pruner):
    """Dense weights w are kept; forward and backward run at w * mask; that gradient, unmasked, updates w.

    The mask is recomputed from |w| every `prune_freq` optimiser steps and at the steps where the ramp ends and where
    the mask freezes, so that the full sparsity is reached even when no multiple of `prune_freq` lies between the two.
    """

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        assert config.prune_freq is not None  # the three are filled in by sweep.plan.resolve
        assert config.target_epoch is not None
        assert config.freeze_epoch is not None
        self.prune_freq = config.prune_freq
        self.ramp_steps = config.target_epoch * steps_per_epoch
        self.freeze_step = config.freeze_epoch * steps_per_epoch if config.freeze_epoch >= 0 else self.total_steps
        self.target = 0.0
        self.returned = torch.zeros(())

    def _make_leaf(self) -> nn.Parameter:
        return nn.Parameter(self.weights.values.clone())

    def is_update(self, step: int) -> bool:
        """Whether the mask is recomputed before optimiser step `step`."""
        return step <= self.freeze_step and (step % self.prune_freq == 0 or step in (self.ramp_steps, self.freeze_step))

    def before_forward(self, step: int) -> None:
        if self.is_update(step):
            self._update_mask(cubic_sparsity(self.final_sparsity, step, self.ramp_steps))
        torch.mul(self.leaf.detach(), self.mask, out=self.weights.values)

    def _update_mask(self, sparsity: float) -> None:
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
