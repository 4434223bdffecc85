"""Rows of roc.csv: a cell's mean ROC curve for each attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from attacks.arrays import Float64Array
from attacks.metrics import roc
from evaluation.attack import CellScores

ROC_POINTS = 100  # on a logarithmic grid, beside ROC_STEPS equal steps
ROC_STEPS = 250


def roc_rows(one: CellScores, attack: str) -> Iterator[dict[str, Any]]:
    """The mean over targets of the TPR reached at each FPR of a grid: 0, logarithmic from one non-member's share, 1.

    A curve goes straight across a run of equal scores, as the AUC counts ties. Trapezoids under these rows have the
    mean AUC up to 1 / (2 ROC_STEPS), whatever the scores: a curve that never falls is off by half a step at most.
    """
    results = one.results[attack]
    inside = [result.among(membership) for _, result, membership in one.measured_targets(attack)]
    first = 1.0 / min(int((~own).sum()) for own in inside)
    grid = np.union1d(np.geomspace(first, 1.0, ROC_POINTS), np.linspace(0.0, 1.0, ROC_STEPS + 1))
    rates = []
    for result, own in zip(results, inside, strict=True):
        fpr, tpr = roc(result.scores, own)
        rates.append(_upper(grid * (1 + 1e-12), fpr, tpr))
    for x, y in zip(grid, np.mean(rates, axis=0), strict=True):
        yield {"experiment": one.asked.experiment, "attack": attack, "fpr": float(x), "tpr": float(y)}


def _upper(grid: Float64Array, fpr: Float64Array, tpr: Float64Array) -> Float64Array:
    """A ROC curve at the FPRs of `grid`, the upper end where it is vertical; straight between its points."""
    left = np.searchsorted(fpr, grid, side="right") - 1
    right = np.minimum(left + 1, fpr.size - 1)
    width = np.where(right > left, fpr[right] - fpr[left], 1.0)
    return np.asarray(tpr[left] + (grid - fpr[left]) / width * (tpr[right] - tpr[left]))
