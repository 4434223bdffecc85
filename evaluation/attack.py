"""Attacking cells: what each target said, what each cell's shadows teach, and both brought together.

Every cell's targets are attacked with their own cell's shadows, and with those of other cells of the same split
(`Reach`). Model t of the other cell was trained on the very members of target t, so it is left out, always: otherwise
the number of IN shadows would tell the target's membership.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from configs.config import AttackOptions, Places
from configs.errors import RunError, UsageError
from mia.evaluate import Knowledge, Row, learn, measure, score
from mia.interface import (
    AttackResult,
    AttackSettings,
    BoolArray,
    Float64Array,
    IntArray,
    Outputs,
    from_models,
    outputs_of,
)
from mia.registry import ATTACKS
from sweep.cells import Cell, CellSignals, load_cell, queries_of
from training.device import pick_device

log = logging.getLogger(__name__)
SETTING = ("dataset_name", "arch", "layers", "width_mult", "seed", "split")


@dataclasses.dataclass(eq=False)
class Asked:
    """One cell's targets and what they answered.

    targets: model indices, [T]. index, label: int64 [n], the examples whose membership is asked, as positions in the
    training set and classes. membership: bool [T, n]. outputs: T of them. split: what cells must share to be compared
    example by example. summaries: of the targets' trainings.
    """

    cell: Cell
    targets: tuple[int, ...]
    index: IntArray
    label: IntArray
    membership: BoolArray
    outputs: list[Outputs]
    split: tuple[str, ...]
    summaries: list[dict[str, Any]]

    @property
    def experiment(self) -> str:
        return self.cell.experiment

    @property
    def setting(self) -> tuple[Any, ...]:
        """What cells of one comparison share beside the split."""
        return tuple(getattr(self.cell.config, name) for name in SETTING)


@dataclasses.dataclass(eq=False)
class Scored:
    """An attacked cell: a row per target x variant x metric, and by variant the results of all targets, [T].

    unavailable: by attack, why it is not defined here. notes: by variant, why threshold metrics are empty.
    """

    asked: Asked
    rows: list[Row] = dataclasses.field(default_factory=list)
    results: dict[str, list[AttackResult]] = dataclasses.field(default_factory=dict)
    unavailable: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    def scores(self, attack: str) -> Float64Array:
        """Scores of one variant, float64 [T, n]."""
        return np.stack([result.scores for result in self.results[attack]])


@dataclasses.dataclass(eq=False)
class Crossed:
    """One target attacked with another cell's shadows: results by attack, headline variants only."""

    asked: Asked
    shadows: Asked
    position: int
    results: dict[str, AttackResult]


@dataclasses.dataclass(frozen=True)
class Attacker:
    """How cells are attacked: attack names and options, where files are, on which device."""

    names: tuple[str, ...]
    options: AttackOptions
    places: Places
    device: str

    def load(self, cell: Cell) -> CellSignals:
        """The signals of a cell, queried where the cache does not serve."""
        samia = any(ATTACKS[name].needs_sensitivity for name in self.names) and cell.num_shadows > 0
        population = any(ATTACKS[name].needs_population for name in self.names) and cell.num_shadows > 0
        queries = queries_of(
            cell.config, self.options.num_queries, samia, self.options.rmia_population if population else 0
        )
        return load_cell(cell, self.places, self.device, queries)

    def settings(self, cell: Cell) -> AttackSettings:
        """The attacks' settings for a cell."""
        options, device = self.options, str(pick_device(self.device))
        return AttackSettings(
            options.attack_recipe, cell.config.seed, device, rmia_gamma=options.rmia_gamma, rmia_a=options.rmia_a
        )


def ask_targets(cell: Cell, attacker: Attacker) -> Asked:
    """What the cell's targets answered. RunError when the target's signals cannot be had."""
    signals = attacker.load(cell)
    wanted = attacker.options.num_targets
    if signals.audited is not None and wanted > 1:
        log.info("%s: --split disjoint has one target; the other models never saw its half", cell.experiment)
        wanted = 1
    positions = range(min(wanted, len(signals.indices)))
    rows = np.flatnonzero(np.ones_like(signals.labels) if signals.audited is None else signals.audited)
    summaries = [cell.models[signals.indices[position]].read_summary() for position in positions]
    return Asked(
        cell=cell,
        targets=tuple(signals.indices[position] for position in positions),
        index=signals.pool[rows],
        label=signals.labels[rows],
        membership=signals.membership[: len(positions), rows],
        outputs=[
            outputs_of(
                *(signals.logits, signals.phi, position),
                *(signals.sensitivity, signals.population_phi, signals.audited),
            )
            for position in positions
        ],
        split=(summaries[0]["data_hash"], summaries[0]["split_hash"]),
        summaries=summaries,
    )


