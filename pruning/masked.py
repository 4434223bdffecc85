"""What methods share whose masked weights are zero while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.experiment import ExperimentConfig
from pruning.base import Pruner, PruneState

if TYPE_CHECKING:
    from torch import Tensor


class MaskedPruner(Pruner):
    """Dense until a mask is taken; from then on forward uses w * mask, and the gradient is grad * mask."""

    prunes = True

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        self.pruned = False

    def take(self, mask: Tensor) -> None:
        """Put a mask [P] in force."""
        self.mask.copy_(mask)
        self.weights.values.mul_(self.mask)
        self.pruned = True

    def shrink(self, sparsity: float) -> None:
        """Mask further of the smallest weights of all layers together, for good, up to this sparsity."""
        from pruning.weights import lowest_masked

        # Below every magnitude: a weight that happens to be 0 must not change places with a masked one.
        scores = self.weights.values.abs().masked_fill(self.mask == 0, -1.0)
        self.take(lowest_masked(scores, round(sparsity * scores.numel())))

    def after_backward(self) -> None:
        if self.pruned:
            self.weights.grad.mul_(self.mask)

    def after_step(self) -> None:
        # The momentum of the dense phase would otherwise move a pruned weight away from zero.
        if self.pruned:
            self.weights.values.mul_(self.mask)

    def phase(self) -> int | None:
        return int(self.pruned)

    def at_target(self, step: int) -> bool:
        return self.pruned

    def state(self) -> PruneState:
        return PruneState(self.final_sparsity if self.pruned else 0.0, self.sparsity(), 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "pruned": self.pruned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.pruned = bool(state["pruned"])
