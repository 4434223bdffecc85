"""Who is exposed: per-example exposure of every cell, how far cells agree, and the pictures of the most exposed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from configs.config import Places
from configs.errors import RunError, UsageError
from data.base import ImageData
from evaluation.attack import Scored
from mia.exposure import Agreement, agreement, exposure, split_half
from mia.interface import Float64Array
from mia.metrics import WeightArray
from sweep.cells import Cell
from training.inputs import open_data

TOP = 0.01  # the share of examples whose agreement is reported
SHOWN = 12  # most exposed examples listed, and drawn, a cell
CANDIDATES = ("lira", "rmia", "loss")


def exposing_attack(cells: Sequence[Scored]) -> str | None:
    """The attack whose scores stand for exposure: the best known one that ran on some cell."""
    return next((name for name in CANDIDATES if any(name in one.results for one in cells)), None)


def exposures(cells: Sequence[Scored], attack: str) -> dict[str, Float64Array]:
    """By experiment, the exposure of each asked example, [n]: NaN where no target holds it."""
    return {one.asked.experiment: exposure(one.scores(attack), one.asked.membership) for one in cells}


def agreement_rows(cells: Sequence[Scored], attack: str, weights: WeightArray) -> list[dict[str, Any]]:
    """Rows of exposure.csv for the cells of one split and setting; a cell beside itself is the ceiling."""
    values = exposures(cells, attack)
    rows = []
    for a, b in combinations_with_replacement(cells, 2):
        targets = [target for target in a.asked.targets if target in b.asked.targets]
        ours, theirs = (one.scores(attack)[[one.asked.targets.index(target) for target in targets]] for one in (a, b))
        membership = a.asked.membership[[a.asked.targets.index(target) for target in targets]]
        half = split_half(ours, membership, theirs, weights, TOP) if targets else None
        if a is b and half is None:
            continue  # one target says nothing about how far a cell agrees with itself
        row: dict[str, Any] = {"experiment_a": a.asked.experiment, "experiment_b": b.asked.experiment}
        row |= {"attack": attack, "top": TOP}
        if a is not b:
            found = agreement(values[a.asked.experiment], values[b.asked.experiment], weights, TOP)
            if found is None:
                continue
            row |= {"num_examples": found.num_examples, "chance_jaccard": found.chance_jaccard, **_figures(found, "")}
        if half is not None:
            row |= {"num_examples": half.num_examples, "chance_jaccard": half.chance_jaccard} if a is b else {}
            row |= _figures(half, "split_half_")
        rows.append(row)
    return rows


def _figures(found: Agreement, prefix: str) -> dict[str, float | None]:
    names = ("jaccard", "jaccard_low", "jaccard_high", "spearman", "spearman_low", "spearman_high")
    return {prefix + name: getattr(found, name) for name in names}


def exposed_rows(one: Scored, values: Float64Array, class_names: Sequence[str]) -> list[dict[str, Any]]:
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


def open_pictures(one: Scored, places: Places) -> ImageData | None:
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