def check_names(options: AttackOptions, experiments: Iterable[str]) -> None:
    """UsageError where --shadows-from names a cell that is not there, or mixes names with `all` or `own`."""
    known, words = sorted(set(experiments)), options.shadows_from
    if set(words) & {"all", "own"} and len(words) > 1:
        raise UsageError("argument --shadows-from: all and own stand alone; give one of them, or names of cells")
    unknown = [word for word in words if word not in {*known, "all", "own"}]
    if unknown:
        allowed = ", ".join(["all", "own", *known])
        raise UsageError(f"argument --shadows-from: {unknown[0]!r} is no cell here; choose from {allowed}")


def attacked_by(shadows: Asked, targets: Sequence[Asked], options: AttackOptions) -> list[Asked]:
    """The other cells whose targets the shadows of this cell are sent against (--shadows-from).

    They share the split, so that the left-out model is the right one. `all` keeps to one setting (architecture, size);
    a cell that is named attacks every cell of its split.
    """
    others = [asked for asked in targets if asked is not shadows and asked.split == shadows.split]
    if "all" in options.shadows_from:
        return [asked for asked in others if asked.setting == shadows.setting]
    return others if shadows.experiment in options.shadows_from else []


def attack_cell(own: Asked, others: Sequence[Asked], attacker: Attacker, scored: Scored) -> Iterator[Crossed]:
    """Attack a cell's targets with its own shadows (into `scored`), and other cells' targets with the same shadows.

    Everything is learned once a left-out model and forgotten before the next.
    """
    signals = attacker.load(own.cell)
    settings = attacker.settings(own.cell)
    for position, target in enumerate(own.targets):
        inputs = from_models(
            signals.logits,
            signals.phi,
            signals.membership,
            signals.labels,
            position,
            settings.seed,
            signals.sensitivity,
            signals.population_phi,
            signals.audited,
        )
        knowledge = learn(inputs, attacker.names, settings)
        _record(scored, position, knowledge, settings.seed)
        yield from _cross(own, others, knowledge, target)
    # a variant that some target lacks has no mean over targets
    scored.results = {key: found for key, found in scored.results.items() if len(found) == len(own.targets)}


def _record(scored: Scored, position: int, knowledge: Knowledge, seed: int) -> None:
    asked = scored.asked
    results = score(knowledge, asked.outputs[position])
    for row in measure(results, asked.membership[position], seed):
        scored.rows.append({**row, "target": asked.targets[position]})
    for key, result in results.items():
        scored.results.setdefault(key, []).append(result)
        if result.note is not None:
            scored.notes[key] = result.note
    scored.unavailable |= knowledge.unavailable


def _cross(own: Asked, others: Sequence[Asked], knowledge: Knowledge, target: int) -> Iterator[Crossed]:
    for asked in others:
        if target in asked.targets:
            position = asked.targets.index(target)
            results = score(knowledge, asked.outputs[position])
            yield Crossed(asked, own, position, {key: one for key, one in results.items() if key in ATTACKS})


def ask_all(cells: Sequence[Cell], attacker: Attacker) -> tuple[list[Asked], dict[str, str]]:
    """The targets of every cell that can be attacked, and by experiment the reason of the others."""
    found: list[Asked] = []
    reasons: dict[str, str] = {}
    for cell in progress(cells, "reading"):
        if cell.reason:
            reasons[cell.experiment] = cell.reason
            continue
        try:
            found.append(ask_targets(cell, attacker))
        except RunError as error:
            reasons[cell.experiment] = str(error)
    return found, reasons


def progress(items: Sequence[Any], what: str) -> Any:
    """The items under a progress bar, where standard error is a terminal."""
    return tqdm(items, desc=what, unit="cell", disable=not sys.stderr.isatty(), file=sys.stderr, leave=False)
