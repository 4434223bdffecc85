"""Who is at risk, in words and tables: the most exposed tenth, leakage per class, and how predicted risks fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from scipy.stats import norm

from attacks.intervals import holm
from reporting.figures import FOUND
from reporting.frames import is_empty

Labels = Mapping[str, str]
GROUPS = {"class": "class", "answer": "answered", "difficulty": "difficulty, fifth"}


def risk_sentences(rows: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """What the most exposed tenth makes up, cell by cell, and how far single predicted risks can be relied on.

    rows: of risk.csv, of one setting. A tenth is said to make up more, or less, than the null only where the interval
    of the difference leaves 0 out, and still after Holm's correction for as many cells as are told of.
    """
    tenths = rows[(rows["kind"] == "exposed") & rows["difference"].notna()]
    p_values = holm([_p_value(row) for _, row in tenths.iterrows()])
    for (_, row), p_holm in zip(tenths.iterrows(), p_values, strict=True):
        verdict = _verdict(row, p_holm, len(tenths))
        yield (
            f"{labels[row['experiment']]}: the most exposed tenth makes up {_percent(row['share_found'])} of the found "
            f"members and {_percent(row['share_false_positives'])} of the false positives, the null; {verdict} "
            f"({_signed(row)})."
        )
    highest = rows[(rows["kind"] == "risk") & (rows["group"] == "10") & rows["false_positives"].notna()]
    said = [
        f"{labels[row['experiment']]} {_percent(row['false_positive_risk'])} predicted, "
        f"{_percent(row['false_positives'])} counted"
        for _, row in highest.iterrows()
    ]
    if said:
        yield (
            "False-positive risks of single examples are predictions (examples.csv). Of the tenth of non-member pairs "
            f"with the highest: {'; '.join(said)}."
        )


def _p_value(row: pd.Series) -> float:
    """Two-sided, of a normal distribution as wide as the 95 % interval."""
    spread = (row["difference_high"] - row["difference_low"]) / (2 * norm.ppf(0.975))
    return float(2 * norm.sf(abs(row["difference"]) / spread)) if spread > 0 else float(row["difference"] == 0)


def _verdict(row: pd.Series, p_holm: float | None, cells: int) -> str:
    if row["difference_low"] <= 0 <= row["difference_high"]:
        return "no difference is found"
    if p_holm is None or p_holm >= FOUND:
        return f"a difference does not survive correction for {cells} cells"
    if row["difference"] > 0:
        return "its members are found more often than that explains"
    return "its members are found less often than the null has it"


def _percent(value: Any) -> str:
    return "-" if is_empty(value) else f"{100 * value:.1f} %"


def _signed(row: pd.Series) -> str:
    low, high = row["difference_low"], row["difference_high"]
    return f"{100 * row['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def risk_table(rows: pd.DataFrame, labels: Labels) -> dict[str, Any]:
    """For the report: `cells`, their names, and `lines`, a group each with the share of members found in every cell;
    no lines where there are no rows."""
    chosen = rows[rows["kind"].isin(GROUPS)]
    names = list(dict.fromkeys(chosen["experiment"]))
    known = {(row["kind"], row["group"], row["experiment"]): row["found"] for _, row in chosen.iterrows()}
    groups = list(dict.fromkeys((kind, group) for kind, group, _ in known))
    groups.sort(key=lambda one: list(GROUPS).index(one[0]))  # stable: of one kind in the table's order
    lines = [
        {
            "group": f"{GROUPS[kind]} {group}",
            "found": [_percent(known.get((kind, group, name))) for name in names],
        }
        for kind, group in groups
    ]
    return {"cells": [labels[name] for name in names], "lines": lines}
