"""A random mask: the control that says whether it is magnitude that counts, or only that there are fewer weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.experiment import ExperimentConfig
from configs.knobs import knob
from configs.streams import MASK_STREAM, stream_seed
from pruning.static import StaticPruner

if TYPE_CHECKING:
    from torch import Tensor


class RandomPruner(StaticPruner):
    """As static, with as many weights kept in each layer, which ones is left to chance.

    The mask has a random stream of its own: it differs from model to model, and the run shares start and batches with
    the dense one. From initialisation on, with the same densities, it is the mask that SET and RigL start from.
    """

    title = "Random"
    summary = (
        "the control: at `--prune-epoch` random weights are dropped for good, in each layer as many as `static` would "
        "drop, or as `--densities` says"
    )
    example = "--densities erk --prune-epoch 0"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(StaticPruner.Knobs):
        """How many weights each layer keeps."""

        densities: str = knob(
            "global",
            "how many weights each layer keeps; global is as many as the largest weights of all layers together leave",
            choices=("global", "uniform", "erk"),
        )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        assert isinstance(config.knobs, self.Knobs)
        self.densities = config.knobs.densities
        self.seed = stream_seed(config, MASK_STREAM, self.prune_step)

    def choose(self) -> Tensor:
        from pruning.densities import kept_by_layer
        from pruning.random_scores import random_mask

        sizes = self.weights.sizes
        kept: Sequence[int | Tensor]
        if self.densities == "global":
            kept = [layer.sum() for layer in super().choose().split(sizes)]
        else:
            kept = kept_by_layer(self.densities, self.weights.shapes, self.final_sparsity)
        return random_mask(self.seed, sizes, kept, self.mask.device)
