"""Sparse Evolutionary Training (Mocanu et al., Nature Communications 2018, arXiv 1707.04780)."""

from __future__ import annotations

from configs.experiment import ExperimentConfig
from pruning.dynamic import DynamicPruner


class SETPruner(DynamicPruner):
    """Algorithm 1: an update drops the fraction zeta (`drop_fraction`) of smallest weights, and random others grow.

    The last update is at the start of the last epoch. Against the paper: magnitude is compared over positive and
    negative weights together, new weights start at zero (as Evci et al. 2020 have it), an update comes every so many
    steps, not once an epoch, and none ends training with a drop alone.
    """

    title = "SET"
    summary = (
        "Sparse Evolutionary Training: sparse from the start; every `--update-freq` steps the smallest weights of each "
        "layer are dropped and as many random ones grow"
    )
    example = "--update-freq 20 --drop-fraction 0.3"

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        self.last_update = self.total_steps - steps_per_epoch

    def is_update(self, step: int) -> bool:
        return super().is_update(step) and step <= self.last_update

    def before_forward(self, step: int) -> None:
        from pruning.random_scores import random_scores

        super().before_forward(step)
        if self.is_update(step):
            self.update(step, random_scores(self.seed(step), self.mask.numel(), self.mask.device))
