"""Cells whose signals lie in files that others made (`artifacts.foreign_signals`), evaluated as trained cells are."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.foreign_about import COSTS, DRAWN
from artifacts.foreign_signals import ACCURACIES, ForeignSignals, read_foreign
from artifacts.run_dir import MODEL_FILE
from artifacts.signals import QuerySettings, Signals
from attacks.arrays import BoolArray, IntArray
from attacks.trimming import service
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.machine import Places
from data.splits import draw_pairs, draw_population
from evaluation.attackable import Attackable, order
from pruning.registry import METHODS

log = logging.getLogger(__name__)
FEWEST_SHADOWS = 3  # of attacks that compare those that hold an example with those that do not


@dataclasses.dataclass
class ForeignCell(Attackable):
    """The models of one file: model 0 is the target, the others are its shadows."""

    signals: ForeignSignals
    experiment: str
    models: dict[int, Path]
    problems: list[str] = dataclasses.field(default_factory=list)
    unfinished: int = 0

    @property
    def reason(self) -> str:
        return ""  # a file that cannot be attacked is refused when it is read

    @property
    def names(self) -> dict[str, Any]:
        about = self.signals.about
        split = about.described["split"] or ("balanced" if self.signals.audited is None else "disjoint")
        return {"experiment": self.experiment, **about.described, "seed": about.seed, "split": split}

    @property
    def trained_here(self) -> bool:
        return self.signals.about.fingerprint is not None

    @property
    def seed(self) -> int:
        return self.signals.about.seed

    @property
    def planned_models(self) -> int | None:
        return len(self.models)

    def more_shadows(self, needed: int) -> str:
        return f"a file of {needed + 1} models"

    def queries(
        self, num_queries: int | None, samia: bool, population: int, samia_examples: int | None = None
    ) -> QuerySettings:
        there = self.signals.phi.shape[2]
        if num_queries is not None and num_queries > there:
            raise UsageError(f"argument --num-queries: {self.signals.path} holds {there}; give that or less")
        asked = self.signals.population_phi
        samia = samia and self.signals.sensitivity is not None
        return QuerySettings(
            num_queries=num_queries or there,
            samia=samia,
            samia_examples=samia_examples if samia else None,
            population=0 if asked is None else min(population, asked.shape[1]),
        )

    def origin(self, index: int) -> str:
        return f"{self.signals.path}, model {index}"

    def files_of(self, index: int) -> dict[str, str]:
        return {"file": self.signals.path.as_posix(), "signals": self.signals.file_hash}

    def ask(self, index: int, places: Places, device: str, queries: QuerySettings) -> Signals:
        held, population = self.signals, self.signals.population_phi
        return Signals(
            pool=held.index,
            labels=held.labels,
            membership=held.membership[index],
            logits=None if held.logits is None else held.logits[index],
            phi=held.phi[index],
            sensitivity=None if held.sensitivity is None else held.sensitivity[index],
            weights_hash=held.file_hash,
            data_hash=held.data_hash(),
            settings=queries,
            audited=held.audited,
            population_phi=None if population is None else population[index][self._drawn(population.shape[1])],
        )

    def _drawn(self, examples: int) -> IntArray:
        """An order by chance, whose beginning is what --rmia-population takes: a file may begin with one class."""
        drawn = self.signals.about.population_order == DRAWN
        return np.arange(examples) if drawn else draw_population(examples, examples)

    def summary_of(self, index: int) -> dict[str, Any]:
        held = self.signals
        own = np.ones(held.labels.size, dtype=np.bool_)
        if held.audited is not None:
            own = held.audited if index == 0 else ~held.audited
        members, about = held.membership[index] & own, held.about
        accuracies: dict[str, float | None] = dict.fromkeys(ACCURACIES)
        if held.logits is not None:
            right = held.logits[index].argmax(axis=1) == held.labels
            accuracies |= {"train_accuracy": _share(right[members]), "heldout_accuracy": _share(right[own & ~members])}
        return {
            **accuracies,
            **{name: float(values[index]) for name, values in held.accuracies.items()},
            "num_test": about.num_test,
            "parameters": about.parameters,
            "sparsity_all_parameters": about.sparsity_all_parameters,
            **{name: getattr(about, name) for name in COSTS},
            "num_members": int(members.sum()),
            "num_pool": int(own.sum()),
            "hashes": {MODEL_FILE: about.weights_hash} if about.weights_hash else {},
            "fingerprint": about.fingerprint or held.file_hash,
            "data_hash": held.data_hash(),
            "split_hash": held.split_hash(),
        }


def _share(right: BoolArray) -> float | None:
    return float(right.mean()) if right.size else None


def read_cells(paths: Sequence[Path], options: AttackOptions) -> list[ForeignCell]:
    """A cell per file, checked for the targets and queries that are asked for. UsageError, one line, else.

    In the order of trained cells where all name a method of this project, else in the order given.
    """
    cells: dict[str, ForeignCell] = {}
    for path in paths:
        signals = read_foreign(path)
        name = signals.about.name
        if name in cells:
            raise UsageError(
                f"argument --signals: {path} and {cells[name].signals.path} are both named {name!r}; "
                "rename a file or give it a name in meta"
            )
        cells[name] = ForeignCell(signals, name, dict.fromkeys(range(len(signals.membership)), path))
        cells[name].queries(options.num_queries, samia=False, population=0)
        _check_targets(signals, options.num_targets or 1)
        _check_pairs(signals)
        _say_what_is_uneven(signals)
    found = list(cells.values())
    _check_labels(found)
    _say_what_cannot_be_compared(found)
    if all(cell.names["method"] in METHODS for cell in found):
        found.sort(key=lambda cell: order(cell.names))
    return found


def _check_labels(cells: Sequence[ForeignCell]) -> None:
    """Cells of one data set and split are paired example by example."""
    first: dict[tuple[str, str], ForeignCell] = {}
    for cell in cells:
        held = cell.signals
        other = first.setdefault((held.data_hash(), held.split_hash()), cell)
        if not np.array_equal(held.labels, other.signals.labels):
            raise UsageError(
                f"argument --signals: {held.path} and {other.signals.path} name one data_hash and split_hash in meta, "
                "and their labels differ"
            )


def _check_pairs(signals: ForeignSignals) -> None:
    """What a file calls pairs drawn from its seed are these very pairs."""
    models, examples = signals.membership.shape
    if signals.named_by_seed and not np.array_equal(
        signals.membership, draw_pairs(examples, models, signals.about.seed)
    ):
        raise UsageError(
            f"argument --signals: {signals.path}: meta: split_hash is that of pairs drawn from seed "
            f"{signals.about.seed}, and membership is not"
        )


def _check_targets(signals: ForeignSignals, num_targets: int) -> None:
    asked = slice(None) if signals.audited is None else signals.audited
    targets = 1 if signals.audited is not None else num_targets
    for index, row in enumerate(signals.membership[:targets, asked]):
        if row.all() or not row.any():
            side = "members" if row.all() else "non-members"
            raise UsageError(
                f"argument --signals: {signals.path}: model {index} has {side} only among the examples that are asked "
                "about; a target needs both"
            )


def _say_what_is_uneven(signals: ForeignSignals) -> None:
    """Examples that all shadows hold, or none, rule out what compares the two sides: say how many are in the way.

    Few of many are left out, which the evaluation says.
    """
    if service(signals.membership, 0, signals.audited).scored is not None:
        return
    learned = slice(None) if signals.audited is None else ~signals.audited
    held = signals.membership[1:, learned]
    if len(held) < FEWEST_SHADOWS or not held.size:
        return  # too few for any such attack
    none, all_of_them = int((~held.any(axis=0)).sum()), int(held.all(axis=0).sum())
    for count, who in ((none, "no shadow model holds"), (all_of_them, "every shadow model holds")):
        if count:
            log.warning(
                "%s: %s %d of %d examples, so attacks that compare both sides of every example are not defined; "
                "leave these examples out of the file, or add shadow models",
                *(signals.path, who, count, held.shape[1]),
            )


def _say_what_cannot_be_compared(cells: Sequence[ForeignCell]) -> None:
    first = cells[0]
    for cell in cells[1:]:
        for what in ("data_hash", "split_hash"):
            if getattr(cell.signals, what)() != getattr(first.signals, what)():
                differ = "labels or index" if what == "data_hash" else "membership or audited"
                log.warning("%s is not compared with %s: their %s differ", cell.experiment, first.experiment, differ)
                break
