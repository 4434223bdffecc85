"""Dynamic sparse training: as many weights in every layer from the first step to the last, but not the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.experiment import ExperimentConfig
from configs.knobs import MethodKnobs, knob
from configs.streams import MASK_STREAM, stream_seed
from pruning.base import PruneState
from pruning.masked import MaskedPruner

if TYPE_CHECKING:
    from torch import Tensor


class DynamicPruner(MaskedPruner):
    """Starts from a random mask. An update drops a share of each layer's weights, and lets as many others grow.

    The smallest magnitudes are dropped; which ones grow, a subclass says: of all that are not kept, those just dropped
    included. What grows starts at zero and at rest: the momentum of what is dropped goes with it, and weights outside
    the mask have none. One that grows where its gradient is exactly zero stays zero, and then counts as such in the
    measured sparsity. `returned` of the history is the share of the prunable weights that the last update let grow.
    """

    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        """How many weights each layer has, and how often they change places."""

        densities: str = knob("erk", "how many weights each layer keeps", choices=("uniform", "erk"))
        update_freq: int = knob(100, "optimiser steps between two updates", kind=int, low=1)
        drop_fraction: float = knob(
            0.3, "share of each layer's weights that an update replaces", kind=float, low=0.0, high=1.0
        )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        import torch

        super().__init__(config, steps_per_epoch)
        knobs = config.knobs
        assert isinstance(knobs, DynamicPruner.Knobs)
        self.config, self.densities = config, knobs.densities
        self.update_freq, self.drop_fraction = knobs.update_freq, knobs.drop_fraction
        self.returned = torch.zeros(())

    def is_update(self, step: int) -> bool:
        """Whether the mask changes at optimiser step `step`."""
        return step > 0 and step % self.update_freq == 0

    def share(self, step: int) -> float:
        """Of each layer's weights, what the update of this step replaces."""
        return self.drop_fraction

    def seed(self, step: int) -> int:
        """Of the random numbers that the mask of this step is drawn from."""
        return stream_seed(self.config, MASK_STREAM, step)

    def kept(self) -> list[int]:
        """Weights of each layer."""
        from pruning.densities import kept_by_layer

        return kept_by_layer(self.densities, self.weights.shapes, self.final_sparsity)

    def before_forward(self, step: int) -> None:
        from pruning.random_scores import random_mask

        if not self.pruned:
            self.take(random_mask(self.seed(0), self.weights.sizes, self.kept(), self.mask.device))

    def update(self, step: int, growth: Tensor) -> None:
        """Drop the smallest weights, and let those with the highest `growth` [P], which is not negative, grow."""
        import torch

        from pruning.weights import lowest_masked

        stay, grow = [], []
        parts = (flat.split(self.weights.sizes) for flat in (self.weights.values.abs(), self.mask, growth))
        for count, magnitude, mask, promise in zip(self.kept(), *parts, strict=True):
            dropped = round(self.share(step) * count)
            active = mask > 0
            stays = active & lowest_masked(magnitude.masked_fill(~active, torch.inf), dropped)
            grow.append(lowest_masked(promise.masked_fill(stays, -1), len(promise) - dropped))
            stay.append(stays)
        staying = torch.cat(stay)
        new = staying | torch.cat(grow)
        # Kept on the device: reading it here would stall a GPU in mid-epoch.
        self.returned = (new & (self.mask == 0)).sum() / new.numel()
        self.weights.values.mul_(staying)
        momentum = self.momentum()
        if momentum is not None:
            momentum.mul_(staying)
        self.mask.copy_(new)

    def state(self) -> PruneState:
        return PruneState(self.final_sparsity, self.sparsity(), float(self.returned))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "returned": self.returned.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.returned = state["returned"].to(self.leaf.device)
