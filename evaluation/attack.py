"""Attacking cells: who their targets are, what each cell's shadows teach, and both brought together.

Every cell's targets are attacked with their own cell's shadows, and with those of other cells of the same split
(`Reach`). Model t of the other cell was trained on the very members of target t, so it is left out, always: otherwise
the number of IN shadows would tell the target's membership.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from artifacts.progress import announced, step
from artifacts.signals import QuerySettings, Signals
from attacks.arrays import BoolArray, Float64Array, IntArray
from attacks.evaluate import Knowledge, Row, learn_each, measure, score, too_few
from attacks.interface import AttackResult, AttackSettings, Outputs
from attacks.metrics import WeightArray
from attacks.registry import ATTACKS, STRONGEST, attack_of
from configs.attacks import AttackOptions
from configs.errors import RunError, UsageError
from configs.experiment import SETTING
from configs.machine import Places
from configs.suggest import did_you_mean
from evaluation.attackable import Attackable
from evaluation.cells import CellSignals, load_cell, load_model, read_models
from evaluation.deletion import Deletions, deletions
from evaluation.left_out import left_out_words
from evaluation.remarks import remarks
from evaluation.strongest import choice_in_words, strongest
from training.device import pick_device

log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Targets:
    """One cell's targets and who belongs to them.

    targets: model indices, [T]. index, label: int64 [n], the examples whose membership is asked, as positions in the
    training set and classes. membership: bool [T, n]. split: what cells must share to be compared example by example.
    summaries: of the targets' trainings. form: the numbers of classes (0 without logits), queries and population
    examples, and whether there is a sensitivity: what another cell's attacks must find alike. models: indices of those
    that play the target or its shadows, None for all that the cell has.
    """

    cell: Attackable
    targets: tuple[int, ...]
    index: IntArray
    label: IntArray
    membership: BoolArray
    split: tuple[str, ...]
    summaries: list[dict[str, Any]]
    form: tuple[int, int, int, bool]
    models: tuple[int, ...] | None = None

    @property
    def experiment(self) -> str:
        return self.cell.experiment

    @property
    def setting(self) -> tuple[Any, ...]:
        """Data set, architecture, seed and split, which a block of the report is about."""
        names = self.cell.names
        return tuple(names[name] for name in SETTING)

    @property
    def control(self) -> str | None:
        """What the cell is a control for (configs.experiment.CONTROLS), if it is one."""
        control: str | None = self.cell.names.get("control")
        return control

    def only(self, models: Sequence[int]) -> Targets:
        """The same of some of the cell's models: targets and shadows are among these."""
        rows = [row for row, target in enumerate(self.targets) if target in models]
        return dataclasses.replace(
            self,
            targets=tuple(self.targets[row] for row in rows),
            membership=self.membership[rows],
            summaries=[self.summaries[row] for row in rows],
            models=tuple(models),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What all models of a cell say of its examples, targets included: for figures that score no target.

    indices: model indices, [M]. phi: float64 [M, n], the mean over queries. membership: bool [M, n]. right: bool
    [M, n], whether the model classifies the example rightly, None where no logits were kept.
    """

    indices: tuple[int, ...]
    phi: Float64Array
    membership: BoolArray
    right: BoolArray | None = None


@dataclasses.dataclass(eq=False)
class CellScores:
    """An attacked cell: a row per target x variant x metric, and by variant the results of its targets.

    An attack is given all targets of `asked`, or the first few of them (`AttackOptions.targets_of`). unavailable: by
    attack, why it is not defined here. notes: by variant, what its reader should know. chosen: for each target, the
    attack that is strongest on its shadows. answers: None where only the target's models could hold what is asked about
    (--split disjoint). left_out: the examples and models that do not take part, in sentences. deleted: by variant, what
    each target's figures are without each of the cell's models, for the networks' part of intervals.
    """

    asked: Targets
    rows: list[Row] = dataclasses.field(default_factory=list)
    results: dict[str, list[AttackResult]] = dataclasses.field(default_factory=dict)
    unavailable: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    chosen: list[str] = dataclasses.field(default_factory=list)
    answers: Answers | None = None
    left_out: list[str] = dataclasses.field(default_factory=list)
    deleted: dict[str, list[Deletions]] = dataclasses.field(default_factory=dict)

    def scores(self, attack: str) -> Float64Array:
        """Scores of one variant on its targets, float64 [T, n], NaN where it has none."""
        return np.stack([result.spread() for result in self.results[attack]])

    def measured_targets(self, attack: str) -> Iterator[tuple[int, AttackResult, BoolArray]]:
        """Model index, result and membership [n] of each target of one variant."""
        return zip(self.asked.targets, self.results[attack], self.asked.membership, strict=False)


@dataclasses.dataclass(eq=False)
class Crossed:
    """One target attacked with another cell's shadows: results by attack, headline variants only."""

    asked: Targets
    shadows: Targets
    position: int
    results: dict[str, AttackResult]


@dataclasses.dataclass(frozen=True)
class Attacker:
    """How cells are attacked: attack names and options, where files are, on which device."""

    names: tuple[str, ...]
    options: AttackOptions
    places: Places
    device: str

    def queries(self, cell: Attackable) -> QuerySettings:
        """What the attacks need to have asked the cell's models."""
        samia = any(ATTACKS[name].needs_sensitivity for name in self.names) and cell.num_shadows > 0
        population = any(ATTACKS[name].needs_population for name in self.names) and cell.num_shadows > 0
        options = self.options
        asked = options.rmia_population if population else 0
        return cell.queries(options.num_queries, samia, asked, options.samia_examples)

    def load(self, cell: Attackable) -> CellSignals:
        """The signals of a cell, queried where the cache does not serve."""
        return load_cell(cell, self.places, self.device, self.queries(cell))

    def outputs(self, asked: Targets, target: int) -> Outputs:
        """What one target answered, read when it is needed: all of all cells would not fit into memory."""
        return load_model(asked.cell, target, self.places, self.device, self.queries(asked.cell))

    def most_targets(self) -> dict[str, int]:
        """By name, the number of targets of attacks that do not get all of a cell's targets."""
        counts = {name: self.options.targets_of(ATTACKS[name].trains_network) for name in self.names}
        return {name: count for name, count in counts.items() if count < max(counts.values())}

    def settings(self, cell: Attackable) -> AttackSettings:
        """The attacks' settings for a cell."""
        options, device = self.options, str(pick_device(self.device))
        return AttackSettings(
            options.attack_recipe, cell.seed, device, rmia_gamma=options.rmia_gamma, rmia_a=options.rmia_a
        )


def ask_targets(cell: Attackable, attacker: Attacker) -> Targets:
    """Which models of the cell play the target, and their memberships. RunError when the target cannot be had.

    Where nobody says how many targets, a model that holds all examples or none of them is no target but the first.
    """
    options = attacker.options
    wanted = max((options.targets_of(ATTACKS[name].trains_network) for name in attacker.names), default=1)
    queries = attacker.queries(cell)
    found = read_models(cell, attacker.places, attacker.device, queries, models=wanted)
    target, first = next(found)
    targets, membership = [target], [first.membership]
    if first.audited is not None:
        if options.num_targets is not None and wanted > 1:
            log.info("%s: one target is attacked; the other models never saw what is asked", cell.experiment)
    elif wanted > 1:
        for target, signals in found:
            if options.num_targets is not None or 0 < signals.membership.sum() < signals.membership.size:
                targets.append(target)
                membership.append(signals.membership)
    rows = np.flatnonzero(np.ones_like(first.labels) if first.audited is None else first.audited)
    summaries = [cell.summary_of(target) for target in targets]
    return Targets(
        cell=cell,
        targets=tuple(targets),
        index=first.pool[rows],
        label=first.labels[rows],
        membership=np.stack(membership)[:, rows],
        split=(summaries[0]["data_hash"], summaries[0]["split_hash"]),
        summaries=summaries,
        form=_form(first),
    )


def _form(signals: Signals) -> tuple[int, int, int, bool]:
    population = 0 if signals.population_phi is None else len(signals.population_phi)
    classes = 0 if signals.logits is None else signals.logits.shape[1]
    return classes, signals.phi.shape[1], population, signals.sensitivity is not None


def check_names(options: AttackOptions, experiments: Iterable[str]) -> None:
    """UsageError where --shadows-from names a cell that is not there, or mixes names with `all` or `own`."""
    known, words = sorted(set(experiments)), options.shadows_from or ("all",)
    if set(words) & {"all", "own"} and len(words) > 1:
        raise UsageError("argument --shadows-from: all and own stand alone; give one of them, or names of cells")
    unknown = [word for word in words if word not in {*known, "all", "own"}]
    if unknown:
        allowed = ["all", "own", *known]
        near = did_you_mean(unknown[0], allowed)
        raise UsageError(
            f"argument --shadows-from: {unknown[0]!r} is no cell here; choose from {', '.join(allowed)}{near}"
        )


def attacked_by(shadows: Targets, targets: Sequence[Targets], options: AttackOptions) -> list[Targets]:
    """The other cells whose targets the shadows of this cell are sent against (--shadows-from).

    They share the split, so that the left-out model is the right one, and answered the same queries. `all` keeps to one
    setting (architecture, size) and leaves out controls; a cell that is named attacks every cell of its split.
    """
    others = [asked for asked in targets if asked is not shadows and asked.split == shadows.split]
    others = [asked for asked in others if asked.form == shadows.form]
    words = options.shadows_from or ("all",)
    if "all" in words:
        alike = [asked for asked in others if asked.setting == shadows.setting and asked.control is None]
        return alike if shadows.control is None else []
    return others if shadows.experiment in words else []


def attack_cell(
    own: Targets, others: Sequence[Targets], attacker: Attacker, scored: CellScores, weights: WeightArray
) -> Iterator[Crossed]:
    """Attack a cell's targets with its own shadows (into `scored`), and other cells' targets with the same shadows.

    Everything is learned once a left-out model and forgotten before the next. weights: [B, n], of the resamples.
    """
    signals = attacker.load(own.cell)
    signals = signals if own.models is None else signals.only(own.models)
    if signals.audited is None:
        phi = signals.phi.mean(axis=2, dtype=np.float64)
        right = None if signals.logits is None else signals.logits.argmax(axis=2) == signals.labels
        scored.answers = Answers(signals.indices, phi, signals.membership, right)
    settings = attacker.settings(own.cell)
    models = signals.models(settings.seed)
    positions = [signals.indices.index(target) for target in own.targets]
    services = {target: models.service(position) for target, position in zip(own.targets, positions, strict=True)}
    scored.left_out += left_out_words(own.experiment, services, signals.indices, models.partners)
    most = attacker.most_targets()
    learned = learn_each(models, positions, attacker.names, settings, most, partial(_say_attack, len(positions)))
    for i, (position, knowledge) in enumerate(zip(positions, learned, strict=True)):
        step(f"target {i + 1} of {len(positions)}, its metrics", say=i > 0)
        _record(scored, i, knowledge, models.outputs(position), settings.seed)
        if i < attacker.options.crossed_targets:
            yield from _cross(own, others, knowledge, own.targets[i], attacker)
    # a variant that some target lacks has no mean over targets
    wanted = {name: min(most.get(name, len(own.targets)), len(own.targets)) for name in attacker.names}
    scored.results = {
        key: found
        for key, found in scored.results.items()
        if len(found) == (len(own.targets) if (attack := attack_of(key)) is None else wanted[attack.name])
    }
    scored.notes = remarks(scored.results)
    if scored.chosen:
        said = [choice_in_words(scored.chosen), scored.notes.get(STRONGEST, "")]
        scored.notes[STRONGEST] = "; ".join(words for words in said if words)
    step("its figures without each model", say=False)
    groups = models.groups
    scored.deleted, words = deletions(models, groups, positions, own.membership, scored.results, settings, weights)
    for key, word in words.items():
        scored.notes[key] = f"{scored.notes[key]}; {word}" if key in scored.notes else word


def _say_attack(num_targets: int, number: int, attack: str) -> None:
    step(f"target {number + 1} of {num_targets}, {attack}", say=number == 0)


def _record(scored: CellScores, position: int, knowledge: Knowledge, outputs: Outputs, seed: int) -> None:
    """Score a target and measure it. Of several targets the intervals come later, from resamples common to all."""
    asked = scored.asked
    results = score(knowledge, outputs)
    chosen = strongest(results)
    if chosen is not None:
        scored.chosen.append(chosen)
        results[STRONGEST] = results[chosen]
    for key, result in list(results.items()):
        reason = too_few(result, asked.membership[position])
        if reason is not None:
            scored.unavailable[key] = reason
            del results[key]
    for row in measure(results, asked.membership[position], seed, asked.membership, resamples=0):
        scored.rows.append({**row, "target": asked.targets[position]})
    for key, result in results.items():
        scored.results.setdefault(key, []).append(result)
    scored.unavailable |= knowledge.unavailable


def _cross(
    own: Targets, others: Sequence[Targets], knowledge: Knowledge, target: int, attacker: Attacker
) -> Iterator[Crossed]:
    for asked in others:
        if target in asked.targets:
            step(f"the same shadows against {asked.experiment}", say=False)
            position = asked.targets.index(target)
            results = score(knowledge, attacker.outputs(asked, target))
            inside = asked.membership[position]
            kept = {key: one for key, one in results.items() if key in ATTACKS and too_few(one, inside) is None}
            yield Crossed(asked, own, position, kept)


def ask_all(cells: Sequence[Attackable], attacker: Attacker) -> tuple[list[Targets], dict[str, str]]:
    """The targets of every cell that can be attacked, and by experiment the reason of the others."""
    found: list[Targets] = []
    reasons: dict[str, str] = {}
    for cell in announced(cells, "reading", lambda one: one.experiment):
        if cell.reason:
            reasons[cell.experiment] = cell.reason
            continue
        try:
            found.append(ask_targets(cell, attacker))
        except RunError as error:
            reasons[cell.experiment] = str(error)
    return found, reasons
