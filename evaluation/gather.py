"""The whole evaluation of a runs directory: every table's rows, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from artifacts.run_dir import MODEL_FILE
from configs.errors import RunError
from evaluation.attack import Asked, Attacker, Scored, ask_all, attack_cell, attacked_by, check_names, progress
from evaluation.compare import compare, correct, pairs
from evaluation.estimates import Measured, common_weights, estimate, measured
from evaluation.exposure_rows import agreement_rows, exposed_rows, exposing_attack, exposures, open_pictures
from mia.evaluate import SUITE_OF
from mia.inference import Estimate
from mia.interface import AttackResult, BoolArray
from mia.metrics import METRICS, Metric, WeightArray, evaluate_scores, roc
from mia.registry import ATTACKS
from mia.trimming import LEFT_OUT
from sweep.attackable import Attackable

TRANSFER_METRICS = ("auc", "tpr_at_fpr_0.01")
TRANSFER_RESAMPLES = 200  # the grid has a cell's share of work for every other cell
ROC_POINTS = 200

Record = dict[str, Any]


@dataclasses.dataclass
class Evidence:
    """Everything an evaluation found; each list holds the rows of the table of that name.

    scored: the attacked cells. exposure_scores: by experiment, [n] a cell. exposed_pictures: by experiment, uint8
    [k, H, W, ch] in the order of `exposed`. problems: what could not be used, in words. notes: what was left out.
    """

    cells: list[Record] = dataclasses.field(default_factory=list)
    tidy: list[Record] = dataclasses.field(default_factory=list)
    summary: list[Record] = dataclasses.field(default_factory=list)
    roc: list[Record] = dataclasses.field(default_factory=list)
    comparisons: list[Record] = dataclasses.field(default_factory=list)
    transfer: list[Record] = dataclasses.field(default_factory=list)
    exposure: list[Record] = dataclasses.field(default_factory=list)
    exposed: list[Record] = dataclasses.field(default_factory=list)
    exposed_pictures: dict[str, Any] = dataclasses.field(default_factory=dict)
    exposure_scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    scored: list[Scored] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def gather(cells: Sequence[Attackable], attacker: Attacker) -> Evidence:
    """Attack every cell that can be attacked, and compare what was found; the others keep their reason."""
    check_names(attacker.options, [cell.experiment for cell in cells])
    evidence = Evidence()
    targets, reasons = ask_all(cells, attacker)
    weights = Resamples(targets)
    crossed: dict[tuple[str, str], _Crossing] = {}
    for own in progress(targets, "attacking"):
        scored = Scored(own)
        for one in attack_cell(own, attacked_by(own, targets, attacker.options), attacker, scored):
            key = (one.asked.experiment, own.experiment)
            crossing = crossed.setdefault(key, _Crossing(one.asked, own))
            crossing.add(one.position, one.results, weights)
        evidence.scored.append(scored)
        evidence.notes += scored.left_out
    _measure_all(evidence, weights)
    evidence.transfer = _transfer_rows(evidence, crossed)
    _expose_all(evidence, weights, attacker)
    for cell in cells:
        evidence.problems += cell.problems
        evidence.cells.append(_cell_row(cell, targets, reasons))
    return evidence


class Resamples:
    """How often each example counts in each resample, drawn once for all cells and attacks of a split."""

    def __init__(self, targets: Sequence[Asked]) -> None:
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
            memberships = [one.membership if rows is None else one.membership[:, rows] for one in sharing]
            self._drawn[key] = common_weights(memberships, sharing[0].cell.seed)
        return self._drawn[key]


@dataclasses.dataclass(eq=False)
class _Crossing:
    """One cell's targets under another cell's shadows: by attack, then by target, what was measured."""

    asked: Asked
    shadows: Asked
    found: dict[str, dict[int, Measured]] = dataclasses.field(default_factory=dict)

    def add(self, position: int, results: Mapping[str, AttackResult], weights: Resamples) -> None:
        membership, target = self.asked.membership[position], self.asked.targets[position]
        # of several targets, only means have intervals
        resamples = TRANSFER_RESAMPLES if len(self.asked.targets) == 1 else 0
        for attack, result in results.items():
            values = evaluate_scores(result.scores, result.among(membership), result.threshold, resamples)
            few = {metric: values[metric] for metric in TRANSFER_METRICS}
            drawn = weights.of(self.asked.split, result.rows)[:TRANSFER_RESAMPLES]
            self.found.setdefault(attack, {})[target] = measured(result, membership, few, drawn)


def _measure_all(evidence: Evidence, weights: Resamples) -> None:
    """Tidy rows, means over targets, ROC curves and comparisons: one variant at a time, to bound memory."""
    scored = evidence.scored
    chosen = pairs([one.asked for one in scored])
    summaries: dict[tuple[str, str, str], Estimate] = {}
    for attack in SUITE_OF:
        having = [one for one in scored if attack in one.results]
        found = {one.asked.experiment: _measured(one, attack, weights) for one in having}
        for experiment, by_target in found.items():
            for metric in METRICS:
                mean = estimate(by_target, metric)
                if mean is not None:
                    summaries[experiment, attack, metric] = mean
        for kind, a, b in chosen:
            if a.experiment in found and b.experiment in found:
                evidence.comparisons += compare(kind, a, b, attack, found)
        for one in having:
            evidence.roc += _roc_rows(one, attack)
    correct(evidence.comparisons)
    for one in scored:
        head = one.asked.cell.names
        for row in one.rows:
            over = summaries.get((one.asked.experiment, str(row["attack"]), str(row["metric"])))
            evidence.tidy.append({**head, **row, **_over_targets(over)})
        for attack in one.results:
            for metric in METRICS:
                over = summaries.get((one.asked.experiment, attack, metric))
                row = {"suite": SUITE_OF[attack], "attack": attack, "metric": metric, "num_targets": 0}
                evidence.summary.append({**head, **row, **(dataclasses.asdict(over) if over else {})})


def _over_targets(over: Estimate | None) -> Record:
    if over is None:
        return {"num_targets": 0}
    names = {"mean": over.mean, "sd": over.sd, "mean_ci_low": over.ci_low, "mean_ci_high": over.ci_high}
    return {**names, "num_targets": over.num_targets}


def _measured(one: Scored, attack: str, weights: Resamples) -> dict[int, Measured]:
    values: dict[int, dict[str, Metric]] = {}
    for row in one.rows:
        if row["attack"] == attack:
            figure: Any = (row["value"], row["ci_low"], row["ci_high"])
            values.setdefault(int(row["target"] or 0), {})[str(row["metric"])] = Metric(*figure)
    return {
        target: measured(result, inside, values[target], weights.of(one.asked.split, result.rows))
        for target, result, inside in zip(one.asked.targets, one.results[attack], one.asked.membership, strict=True)
    }


def _roc_rows(one: Scored, attack: str) -> Iterator[Record]:
    """The mean over targets of the TPR reached at each FPR of a logarithmic grid, from one non-member's share to 1."""
    results = one.results[attack]
    inside = [result.among(membership) for result, membership in zip(results, one.asked.membership, strict=True)]
    grid = np.geomspace(1.0 / min(int((~own).sum()) for own in inside), 1.0, ROC_POINTS)
    rates = []
    for result, own in zip(results, inside, strict=True):
        fpr, tpr = roc(result.scores, own)
        rates.append(tpr[np.searchsorted(fpr, grid * (1 + 1e-12), side="right") - 1])
    for x, y in zip(grid, np.mean(rates, axis=0), strict=True):
        yield {"experiment": one.asked.experiment, "attack": attack, "fpr": float(x), "tpr": float(y)}


