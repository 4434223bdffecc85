"""The pruner interface. Every hook here is a no-op, which makes this class the dense baseline.

torch is imported where something is computed: a command's `--help` reads what methods declare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from configs.experiment import ExperimentConfig
from configs.knobs import MethodKnobs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class PruneState:
    """What the history logs of a pruner: fractions of the prunable weights in [0, 1]."""

    target_sparsity: float
    sparsity: float
    returned: float


class Pruner:
    """A pruning method: what it declares, and its hooks of the training loop around one optimiser step t = 0, 1, ...

    title: for people. summary: a line for the README. example: flags of the example in `--help`. prunes: whether it has
    a sparsity, hence a cell for each one of the grid; fixed_sparsity: the only one it can have, hence one cell.
    narrows: whether it masks whole channels, without which the network is then stored (`pruning.narrow`); networks: the
    only architectures that it is for; empty: any. private: whether it trains with differential privacy
    (`training.private`), in a network without BatchNorm. package: what must be installed for it, beside what this
    project needs. named_by: the knob that stands in its cells' names for people. Knobs: what it is told beside its
    sparsity; flags, checks, fingerprint, columns and the model card follow from the fields.

    dense_steps: for how many steps from the start its hooks do nothing and remember nothing, so that the run is the
    dense one of its number until then and may start from that one's state (`attach` sees the initial weights first).

    `before_forward(t)`, forward, backward, `after_backward()`, the optimiser's step, `after_step()`; `finish()` once at
    the end. The optimiser updates `leaf`; the model computes with `weights.values`.
    """

    title: ClassVar[str] = "Dense"
    summary: ClassVar[str] = "nothing is pruned"
    example: ClassVar[str] = ""
    prunes: ClassVar[bool] = False
    fixed_sparsity: ClassVar[float | None] = None
    narrows: ClassVar[bool] = False
    networks: ClassVar[tuple[str, ...]] = ()
    private: ClassVar[bool] = False
    package: ClassVar[str | None] = None
    named_by: ClassVar[str | None] = None
    Knobs: ClassVar[type[MethodKnobs]] = MethodKnobs

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        self.final_sparsity = config.sparsity
        self.prune_layers = config.prune_layers or "conv"
        self.total_steps = config.epochs * steps_per_epoch
        self.dense_steps = 0
        self.optimizer: Optimizer | None = None  # of the leaf, once there is one

    def attach(self, model: nn.Module) -> nn.Parameter:
        """Take over the model's prunable weights; returns the leaf that the optimiser must update."""
        import torch

        from pruning.weights import FlatWeights

        self.weights = FlatWeights(model, self.prune_layers)
        self.mask = torch.ones_like(self.weights.values)
        self.leaf = self._make_leaf()
        self.leaf.grad = self.weights.grad
        return self.leaf

    def move_in(self, other: Pruner) -> None:
        """Instead of `attach`: take over model and memory of another pruner of the same kind, with a mask of ones."""
        self.weights, self.mask, self.leaf = other.weights, other.mask, other.leaf
        self.optimizer = other.optimizer
        self.mask.fill_(1)

    def _make_leaf(self) -> nn.Parameter:
        from torch import nn

        return nn.Parameter(self.weights.values)

    def before_forward(self, step: int) -> None:
        """Set the weights that this step's forward and backward use."""

    def after_backward(self) -> None:
        """Change the gradient before the optimiser sees it."""

    def after_step(self) -> None:
        """Undo what the optimiser must not have done."""

    def phase(self) -> int | None:
        """Changes when `after_backward` or `after_step` begin to do other work; None where this step is like no other.

        Asked between `before_forward` and the forward: steps of one phase may be recorded once and replayed, without
        the hooks; those without one never are.
        """
        return 0

    def momentum(self) -> Tensor | None:
        """[P] the optimiser's momentum of the leaf; None before its first step, and where it has none."""
        slots = {} if self.optimizer is None else self.optimizer.state.get(self.leaf, {})
        return slots.get("momentum_buffer")

    def finish(self) -> None:
        """Leave the result in the model: `weights.values` is w * mask at the final sparsity."""

    def evaluation_weights(self) -> Tensor:
        """[P] the weights that the model of this moment stands for (those that an evaluation must use)."""
        return self.weights.values

    def at_target(self, step: int) -> bool:
        """Whether the mask in force after optimiser step `step - 1` is at full target sparsity."""
        return True

    def state(self) -> PruneState:
        """Figures for the history; synchronises with the device, so once an epoch."""
        return PruneState(0.0, self.sparsity(), 0.0)

    def sparsity(self) -> float:
        """Fraction of zeros among prunable weights."""
        import torch

        return 1.0 - torch.count_nonzero(self.mask).item() / self.mask.numel()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs: dense weights and mask."""
        import torch

        return {"leaf": self.leaf.detach().clone(), "mask": self.mask.to(torch.bool)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved, in place."""
        import torch

        with torch.no_grad():
            self.leaf.copy_(state["leaf"])
            self.mask.copy_(state["mask"])
