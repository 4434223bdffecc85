"""Which attacks are run, on how many targets, with which queries."""

from __future__ import annotations

import dataclasses

from configs.knobs import knob

ALL_TARGETS = 4097  # no cell has more models
MOST_TARGETS = 16  # that are attacked where nobody says how many


@dataclasses.dataclass(frozen=True)
class AttackOptions:
    """Which attacks, on how many targets, with which queries."""

    attacks: tuple[str, ...] | None = knob(
        None, "attacks to run", choices="attacks", many=True, shown="all of them", also=("FILE.py:function",)
    )
    num_targets: int | None = knob(
        None,
        "models of a cell that play the target in turn, or all; one number for all attacks and --shadows-from",
        kind=int,
        low=1,
        high=ALL_TARGETS,
        shown=f"all, {MOST_TARGETS} at most; 1 for attacks that train networks, and for other cells' shadow models",
        word=("all", ALL_TARGETS),
    )
    shadows_from: tuple[str, ...] | None = knob(
        None,
        "whose shadow models attack a target beside its own: all (of its setting), own (none), or names of cells; "
        "where given, they attack as many targets as its own do",
        many=True,
        shown="all, one target",
        metavar="CELL",
    )
    num_queries: int | None = knob(
        None,
        "queries per example: itself, its mirror image, shifted copies of both (18 in all); 1 of a table",
        kind=int,
        low=1,
        high=18,
        shown="2 where training mirrored its pictures, else 1",
    )
    attack_recipe: str = knob(
        "auto",
        "training of the attack networks: the published one (paper), a short one of fixed cost where that would take "
        "too long (auto), or one of seconds whose figures differ (fast)",
        choices=("auto", "paper", "fast"),
    )
    samia_examples: int | None = knob(
        None,
        "samia: examples of the pool, drawn with the seed, that get its noise queries; it attacks these only",
        kind=int,
        low=100,
        shown="all",
    )
    rmia_gamma: float = knob(
        2.0,
        "rmia_published: ratio by which an example has to beat a population example (rmia: 1, ties broken)",
        kind=float,
        low=1.0,
    )
    rmia_a: float | None = knob(
        None,
        "rmia: how an IN model's confidence follows from an OUT model's, a * p + 1 - a",
        kind=float,
        low=0.0,
        high=1.0,
        shown="chosen on each target's own shadow models; rmia_published 0.3",
    )
    rmia_population: int = knob(
        10_000, "rmia: population examples, drawn from the test set", kind=int, low=1, high=1_000_000
    )

    def targets_of(self, trains_network: bool) -> int:
        """How many targets an attack is given, at most."""
        if self.num_targets is not None:
            return self.num_targets
        return 1 if trains_network else MOST_TARGETS

    @property
    def crossed_targets(self) -> int:
        """How many targets other cells' shadow models are sent against, at most."""
        return 1 if self.num_targets is None and self.shadows_from is None else self.targets_of(trains_network=False)