def _transfer_rows(evidence: Evidence, crossed: Mapping[tuple[str, str], _Crossing]) -> list[Record]:
    """The grid of target cells and shadow cells; the diagonal is the ordinary evaluation."""
    rows = []
    involved = {experiment for pair in crossed for experiment in pair}
    for row in evidence.summary:
        if row["experiment"] in involved and row["attack"] in ATTACKS and row["metric"] in TRANSFER_METRICS:
            sides = {f"{side}_{name}": row[name] for side in ("target", "shadows") for name in _SIDE}
            rows.append({**sides, **{name: row.get(name) for name in ("attack", "metric", *_ESTIMATE)}})
    for crossing in crossed.values():
        sides = {
            f"{side}_{name}": asked.cell.names[name]
            for side, asked in (("target", crossing.asked), ("shadows", crossing.shadows))
            for name in _SIDE
        }
        for attack, found in crossing.found.items():
            for metric in TRANSFER_METRICS:
                over = estimate(found, metric)
                figures = dataclasses.asdict(over) if over else {"num_targets": 0}
                rows.append({**sides, "attack": attack, "metric": metric, **figures})
    order = {one.asked.experiment: i for i, one in enumerate(evidence.scored)}
    return sorted(rows, key=lambda row: (order[row["target_experiment"]], order[row["shadows_experiment"]]))


_SIDE = ("experiment", "method", "sparsity")
_ESTIMATE = ("mean", "sd", "ci_low", "ci_high", "num_targets")


def _expose_all(evidence: Evidence, weights: Resamples, attacker: Attacker) -> None:
    settings = dict.fromkeys((one.asked.split, one.asked.setting) for one in evidence.scored)
    for split, setting in settings:
        group = [one for one in evidence.scored if (one.asked.split, one.asked.setting) == (split, setting)]
        attack = exposing_attack(group)
        if attack is None:
            continue
        group = [one for one in group if attack in one.results]  # the others lack the shadow models for it
        evidence.exposure += agreement_rows(group, attack, weights.of(split))
        values = exposures(group, attack)
        evidence.exposure_scores |= values
        try:
            data = open_pictures(group[0], attacker.places)
        except RunError as error:
            evidence.notes.append(str(error))
            data = None
        for one in group:
            rows = exposed_rows(one, values[one.asked.experiment], data.class_names if data else ())
            evidence.exposed += rows
            if data is not None:
                pictures = data.train_images[[row["index"] for row in rows]]
                evidence.exposed_pictures[one.asked.experiment] = pictures.permute(0, 2, 3, 1).numpy()


def _cell_row(cell: Attackable, targets: Sequence[Asked], reasons: Mapping[str, str]) -> Record:
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
    for summary in summaries[:1]:
        row |= {name: summary[name] for name in ("fingerprint", "data_hash", "split_hash")}
        row["weights_hash"] = summary["hashes"].get(MODEL_FILE)
    return row
