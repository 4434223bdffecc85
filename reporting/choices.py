"""What the page's own figure is drawn from: every attack and metric of every cell, and every difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from attacks.metrics import FPR_LIMITS, METRICS
from attacks.registry import ATTACKS
from reporting import verdicts
from reporting.charts import guessing
from reporting.figures import is_number
from reporting.labels import named_pair
from reporting.style import attack_title

LEVELS = "Each cell"
DIGITS = 5  # significant; a picture shows three
_PERCENT = frozenset(FPR_LIMITS)


def choices(
    summary: pd.DataFrame,
    compared: pd.DataFrame,
    labels: Mapping[str, str],
    named: Mapping[str, str],
    titles: tuple[Mapping[str, str], Mapping[str, str]],
) -> dict[str, Any]:
    """For the script, as JSON holds it: attacks and metrics by key and title, and views.

    A view has a title, what guessing gives (by metric), names of rows, and by attack and metric its rows: number of the
    name, value, the ends of its interval or null, number of a note. A note is a text, and whether the mark is filled.
    labels: of these cells; named: of any cell that `compared` names; titles: of metrics, and of kinds of comparisons.
    """
    metric_titles, kinds = titles
    known = summary[summary["mean"].notna()]
    attacks = [name for name in ATTACKS if name in set(known["attack"])]
    metrics = [name for name in METRICS if name in set(known["metric"])]
    notes: dict[tuple[str, bool], int] = {("", True): 0}
    views = [_levels(known, attacks, metrics, labels)]
    for kind, title in kinds.items():
        rows = compared[(compared["kind"] == kind) & compared["difference"].notna() & compared["attack"].isin(attacks)]
        if len(rows):
            views.append(_differences(rows, title, metrics, named, notes))
    return {
        "attacks": [[name, attack_title(name)] for name in attacks],
        "metrics": [
            [name, metric_titles.get(name, name.replace("_", " ").capitalize()), 100 if name in _PERCENT else 1]
            for name in metrics
        ],
        "views": views,
        "notes": [list(note) for note in notes],
    }


def _levels(known: pd.DataFrame, attacks: list[str], metrics: list[str], labels: Mapping[str, str]) -> dict[str, Any]:
    numbers = {experiment: i for i, experiment in enumerate(labels)}
    rows: dict[str, dict[str, list[list[float | None]]]] = {}
    for row in known.to_dict("records"):
        if row["attack"] in attacks and row["metric"] in metrics:
            values = [numbers[row["experiment"]], *map(_short, (row["mean"], row["ci_low"], row["ci_high"])), 0]
            rows.setdefault(row["attack"], {}).setdefault(row["metric"], []).append(values)
    level = {
        metric: _short(guessing(metric, known[known["metric"] == metric]))
        for metric in metrics
        if metric == "auc" or metric in FPR_LIMITS
    }
    return {"title": LEVELS, "guessing": level, "names": list(labels.values()), "rows": rows}


def _differences(
    compared: pd.DataFrame, title: str, metrics: list[str], named: Mapping[str, str], notes: dict[tuple[str, bool], int]
) -> dict[str, Any]:
    names: dict[str, int] = {}
    rows: dict[str, dict[str, list[list[float | None]]]] = {}
    for _, row in compared.iterrows():
        if row["metric"] in metrics:
            name = names.setdefault(" - ".join(named_pair(row, named)), len(names))
            found = verdicts.verdict(row) in (verdicts.LESS, verdicts.MORE)
            note = notes.setdefault((verdicts.finding(row).split(";")[0], found), len(notes))
            values = [name, *map(_short, (row["difference"], row["ci_low"], row["ci_high"])), note]
            rows.setdefault(row["attack"], {}).setdefault(row["metric"], []).append(values)
    return {"title": title, "guessing": dict.fromkeys(metrics, 0.0), "names": list(names), "rows": rows}


def _short(value: Any) -> float | None:
    return float(f"{value:.{DIGITS}g}") if is_number(value) else None
