"""Who is at risk, in words and tables: the most exposed tenth, leakage per class, and how predicted risks fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reporting.figures import FOUND
from reporting.frames import is_empty

Labels = Mapping[str, str]
GROUPS = {"class": "class", "answer": "answered", "difficulty": "difficulty, fifth"}


def risk_sentences(rows: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """What the most exposed tenth makes up, cell by cell, and how far single predicted risks can be relied on.

    rows: of risk.csv, of one setting. A tenth is said to make up more, or less, than the null, and another share than
    with dense training, only where the interval of the difference leaves 0 out, and still after Holm's correction for
    as many cells as are told of.
    """
    tenths = rows[(rows["kind"] == "exposed") & rows["difference"].notna()]
    for _, row in tenths.iterrows():
        verdict = _verdict(row, len(tenths))
        yield (
            f"{labels[row['experiment']]}: the most exposed tenth makes up {_percent(row['share_found'])} of the found "
            f"members and {_percent(row['share_false_positives'])} of the false positives, the null; {verdict} "
            f"({_signed(row)})."
        )
    yield from _trained_again(rows[(rows["kind"] == "replicate") & rows["difference"].notna()], labels)
    yield from _beside_dense(rows[(rows["kind"] == "paired") & rows["difference"].notna()], labels)
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


def _trained_again(again: pd.DataFrame, labels: Labels) -> Iterator[str]:
    said = [f"{labels[row['experiment']]} minus {labels[row['against']]} {_signed(row)}" for _, row in again.iterrows()]
    if said:
        yield (
            "So much does it differ, beyond its null, between two trainings of one cell, which is chance: "
            f"{'; '.join(said)}."
        )


def _beside_dense(paired: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """A sentence for each pruned cell of which a difference is found, and one for all others."""
    found = [_is_found(row) for _, row in paired.iterrows()]
    for _, row in paired[found].iterrows():
        more = "more" if row["difference"] > 0 else "less"
        yield (
            f"{labels[row['experiment']]}: beyond its null, the most exposed tenth makes up {more} of the found "
            f"members than with {labels[row['against']]} ({_signed(row)})."
        )
    others = len(paired) - sum(found)
    if others:
        which = "the pruned cell" if len(paired) == 1 else f"{others} of {len(paired)} pruned cells"
        yield (
            "No change against dense training of what the most exposed tenth makes up beyond its null is found for "
            f"{which}, after correction for {len(paired)}."
        )


def _is_found(row: pd.Series) -> bool:
    return not row["difference_low"] <= 0 <= row["difference_high"] and row["p_holm"] < FOUND


def _verdict(row: pd.Series, cells: int) -> str:
    if row["difference_low"] <= 0 <= row["difference_high"]:
        return "no difference is found"
    if not _is_found(row):
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
