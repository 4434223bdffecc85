"""The whole evaluation of a runs directory: every table's rows, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from artifacts.progress import announced, step
from artifacts.run_dir import MODEL_FILE
from attacks.arrays import BoolArray
from attacks.evaluate import suites
from attacks.interface import AttackResult
from attacks.intervals import Estimate
from attacks.metrics import METRICS, Metric, WeightArray, allowed_false_positives, evaluate_scores
from attacks.registry import ATTACKS, headline_of
from attacks.trimming import LEFT_OUT
from configs.attacks import MOST_TARGETS
from configs.errors import RunError
from data.base import ImageData
from data.duplicates import Duplicates
from evaluation.attack import Attacker, CellScores, Targets, ask_all, attack_cell, attacked_by, check_names
from evaluation.attackable import Attackable
from evaluation.common import Which, attack_common, in_words, sides
from evaluation.compare import compare, correct
from evaluation.duplicates import DUPLICATES, duplicates_by_split
from evaluation.epsilon import epsilon_columns
from evaluation.estimates import Measured, common_weights, estimate, low_fpr, measured
from evaluation.examples import example_risks, example_rows
from evaluation.exposure_rows import exposed_rows, exposure_rows, exposures, left_out, open_examples
from evaluation.pairing import pairs
from evaluation.releases import release_rows
from evaluation.risk import risk_rows
from evaluation.roc_rows import roc_rows
from evaluation.signature import signature_columns
from reporting.frames import to_frame
from reporting.tables import EXAMPLE_COLUMNS

TRANSFER_METRICS = ("auc", "tpr_at_fpr_0.01")
TRANSFER_RESAMPLES = 200  # the grid has a cell's share of work for every other cell

Record = dict[str, Any]
Key = tuple[str, str, str]  # experiment, attack, metric


@dataclasses.dataclass
class Evidence:
    """Everything an evaluation found; each list holds the rows of the table of that name, `examples` a frame per cell,
    which takes a small part of what so many records would.

    scored: the attacked cells. exposure_scores: by experiment, exposures [n]. exposed_pictures: by experiment, uint8
    [k, H, W, ch] in the order of `exposed`. problems: what could not be used, in words. notes: what was left out.
    """

    cells: list[Record] = dataclasses.field(default_factory=list)
    tidy: list[Record] = dataclasses.field(default_factory=list)
    summary: list[Record] = dataclasses.field(default_factory=list)
    roc: list[Record] = dataclasses.field(default_factory=list)
    comparisons: list[Record] = dataclasses.field(default_factory=list)
    transfer: list[Record] = dataclasses.field(default_factory=list)
    releases: list[Record] = dataclasses.field(default_factory=list)
    exposure: list[Record] = dataclasses.field(default_factory=list)
    exposed: list[Record] = dataclasses.field(default_factory=list)
    examples: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    risk: list[Record] = dataclasses.field(default_factory=list)
    exposed_pictures: dict[str, Any] = dataclasses.field(default_factory=dict)
    exposure_scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    scored: list[CellScores] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def gather(cells: Sequence[Attackable], attacker: Attacker) -> Evidence:
    """Attack every cell that can be attacked, and compare what was found; the others keep their reason."""
    check_names(attacker.options, [cell.experiment for cell in cells])
    evidence = Evidence()
    targets, reasons = ask_all(cells, attacker)
    weights = Resamples(targets)
    crossed: dict[tuple[str, str], _TransferResult] = {}
    for own in announced(targets, "attacking", lambda one: one.experiment):
        scored = CellScores(own)
        others = attacked_by(own, targets, attacker.options)
        for one in attack_cell(own, others, attacker, scored, weights.of(own.split)):
            key = (one.asked.experiment, own.experiment)
            crossing = crossed.setdefault(key, _TransferResult(one.asked, own))
            crossing.add(one.position, one.results, weights)
        evidence.scored.append(scored)
        evidence.notes += scored.left_out
    evidence.notes += _targets_left_out(targets, attacker)
    own_shadows = _measure_all(evidence, weights, attacker)
    evidence.transfer = _transfer_rows(evidence, own_shadows, crossed)
    evidence.releases, words = release_rows(evidence.scored, weights.of)
    evidence.notes += words
    _expose_all(evidence, weights, attacker)
    duplicates, bounds = duplicates_by_split(targets, attacker.places), epsilon_columns(evidence.scored)
    signatures = signature_columns(evidence.scored)
    for cell in cells:
        evidence.problems += cell.problems
        row = _cell_row(cell, targets, reasons, duplicates) | bounds.get(cell.experiment, {})
        evidence.cells.append(row | signatures.get(cell.experiment, {}))
    return evidence


class Resamples:
    """How often each example counts in each resample, drawn once for all cells and attacks of a split."""

    def __init__(self, targets: Sequence[Targets]) -> None:
        self._targets = targets
        self._drawn: dict[tuple[tuple[str, ...], bytes], WeightArray] = {}

    def of(self, split: tuple[str, ...], rows: BoolArray | None = None) -> WeightArray:
        """[B, k] for the k of the split's examples that have a score, bool [n], or for all of them.

        Where few are left out, which are others for each target: the targets' resamples stay one draw of examples.
        """
        if rows is not None and rows.mean() >= 1.0 - LEFT_OUT:
            return self.of(split)[:, rows]
        key = split, b"" if rows is None else rows.tobytes()
        if key not in self._drawn:
            sharing = [one for one in self._targets if one.split == split]
            memberships = [one.membership if rows is None else _both_sides(one.membership[:, rows]) for one in sharing]
            self._drawn[key] = common_weights(memberships, sharing[0].cell.seed)
        return self._drawn[key]


def _both_sides(membership: BoolArray) -> BoolArray:
    """The targets, [T, k], that hold some of the examples and not all: an attack of one target may have no others."""
    return membership[membership.any(axis=1) & ~membership.all(axis=1)]


@dataclasses.dataclass(eq=False)
class _TransferResult:
    """One cell's targets under another cell's shadows: by attack, then by target, what was measured."""

    asked: Targets
    shadows: Targets
    found: dict[str, dict[int, Measured]] = dataclasses.field(default_factory=dict)

    def add(self, position: int, results: Mapping[str, AttackResult], weights: Resamples) -> None:
        membership, target = self.asked.membership[position], self.asked.targets[position]
        for attack, result in results.items():
            allowed = allowed_false_positives(result.among(self.asked.membership))
            inside = result.among(membership)
            values = evaluate_scores(result.scores, inside, result.threshold, resamples=0, allowed=allowed)
            few = {metric: values[metric] for metric in TRANSFER_METRICS}
            drawn = weights.of(self.asked.split, result.rows)[:TRANSFER_RESAMPLES]
            self.found.setdefault(attack, {})[target] = measured(result, membership, few, drawn, allowed)


def _targets_left_out(targets: Sequence[Targets], attacker: Attacker) -> list[str]:
    """In words, that large cells have more models than play the target where nobody says how many."""
    large = [asked for asked in targets if len(asked.cell.models) > len(asked.targets) == MOST_TARGETS]
    if attacker.options.num_targets is not None or not large:
        return []
    most = max(len(asked.cell.models) for asked in large)
    return [
        f"the first {MOST_TARGETS} models play the target, of up to {most} in each of {len(large)} cells "
        "(--num-targets all takes every model)"
    ]


def _measure_all(evidence: Evidence, weights: Resamples, attacker: Attacker) -> dict[Key, Estimate]:
    """Tidy rows, means over targets, ROC curves and comparisons: one variant at a time, to bound memory.

    Returns the means over those targets that other cells' shadows attack as well.
    """
    scored = evidence.scored
    chosen = pairs([one.asked for one in scored])
    evidence.notes += in_words(chosen, attacker)
    every: dict[Which, CellScores] = {(one.asked.experiment, None): one for one in scored}
    every |= attack_common(chosen, attacker, weights.of)
    summaries: dict[Key, Estimate] = {}
    own_shadows: dict[Key, Estimate] = {}
    rates: dict[Key, Record] = {}
    suite_of = suites()
    for attack in announced([key for key in suite_of if any(key in one.results for one in scored)], "measuring"):
        found = {which: _measured(one, attack, weights) for which, one in every.items() if attack in one.results}
        for (experiment, models), by_target in found.items():
            if models is None:
                summaries |= _estimates(experiment, attack, by_target, METRICS)
                rates |= {(experiment, attack, metric): low_fpr(by_target, metric) for metric in METRICS}
                first = dict(list(by_target.items())[: attacker.options.crossed_targets])
                own_shadows |= _estimates(experiment, attack, first, TRANSFER_METRICS)
        for pair in chosen:
            cells = [found[which] for which in sides(pair) if which in found]
            if len(cells) == len(pair.cells):
                evidence.comparisons += compare(pair, attack, *cells)
        for one in scored:
            if attack in one.results:
                evidence.roc += roc_rows(one, attack)
    correct(evidence.comparisons, headline_of({attack for one in scored for attack in one.results}))
    for one in scored:
        head = one.asked.cell.names
        for row in one.rows:
            over = summaries.get((one.asked.experiment, str(row["attack"]), str(row["metric"])))
            evidence.tidy.append({**head, **row, **_over_targets(over)})
        for attack, results in one.results.items():
            tied = float(np.mean([result.tied for result in results]))
            for metric in METRICS:
                key = one.asked.experiment, attack, metric
                row = {"suite": suite_of[attack], "attack": attack, "metric": metric, "num_targets": 0, "tied": tied}
                figures = dataclasses.asdict(summaries[key]) | rates[key] if key in summaries else {}
                evidence.summary.append({**head, **row, **figures})
    return own_shadows


def _estimates(
    experiment: str, attack: str, found: Mapping[int, Measured], metrics: Sequence[str]
) -> dict[Key, Estimate]:
    means = {(experiment, attack, metric): estimate(found, metric) for metric in metrics}
    return {key: mean for key, mean in means.items() if mean is not None}


def _over_targets(over: Estimate | None) -> Record:
    if over is None:
        return {"num_targets": 0}
    names = {"mean": over.mean, "sd": over.sd, "mean_ci_low": over.ci_low, "mean_ci_high": over.ci_high}
    return {**names, "num_targets": over.num_targets}


def _measured(one: CellScores, attack: str, weights: Resamples) -> dict[int, Measured]:
    """By target; the rows of the attack get their intervals."""
    step(one.asked.experiment, say=False)
    rows: dict[int, dict[str, Any]] = {}
    for row in one.rows:
        if row["attack"] == attack:
            rows.setdefault(int(row["target"] or 0), {})[str(row["metric"])] = row
    found = {}
    deleted = one.deleted.get(attack, [])
    for place, (target, result, inside) in enumerate(one.measured_targets(attack)):
        values = {metric: Metric(row["value"], None, None) for metric, row in rows[target].items()}
        allowed = allowed_false_positives(result.among(one.asked.membership))
        drawn = weights.of(one.asked.split, result.rows)
        without = deleted[place] if deleted else None
        found[target] = measured(result, inside, values, drawn, allowed, without)
        for metric, row in rows[target].items():
            row |= {end: getattr(found[target].values[metric], end) for end in ("ci_low", "ci_high")}
    return found


def _transfer_rows(
    evidence: Evidence, own_shadows: Mapping[Key, Estimate], crossed: Mapping[tuple[str, str], _TransferResult]
) -> list[Record]:
    """The grid of target cells and shadow cells; the diagonal is the ordinary evaluation of the same targets."""
    rows = []
    involved = {experiment for pair in crossed for experiment in pair}
    for one in evidence.scored:
        names = one.asked.cell.names
        for attack in [key for key in one.results if key in ATTACKS and one.asked.experiment in involved]:
            for metric in TRANSFER_METRICS:
                over = own_shadows.get((one.asked.experiment, attack, metric))
                head = {f"{side}_{name}": names[name] for side in ("target", "shadows") for name in _SIDE}
                figures = dataclasses.asdict(over) if over else {"num_targets": 0}
                rows.append({**head, "attack": attack, "metric": metric, **figures})
    for crossing in crossed.values():
        head = {
            f"{side}_{name}": asked.cell.names[name]
            for side, asked in (("target", crossing.asked), ("shadows", crossing.shadows))
            for name in _SIDE
        }
        for attack, found in crossing.found.items():
            for metric in TRANSFER_METRICS:
                over = estimate(found, metric)
                figures = dataclasses.asdict(over) if over else {"num_targets": 0}
                rows.append({**head, "attack": attack, "metric": metric, **figures})
    order = {one.asked.experiment: i for i, one in enumerate(evidence.scored)}
    return sorted(rows, key=lambda row: (order[row["target_experiment"]], order[row["shadows_experiment"]]))


_SIDE = ("experiment", "method", "sparsity")


def _setting_name(split: tuple[str, ...], setting: tuple[Any, ...]) -> str:
    return " ".join(str(value) for value in setting[:2] if value is not None)


def _expose_all(evidence: Evidence, weights: Resamples, attacker: Attacker) -> None:
    settings = dict.fromkeys((one.asked.split, one.asked.setting) for one in evidence.scored)
    for split, setting in announced(list(settings), "comparing exposure", lambda one: _setting_name(*one)):
        alike = [one for one in evidence.scored if (one.asked.split, one.asked.setting) == (split, setting)]
        group = [one for one in alike if one.asked.control is None]  # nobody asks whom a control exposes
        evidence.exposure += exposure_rows(group, weights.of(split))
        evidence.notes += left_out(group)
        values = exposures(group)
        evidence.exposure_scores |= values
        known = [(one, risks) for one in group if (risks := example_risks(one)) is not None]
        for one, risks in known:
            evidence.examples.append(to_frame(list(example_rows(one, risks)), EXAMPLE_COLUMNS))
        evidence.risk += risk_rows(known, weights.of(split))
        group = [one for one in group if one.asked.experiment in values]
        if not group:
            continue
        try:
            data = open_examples(group[0], attacker.places)
        except RunError as error:
            evidence.notes.append(str(error))
            data = None
        for one in group:
            rows = exposed_rows(one, values[one.asked.experiment], data.class_names if data else ())
            evidence.exposed += rows
            if isinstance(data, ImageData):
                pictures = data.train_images[[row["index"] for row in rows]]
                evidence.exposed_pictures[one.asked.experiment] = pictures.permute(0, 2, 3, 1).numpy()


def _cell_row(
    cell: Attackable,
    targets: Sequence[Targets],
    reasons: Mapping[str, str],
    duplicates: Mapping[tuple[str, ...], Duplicates | None],
) -> Record:
    asked = next((one for one in targets if one.cell is cell), None)
    summaries = asked.summaries if asked else [summary for summary in [cell.summary()] if summary is not None]
    row: Record = {
        **cell.names,
        "num_shadows": cell.num_shadows,
        "num_targets": len(asked.targets) if asked else 0,
        "num_examples": len(asked.index) if asked else None,
        "finished_models": len(cell.models),
        "planned_models": cell.planned_models,
        "reason": reasons.get(cell.experiment, ""),
    }
    for name in ("train_accuracy", "heldout_accuracy", "test_accuracy"):
        values = [summary[name] for summary in summaries if summary[name] is not None]
        row[name] = float(np.mean(values)) if values else None
    both = row["train_accuracy"] is not None and row["heldout_accuracy"] is not None
    row["generalisation_gap"] = row["train_accuracy"] - row["heldout_accuracy"] if both else None
    shares = [summary["num_members"] / summary["num_pool"] for summary in summaries]
    row["majority_baseline"] = float(np.mean([max(share, 1 - share) for share in shares])) if shares else None
    counted = duplicates[asked.split] if asked else None
    for summary in summaries[:1]:
        row |= dataclasses.asdict(counted) if counted else {name: summary.get(name) for name in DUPLICATES}
        row |= {name: summary[name] for name in ("fingerprint", "data_hash", "split_hash")}
        row |= {name: summary.get(name) for name in ("num_test", "measured_sparsity", "flops", "optimizer_steps")}
        row["weights_hash"] = summary["hashes"].get(MODEL_FILE)
    return row
