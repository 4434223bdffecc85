"""Gradual magnitude pruning (Zhu & Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import knob
from pruning.base import PruneState
from pruning.masked import MaskedPruner
from pruning.schedule import RampKnobs, cubic_sparsity


class GMPPruner(MaskedPruner):
    """Every `prune_freq` steps of the ramp further weights are masked, for good, up to the sparsity of equation 1.

    The paper prunes each layer to that sparsity; here the smallest weights of all layers together go, as in the other
    magnitude methods, so that the difference to DPF is that nothing returns. The ramp's last step is an update too,
    whatever the frequency.
    """

    title = "GMP"
    summary = (
        "gradual magnitude pruning: from `--begin-epoch` to `--target-epoch`, every `--prune-freq` steps, further of "
        "the smallest weights are dropped, and none returns"
    )
    example = "--begin-epoch 5 --target-epoch 20"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(RampKnobs):
        """When the ramp begins."""

        begin_epoch: int = knob(0, "epoch at which the sparsity begins to rise", kind=int, low=0)

        def check(self) -> None:
            """A ramp begins before it ends."""
            if self.begin_epoch > self.target_epoch:
                raise UsageError(
                    f"argument --begin-epoch: {self.begin_epoch} is after --target-epoch {self.target_epoch}; "
                    f"give at most {self.target_epoch}"
                )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        knobs = config.knobs
        assert isinstance(knobs, self.Knobs)
        self.prune_freq = knobs.prune_freq
        self.begin, self.end = knobs.begin_epoch * steps_per_epoch, knobs.target_epoch * steps_per_epoch
        if config.method_hash is None:  # as in static
            self.dense_steps = self.begin
        self.target = 0.0

    def is_update(self, step: int) -> bool:
        """Whether weights are masked before optimiser step `step`."""
        return self.begin <= step <= self.end and ((step - self.begin) % self.prune_freq == 0 or step == self.end)

    def before_forward(self, step: int) -> None:
        if self.is_update(step):
            self._reach(cubic_sparsity(self.final_sparsity, step - self.begin, self.end - self.begin))

    def _reach(self, sparsity: float) -> None:
        self.shrink(sparsity)
        self.target = sparsity

    def finish(self) -> None:
        if self.target < self.final_sparsity:
            self._reach(self.final_sparsity)

    def at_target(self, step: int) -> bool:
        return self.target >= self.final_sparsity

    def state(self) -> PruneState:
        return PruneState(self.target, self.sparsity(), 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "target": self.target}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.target = float(state["target"])
