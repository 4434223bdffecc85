"""The grid of cells."""

from __future__ import annotations

import dataclasses

from configs.errors import UsageError
from configs.experiment import CONTROLS
from configs.knobs import check_fields, flag_name, knob


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """The grid of cells."""

    methods: tuple[str, ...] = knob(
        ("dense", "static", "dpf"), "pruning methods", choices="methods", many=True, also=("FILE.py:Class",)
    )
    sparsities: tuple[float, ...] = knob(
        (0.5, 0.7, 0.8, 0.9, 0.95),
        "sparsities of every pruned method, in [0, 1); one that has a fixed sparsity has that one alone",
        kind=float,
        low=0.0,
        below=1.0,
        many=True,
        metavar="S",
    )
    replicates: int = knob(
        0,
        "further trainings of a cell, with the train seeds that follow --train-seed: the same memberships, other "
        "initialisations and batches",
        kind=int,
        low=0,
        high=1000,
    )
    replicate_cells: tuple[str, ...] = knob(
        (),
        "cells that --replicates trains again, by method or method_sparsity, such as dense dpf_0.95",
        many=True,
        shown="every cell",
        metavar="CELL",
    )
    controls: tuple[str, ...] = knob(
        (),
        "dense cells to hold pruned ones against: accuracy trains dense networks for fewer epochs, to say what dense "
        "training leaks at a pruned network's accuracy; size trains narrower dense networks, with as many parameters "
        "as a pruned one keeps",
        choices=CONTROLS,
        many=True,
        shown="none",
    )
    control_epochs: tuple[int, ...] = knob(
        (),
        "the epochs of the shorter trainings, each with its whole schedule scaled; asks for them by itself",
        kind=int,
        low=1,
        many=True,
        shown="an eighth, a quarter and a half of --epochs",
    )
    models: tuple[int, ...] = knob(
        (),
        "train these models of every cell alone (0 is the target, 1 the first shadow model)",
        kind=int,
        low=0,
        high=4096,
        many=True,
        shown="all",
        metavar="M",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("methods", "sparsities", "replicate_cells", "controls", "control_epochs", "models"):
            values = getattr(self, name)
            twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
            if twice is not None:
                raise UsageError(f"argument {flag_name(name)}: {twice} is given twice; name each once")
        if self.replicate_cells and not self.replicates:
            raise UsageError("argument --replicate-cells: needs --replicates, how often these cells are trained again")
