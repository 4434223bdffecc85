"""A pruning method of your own: each layer loses the smallest of its weights, at an epoch that is a flag.

python train.py --preset quick --methods dense examples/own_pruner.py:PerLayer --sparsities 0.8 --drop-epoch 10
"""

from dataclasses import dataclass

import torch

from configs.knobs import MethodKnobs, knob
from pruning.base import Pruner, PruneState
from pruning.weights import magnitude_mask


class PerLayer(Pruner):
    """The mask is taken once, with one sparsity for every layer; `static` takes one threshold for all of them."""

    prunes = True

    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        """Every field is a flag, a column of the tables, and part of what tells one run from another."""

        drop_epoch: int = knob(1, "epoch at which the mask is taken", kind=int, low=0)

    def __init__(self, config, steps_per_epoch):
        super().__init__(config, steps_per_epoch)
        self.drop_step = config.knobs.drop_epoch * steps_per_epoch
        self.pruned = False

    def before_forward(self, step):
        if step >= self.drop_step:
            self._prune()

    def _prune(self):
        if not self.pruned:
            layers = self.weights.values.split(self.weights.sizes)  # all prunable weights are one flat vector
            self.mask.copy_(torch.cat([magnitude_mask(layer, self.final_sparsity) for layer in layers]))
            self.weights.values.mul_(self.mask)
            self.pruned = True

    def after_step(self):
        self.weights.values.mul_(self.mask)  # neither gradient nor momentum brings a weight back

    def finish(self):
        self._prune()

    def at_target(self, step):
        return self.pruned

    def state(self):
        return PruneState(self.final_sparsity if self.pruned else 0.0, self.sparsity(), 0.0)

    def state_dict(self):
        return {**super().state_dict(), "pruned": self.pruned}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.pruned = bool(state["pruned"])
