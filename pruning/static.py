"""One-shot magnitude pruning: the mask is taken once and never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from configs.experiment import ExperimentConfig
from configs.knobs import DERIVED, MethodKnobs, knob
from pruning.base import Pruner, PruneState


class StaticPruner(Pruner):
    """Dense up to `prune_epoch`, then forward uses w * mask and the gradient is grad * mask."""

    title = "Static"
    summary = (
        "one-shot magnitude pruning: at `--prune-epoch` the smallest weights of all convolutions together are dropped, "
        "for good"
    )
    prunes = True

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
        self.pruned = False

    def before_forward(self, step: int) -> None:
        if not self.pruned and step >= self.prune_step:
            self._prune()

    def _prune(self) -> None:
        from pruning.weights import magnitude_mask

        self.mask.copy_(magnitude_mask(self.weights.values, self.final_sparsity))
        self.weights.values.mul_(self.mask)
        self.pruned = True

    def after_backward(self) -> None:
        if self.pruned:
            self.weights.grad.mul_(self.mask)

    def after_step(self) -> None:
        # The momentum of the dense phase would otherwise move a pruned weight away from zero.
        if self.pruned:
            self.weights.values.mul_(self.mask)

    def phase(self) -> int:
        return int(self.pruned)

    def finish(self) -> None:
        if not self.pruned:
            self._prune()

    def at_target(self, step: int) -> bool:
        return self.pruned

    def state(self) -> PruneState:
        return PruneState(self.final_sparsity if self.pruned else 0.0, self.sparsity(), 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "pruned": self.pruned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.pruned = bool(state["pruned"])
