"""A row per cell for `screen.csv`: what its target's own outputs say, whether it has shadow models or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from artifacts.progress import announced
from attacks.screen import screen
from configs.errors import RunError
from configs.machine import Places
from evaluation.attackable import Attackable


def screen_rows(cells: Sequence[Attackable], places: Places, device: str) -> list[dict[str, Any]]:
    """What names each cell, and the figures of its target (model 0) or the reason why there are none.

    accuracy_gap: accuracy on its members minus on non-members, in [-1, 1], as its training recorded it.
    """
    asked = announced(cells, "asking", lambda cell: cell.experiment)
    return [{**cell.names, **_figures(cell, places, device)} for cell in asked]


def _figures(cell: Attackable, places: Places, device: str) -> dict[str, Any]:
    if cell.reason:
        return {"reason": cell.reason}
    try:
        signals = cell.ask(0, places, device, cell.queries(1, samia=False, population=0))
    except RunError as error:
        return {"reason": str(error)}
    asked = np.ones_like(signals.membership) if signals.audited is None else signals.audited
    found = screen(signals.phi[asked, 0], signals.membership[asked], cell.seed)
    trained = cell.summary_of(0)
    on_members, outside = trained["train_accuracy"], trained["heldout_accuracy"]
    return {
        "accuracy_gap": None if None in (on_members, outside) else on_members - outside,
        "loss_gap": found.loss_gap,
        "loss_auc": found.loss_auc.value,
        "ci_low": found.loss_auc.ci_low,
        "ci_high": found.loss_auc.ci_high,
        "num_examples": int(asked.sum()),
        "reason": None,
    }
