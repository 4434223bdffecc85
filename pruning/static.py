"""One-shot magnitude pruning: the mask is taken once and never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.experiment import ExperimentConfig
from configs.knobs import DERIVED, MethodKnobs, knob
from pruning.masked import MaskedPruner

if TYPE_CHECKING:
    from torch import Tensor


class StaticPruner(MaskedPruner):
    """Dense up to `prune_epoch`, then forward uses w * mask and the gradient is grad * mask."""

    title = "Static"
    summary = (
        "one-shot magnitude pruning: at `--prune-epoch` the smallest weights of all prunable layers together are "
        "dropped, for good"
    )
    example = "--prune-epoch 10"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        """When the mask is taken."""

        prune_epoch: int = knob(
            DERIVED,
            "epoch at which the mask is taken; 0 is before training",
            kind=int,
            low=0,
            share=0.5,
            shown="half of --epochs",
        )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        assert isinstance(config.knobs, self.Knobs)
        self.prune_step = config.knobs.prune_epoch * steps_per_epoch
        if config.method_hash is None:  # a class of the user's own that derives from this one may do more
            self.dense_steps = self.prune_step

    def choose(self) -> Tensor:
        """The mask [P] of this moment's weights."""
        from pruning.weights import magnitude_mask

        return magnitude_mask(self.weights.values, self.final_sparsity)

    def before_forward(self, step: int) -> None:
        if not self.pruned and step >= self.prune_step:
            self.take(self.choose())

    def finish(self) -> None:
        if not self.pruned:
            self.take(self.choose())
