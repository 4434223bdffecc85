"""Who is exposed: every cell's exposures, how far cells agree that are trained twice, and the most exposed pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from attacks.arrays import BoolArray, Float64Array
from attacks.exposure import Estimate, comparable, correlations, crossings, estimate, exposure
from attacks.metrics import WeightArray
from configs.errors import RunError, UsageError
from configs.machine import Places
from data.base import DataSet
from data.inputs import open_data
from evaluation.attack import Answers, CellScores
from evaluation.cells import Cell

SHOWN = 12  # most exposed examples of a cell that are listed, and drawn
FEWEST_EXAMPLES = 30  # of which correlations are given: with fewer, a resample may hold none

DISJOINT = "under --split disjoint no shadow model ever held what is asked about"
NO_COMMON = "too few examples that two of the common models hold, and two do not"

Record = dict[str, Any]


def exposures(cells: Sequence[CellScores]) -> dict[str, Float64Array]:
    """By experiment, the exposure of each asked example, [n]; without cells where no example has one."""
    answered = {one.asked.experiment: one.answers for one in cells if one.answers is not None}
    found = {name: exposure(answers.phi, answers.membership) for name, answers in answered.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def left_out(cells: Sequence[CellScores]) -> list[str]:
    """Which cells have no exposures, or not of all examples, in words."""
    notes = []
    for one in cells:
        if one.answers is None:
            notes.append(f"{one.asked.experiment}: no exposures, since {DISJOINT}")
            continue
        held = one.answers.membership.sum(axis=0)
        missing = int(((held == 0) | (held == len(one.answers.membership))).sum())
        if missing:
            words = f"no exposures of {missing:,} of {len(held):,} examples: all of its models hold them, or none"
            notes.append(f"{one.asked.experiment}: {words}")
    return notes


def exposure_rows(cells: Sequence[CellScores], weights: WeightArray) -> list[Record]:
    """Rows of exposure.csv for the cells of one split and setting.

    A row of kind reliability is a cell and the same cell trained again; of kind crossed, two cells in trainings of
    different train seeds, which share neither starts nor batches. A row without figures has a reason. Of a cell trained
    more than twice, the two lowest train seeds count.
    """
    trained = _trainings(cells)
    rows = [row for trainings in trained for row in _reliability_rows(trainings, weights)]
    for a, b in combinations(trained, 2):
        if len(a) > 1 and len(b) > 1:
            rows += _crossed_rows(a, b, weights)
    return rows


def _trainings(cells: Sequence[CellScores]) -> list[list[CellScores]]:
    """The cells, those together that differ in their train seed alone: the two of the lowest train seeds."""
    found: dict[tuple[Any, ...], dict[Any, CellScores]] = {}
    for one in cells:
        names = one.asked.cell.names
        key: tuple[Any, ...] = tuple(
            (name, value) for name, value in names.items() if name not in ("experiment", "train_seed")
        )
        seed = names["train_seed"]
        if seed is None or seed in found.get(key, {}):  # not known to be another training
            key = (*key, one.asked.experiment)
        found.setdefault(key, {})[seed] = one
    return [[group[seed] for seed in sorted(group)[:2]] for group in found.values()]


def _train_seeds(trainings: Sequence[CellScores]) -> list[Any]:
    return [one.asked.cell.names["train_seed"] for one in trainings]


def _reliability_rows(trainings: Sequence[CellScores], weights: WeightArray) -> Iterator[Record]:
    first, *again = trainings
    together = _Together.of((first, *again)) if again else None
    if together is None:
        yield _row("reliability", (first, *again), reason=_why_not(first, bool(again)))
        return
    for statistic, drawn in correlations(together.phis, together.membership, weights[:, together.examples]).items():
        figures = _figures("r", estimate(drawn[:, 0, 1]))
        yield _row("reliability", (first, *again), together, statistic=statistic, **figures)


def _why_not(one: CellScores, trained_again: bool) -> str:
    if one.answers is None:
        return DISJOINT
    if trained_again:
        return NO_COMMON
    if one.asked.cell.names["train_seed"] is None:
        return "no train seed is known, so no other cell is known to be the same, trained again"
    return "trained once; --replicates 1 trains it again"


def _crossed_rows(a: Sequence[CellScores], b: Sequence[CellScores], weights: WeightArray) -> Iterator[Record]:
    seeds_a, seeds_b = _train_seeds(a), _train_seeds(b)
    if seeds_a[0] == seeds_b[1] or seeds_a[1] == seeds_b[0]:
        yield _row("crossed", (a[0], b[0]), reason="the trainings to be crossed share a train seed")
        return
    together = _Together.of((*a, *b))
    if together is None:
        yield _row("crossed", (a[0], b[0]), reason=NO_COMMON)
        return
    found = crossings(together.phis, together.membership, weights[:, together.examples])
    for pair, pairing in zip(((a[0], b[1]), (a[1], b[0])), found, strict=True):
        for one in pairing:
            names = ("r", "reliability_a", "reliability_b", "corrected")
            figures = [_figures(name, getattr(one, name)) for name in names]
            values = {name: value for figure in figures for name, value in figure.items()}
            yield _row("crossed", pair, together, statistic=one.statistic, **values)


@dataclasses.dataclass(frozen=True, eq=False)
class _Together:
    """What trainings say with the models that all of them have, of examples with enough of these on either side.

    phis: [M, k] of each. membership: bool [M, k]. examples: bool [n], which of the asked ones these are.
    """

    phis: list[Float64Array]
    membership: BoolArray
    examples: BoolArray

    @classmethod
    def of(cls, cells: Sequence[CellScores]) -> _Together | None:
        """None where too few examples are left."""
        answers: list[Answers] = [one.answers for one in cells if one.answers is not None]
        if len(answers) < len(cells):
            return None
        models = [index for index in answers[0].indices if all(index in one.indices for one in answers)]
        rows = [[one.indices.index(index) for index in models] for one in answers]
        membership = answers[0].membership[rows[0]]
        examples = comparable(membership)
        if examples.sum() < FEWEST_EXAMPLES:
            return None
        phis = [one.phi[own][:, examples] for one, own in zip(answers, rows, strict=True)]
        return cls(phis, membership[:, examples], examples)


def _row(kind: str, cells: Sequence[CellScores], together: _Together | None = None, **values: Any) -> Record:
    """cells: a, and b where there is one."""
    row: Record = {"kind": kind}
    for side, one in zip("ab", cells, strict=False):
        row |= {f"experiment_{side}": one.asked.experiment, f"train_seed_{side}": one.asked.cell.names["train_seed"]}
    if together is not None:
        row |= {"num_models": len(together.membership), "num_examples": together.membership.shape[1]}
    return row | values


def _figures(name: str, found: Estimate) -> Record:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def exposed_rows(one: CellScores, values: Float64Array, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The SHOWN most exposed examples of a cell, rows of exposed.csv."""
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
    held = [int(i) for i in order[:SHOWN] if not np.isnan(values[i])]
    return [
        {
            "experiment": one.asked.experiment,
            "rank": rank,
            "index": int(one.asked.index[i]),
            "label": int(one.asked.label[i]),
            "class_name": class_names[one.asked.label[i]] if class_names else None,
            "exposure": float(values[i]),
        }
        for rank, i in enumerate(held, start=1)
    ]


def open_examples(one: CellScores, places: Places) -> DataSet | None:
    """The data set that a cell was trained on; None where this project did not train it. RunError, one line, where it
    is not there or another one is."""
    if not isinstance(one.asked.cell, Cell):
        return None
    try:
        data, data_hash = open_data(one.asked.cell.config, places.data_dir)
    except (UsageError, OSError) as error:
        raise RunError(f"no pictures of exposed examples: {error}") from None
    if data_hash != one.asked.split[0]:
        raise RunError(f"no pictures of exposed examples: --data-dir {places.data_dir} holds other data")
    return data
