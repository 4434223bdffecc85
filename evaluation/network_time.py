"""How long attack networks will train, said before an evaluation whose recipe makes it long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from artifacts.arrays import read_forms
from attacks import networks
from attacks.network_training import Plan
from configs.attacks import AttackOptions
from configs.errors import RunError
from evaluation.cells import Cell

# Steps in all that are some seconds of any machine.
FEW_STEPS = 20_000
BY_NAME = {
    one.name: one
    for one in (networks.shokri_nn, networks.top3_nn, networks.class_label_nn, networks.samia, networks.neural_network)
}


class Training(NamedTuple):
    """One attack network to train."""

    attack: str
    num_classes: int
    plan: Plan


def trainings(cells: Sequence[Cell], names: Sequence[str], options: AttackOptions) -> list[Training]:
    """Every attack network that these cells will train: one for each attack and target.

    Pairs are those of cells split in halves, where each example has about as many shadow models on both sides.
    """
    found = []
    for cell in cells:
        if cell.reason:
            continue
        try:
            examples, num_classes = read_forms(cell.models[0].signals)["logits"][0]
        except RunError:
            continue  # asked anew, or refused, where it is read
        targets = min(options.targets_of(trains_network=True), len(cell.models))
        shadows = cell.num_shadows - (cell.config.split == "pairs")  # a target's partner is none
        for name in names:
            if name in BY_NAME and shadows > 0:
                probed = min(options.samia_examples or examples, examples) if BY_NAME[name].probing else examples
                plan = BY_NAME[name].plan(shadows * probed, num_classes, options.attack_recipe)
                found += [Training(name, num_classes, plan)] * targets
    return found


def is_long(planned: Sequence[Training]) -> bool:
    """Whether they are worth timing."""
    return sum(one.plan.steps for one in planned) > FEW_STEPS


def seconds(planned: Sequence[Training], device: str) -> float:
    """What they take here, from some steps of each kind."""
    return sum(
        count * one.plan.steps * BY_NAME[one.attack].step_seconds(one.plan, one.num_classes, device)
        for one, count in Counter(planned).items()
    )
