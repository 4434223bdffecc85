"""A row per cell for `screen.csv`: what its target says by itself, whether it has shadow models or not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from artifacts.progress import announced
from artifacts.signals import Signals
from attacks.arrays import BoolArray, Float64Array
from attacks.evaluate import learn_each, score
from attacks.interface import AttackSettings
from attacks.registry import ATTACKS
from attacks.screen import screen, trace_iqr
from configs.errors import RunError
from configs.machine import Places
from evaluation.attackable import Attackable
from evaluation.cells import load_cell

log = logging.getLogger(__name__)
BAYES = "lira_bayes"
Record = dict[str, Any]


def screen_rows(cells: Sequence[Attackable], places: Places, device: str) -> tuple[list[Record], list[Record]]:
    """Of each cell, what names it and the figures of its target (model 0) or the reason why there are none; and of each
    member of a target with loss traces, their interquartile range.

    accuracy_gap: accuracy on its members minus on non-members, in [-1, 1], as its training recorded it.
    trace_iqr_median, trace_iqr_q90: over members, nats. trace_spearman: over members, the rank correlation of the
    interquartile range with Bayes LiRA's score, where the cell has shadow models enough for it.
    """
    rows, members = [], []
    for cell in announced(cells, "asking", lambda cell: cell.experiment):
        figures, ranges = _figures(cell, places, device)
        rows.append({**cell.names, **figures})
        members += [{**cell.names, **one} for one in ranges]
    return rows, members


def _figures(cell: Attackable, places: Places, device: str) -> tuple[Record, list[Record]]:
    if cell.reason:
        return {"reason": cell.reason}, []
    try:
        signals = cell.ask(0, places, device, cell.queries(1, samia=False, population=0))
    except RunError as error:
        return {"reason": str(error)}, []
    asked = np.ones_like(signals.membership) if signals.audited is None else signals.audited
    found = screen(signals.phi[asked, 0], signals.membership[asked], cell.seed)
    trained = cell.summary_of(0)
    on_members, outside = trained["train_accuracy"], trained["heldout_accuracy"]
    figures = {
        "accuracy_gap": None if None in (on_members, outside) else on_members - outside,
        "loss_gap": found.loss_gap,
        "loss_auc": found.loss_auc.value,
        "ci_low": found.loss_auc.ci_low,
        "ci_high": found.loss_auc.ci_high,
        "num_examples": int(asked.sum()),
        "reason": None,
    }
    ranges = member_ranges(cell, 0, signals)
    if ranges is None:
        return figures, []
    median, top = np.quantile(ranges, (0.5, 0.9))
    figures |= {"trace_iqr_median": median, "trace_iqr_q90": top}
    figures["trace_spearman"] = _beside_bayes(cell, places, device, signals, asked, ranges)
    inside = np.flatnonzero(signals.membership)
    return figures, [
        {"index": int(signals.pool[row]), "label": int(signals.labels[row]), "trace_iqr": value}
        for row, value in zip(inside, ranges, strict=True)
    ]


def member_ranges(cell: Attackable, index: int, signals: Signals) -> Float64Array | None:
    """`trace_iqr` of each of a model's members, in the order of the pool; None where there are no traces to use."""
    try:
        traces = cell.traces_of(index)
        if traces is not None and not np.array_equal(traces.index, signals.pool[signals.membership]):
            raise RunError(f"{cell.origin(index)}: its loss traces are of other members")
    except (RunError, OSError) as error:
        log.warning("%s", error)
        return None
    return None if traces is None else trace_iqr(traces.losses)


def _beside_bayes(
    cell: Attackable, places: Places, device: str, signals: Signals, asked: BoolArray, ranges: Float64Array
) -> float | None:
    """Spearman's correlation over the target's members; None where Bayes LiRA is not defined, or nothing varies."""
    if cell.num_shadows < ATTACKS[BAYES].min_shadows:
        return None
    found = load_cell(cell, places, device, cell.queries(None, samia=False, population=0)).models(cell.seed)
    (knowledge,) = learn_each(found, [0], (BAYES,), AttackSettings(seed=cell.seed))
    results = score(knowledge, found.outputs(0))
    if BAYES not in results:
        return None
    scores = np.full(len(asked), np.nan)
    scores[asked] = results[BAYES].spread()
    return rank_correlation(ranges, scores[signals.membership])


def rank_correlation(one: Float64Array, other: Float64Array) -> float | None:
    """Spearman's correlation of two [n], where both have a value; None where one of them does not vary."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return None
    return float(stats.spearmanr(one[both], other[both]).statistic)
