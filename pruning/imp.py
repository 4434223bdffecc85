"""Iterative magnitude pruning (Frankle & Carbin 2019, arXiv 1803.03635), in rounds of training and pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.experiment import ExperimentConfig
from configs.knobs import DERIVED, MethodKnobs, knob
from pruning.base import Pruner, PruneState
from pruning.masked import MaskedPruner

if TYPE_CHECKING:
    from torch import Tensor, nn


class IMPPruner(MaskedPruner):
    """A dense training of `epochs`; then, `rounds` times, the smallest weights left go and the network is trained on.

    After round r of R the sparsity is 1 - (1 - S)^(r/R): each drops the same share of what is left, over all layers
    together. How a round trains is one of the three ways that Renda et al. 2020 (arXiv 2003.02389) compare: fine-tuning
    at the schedule's last rate, learning-rate rewinding, or weight rewinding (Frankle et al. 2020, arXiv 1912.05671),
    which sets weights, BatchNorm and classifier included, to what they were `round_epochs` before the first training's
    end. Where these are all of its epochs, that is initialisation, and what is found the lottery ticket of 2019. A
    round is a training of its own: its momentum starts at zero, and its batches are new ones.
    """

    title = "IMP"
    summary = (
        "iterative magnitude pruning: after `--epochs`, `--rounds` times further of the smallest weights are dropped "
        "and `--round-epochs` more are trained, by the end of the schedule once more; `--rewind` has other ways"
    )
    example = "--rounds 2 --round-epochs 38 --rewind weights"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        """How many rounds, and how they train."""

        rounds: int = knob(3, "how often weights are dropped and the network is trained on", kind=int, low=1, high=100)
        round_epochs: int = knob(
            DERIVED,
            "epochs of each of these rounds, which come on top of --epochs",
            kind=int,
            low=1,
            share=0.5,
            shown="half of --epochs",
        )
        rewind: str = knob(
            # Renda et al. find it to be the safe choice; a cosine's last rate is next to nothing, and trains little
            "rate",
            "how a round trains: rate takes the schedule of the last --round-epochs once more, weights also the "
            "weights from before them, as for lottery tickets; none is fine-tuning at the last learning rate",
            choices=("none", "rate", "weights"),
        )

        def total_epochs(self, epochs: int) -> int:
            return epochs + self.rounds * self.round_epochs

        def schedule_epoch(self, epoch: int, epochs: int) -> int:
            if epoch < epochs:
                return epoch
            if self.rewind == "none":
                return epochs - 1
            return epochs - self.round_epochs + (epoch - epochs) % self.round_epochs

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        knobs = config.knobs
        assert isinstance(knobs, self.Knobs)
        self.rounds, self.rewinds = knobs.rounds, knobs.rewind == "weights"
        self.first, self.each = config.epochs * steps_per_epoch, knobs.round_epochs * steps_per_epoch
        self.rewind_step = self.first - self.each
        # Where weights are rewound, they must be seen at that step: a dense run's state of a later one lacks them.
        if config.method_hash is None:  # as in static
            self.dense_steps = self.rewind_step if self.rewinds else self.first
        self.round = 0

    def attach(self, model: nn.Module) -> nn.Parameter:
        leaf = super().attach(model)
        self._watch(model)
        return leaf

    def move_in(self, other: Pruner) -> None:
        super().move_in(other)
        assert isinstance(other, IMPPruner)
        self._watch(other.model)

    def _watch(self, model: nn.Module) -> None:
        self.model = model
        self.start: dict[str, Tensor] = {}
        if self.rewinds:
            self.start = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def target(self) -> float:
        """The sparsity of the round under way."""
        if self.round == self.rounds:
            return self.final_sparsity
        left: float = (1.0 - self.final_sparsity) ** (self.round / self.rounds)
        return 1.0 - left

    def before_forward(self, step: int) -> None:
        if self.rewinds and step == self.rewind_step:
            for name, value in self.model.state_dict().items():
                self.start[name].copy_(value)
        if step >= self.first and self.round < min((step - self.first) // self.each + 1, self.rounds):
            self._begin_round()

    def _begin_round(self) -> None:
        import torch

        self.round += 1
        self.shrink(self.target())
        if self.rewinds:
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    value.copy_(self.start[name])
            self.take(self.mask)
        for slots in self.optimizer.state.values() if self.optimizer is not None else ():
            if slots.get("momentum_buffer") is not None:
                slots["momentum_buffer"].zero_()

    def at_target(self, step: int) -> bool:
        return self.round == self.rounds

    def state(self) -> PruneState:
        return PruneState(self.target(), self.sparsity(), 0.0)

    def state_dict(self) -> dict[str, Any]:
        start = {name: value.clone() for name, value in self.start.items()}
        return {**super().state_dict(), "round": self.round, "start": start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.round = int(state["round"])
        for name, value in self.start.items():
            value.copy_(state["start"][name])
