"""Exposure in words: whether two cells expose the same examples, and what keeps that from being said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from attacks.exposure import SAME_ORDER, STATISTICS, has_changed, is_reliable
from pruning.registry import BASELINE
from reporting.frames import is_empty

TITLES = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_across_models": "Pearson across models",
    "spearman_across_models": "Spearman across models",
}
QUOTED = "pearson_across_models"  # the statistic that sentences give
SUPERSEDED = (
    "The exposures in this folder are of an earlier version: mean attack scores, compared over halves of a cell, which "
    "found a change between cells that differ in their starts alone. Nothing is said of them; evaluate again."
)
Labels = Mapping[str, str]


def exposure_sentences(rows: pd.DataFrame, cells: pd.DataFrame, labels: Labels) -> list[str]:
    """Whether each cell exposes the examples that an unpruned one does; rows: of exposure.csv, of one setting.

    "Partly other examples" only where both cells agree with themselves and every corrected correlation of both pairings
    lies below `attacks.exposure.SAME_ORDER`; else what kept it from being said.
    """
    reliability = rows[rows["kind"] == "reliability"]
    firsts = list(dict.fromkeys(reliability["experiment_a"]))
    unpruned = {row["experiment"] for _, row in cells.iterrows() if row["method"] == BASELINE}
    pairs = [(a, b) if a in unpruned else (b, a) for a, b in combinations(firsts, 2) if {a, b} & unpruned]
    alone = reliability[reliability["reason"].notna()]
    reasons = dict(zip(alone["experiment_a"], alone["reason"], strict=True))
    unknown = dict.fromkeys(name for pair in pairs for name in pair if name in reasons)
    found = []
    for reason in dict.fromkeys(reasons[name] for name in unknown):
        names = ", ".join(labels[name] for name in unknown if reasons[name] == reason)
        found.append(f"{names}: not known whether the same examples are exposed as in another cell ({reason}).")
    again = dict(zip(reliability["experiment_a"], reliability["experiment_b"], strict=True))
    for base, other in pairs:
        if not {base, other} & unknown.keys():
            found.append(f"{labels[other]}: {_verdict(_between(rows, again, base, other), base, other, labels)}.")
    return found


def _between(rows: pd.DataFrame, again: Mapping[str, str], base: str, other: str) -> pd.DataFrame:
    """The crossed rows of two cells, whichever of their trainings they are of."""
    ours, theirs = ({name, again[name]} for name in (base, other))
    a, b = rows["experiment_a"], rows["experiment_b"]
    either = (a.isin(ours) & b.isin(theirs)) | (a.isin(theirs) & b.isin(ours))
    chosen: pd.DataFrame = rows[(rows["kind"] == "crossed") & either]
    return chosen


def _verdict(rows: pd.DataFrame, base: str, other: str, labels: Labels) -> str:
    given = rows["reason"].dropna()
    if len(given):
        return f"not compared with {labels[base]}: {given.iloc[0]}"
    if len(rows) < 2 * len(STATISTICS):
        return f"not compared with {labels[base]}: exposure.csv lacks rows of the two"
    for side, name in _sides(rows, base, other).items():
        if not is_reliable(rows[f"reliability_{side}_low"]):
            worst = rows.sort_values(f"reliability_{side}_low", na_position="first").iloc[0]
            figure = f"{TITLES[worst['statistic']]} {interval(worst, f'reliability_{side}')}"
            unlike = f"{labels[name]} was not found to agree with itself, trained again"
            return f"nothing can be said, since {unlike} ({figure})"
    figures = _quoted(rows, base, other, labels)
    if has_changed(rows["corrected_high"]):
        return f"partly other examples are exposed than by {labels[base]} ({figures})"
    nearest = rows.sort_values("corrected_high", na_position="last").iloc[-1]
    reach = f"{TITLES[nearest['statistic']]} {interval(nearest, 'corrected')}"
    return (
        f"no change in who is exposed was found against {labels[base]} ({figures}; for a change every interval must be "
        f"below {SAME_ORDER:g}, and {reach} is not)"
    )


def _sides(rows: pd.DataFrame, base: str, other: str) -> dict[str, str]:
    """By a and b, the cell whose reliability stands under that name."""
    swapped = base in set(rows["experiment_b"]) or other in set(rows["experiment_a"])
    return {"a": other, "b": base} if swapped else {"a": base, "b": other}


def _quoted(rows: pd.DataFrame, base: str, other: str, labels: Labels) -> str:
    own = rows[rows["statistic"] == QUOTED]
    both = " and ".join(interval(row, "corrected") for _, row in own.iterrows())
    sides = _sides(rows, base, other)
    selves = [
        f"{labels[name]} with itself {interval(own.iloc[0], f'reliability_{side}')}" for side, name in sides.items()
    ]
    return f"correlation without noise {both}, 1 being one order; {', '.join(selves)}"


def interval(row: pd.Series | Mapping[str, Any], name: str) -> str:
    """A figure with its interval, to two digits; `-` where it is not defined."""
    if is_empty(row[name]):
        return "-"
    low, high = (
        f"{row[f'{name}{end}']:.2f}" if not is_empty(row[f"{name}{end}"]) else "?" for end in ("_low", "_high")
    )
    return f"{row[name]:.2f} [{low}, {high}]"


def agreement_table(rows: pd.DataFrame, labels: Labels) -> list[dict[str, Any]]:
    """A line for each pair of trainings: r and the corrected r, each in the order of STATISTICS."""
    figures = rows[rows["reason"].isna()]
    lines = []
    for (a, b), group in figures.groupby(["experiment_a", "experiment_b"], sort=False):
        of = {row["statistic"]: row for _, row in group.iterrows()}
        known = [of[name] for name in STATISTICS if name in of]
        first = group.iloc[0]
        lines.append(
            {
                "pair": f"{labels[a]} and {labels[b]}",
                "kind": "one cell, trained twice" if first["kind"] == "reliability" else "two cells",
                "models": f"{int(first['num_models']):,}",
                "examples": f"{int(first['num_examples']):,}",
                "r": [interval(row, "r") for row in known],
                "corrected": [interval(row, "corrected") for row in known],
            }
        )
    return lines


def pictures_caption(rows: pd.DataFrame, labels: Labels, shown: Sequence[str], superseded: bool) -> str:
    """What the pictures of the most exposed examples show, and how far another training would show the same."""
    if superseded:
        return (
            "The members with the highest mean attack score of each cell, by an earlier version's measure, with class "
            "and place in the training set."
        )
    own = rows[(rows["kind"] == "reliability") & (rows["statistic"] == QUOTED)]
    known = [f"{labels[row['experiment_a']]} {interval(row, 'r')}" for _, row in own.iterrows()]
    alone = set(shown) - set(own["experiment_a"]) - set(own["experiment_b"])
    return " ".join(_caption(known, [labels[name] for name in shown if name in alone]))


def _caption(known: Sequence[str], alone: Sequence[str]) -> Iterator[str]:
    yield (
        "The most exposed examples of each cell, the most exposed first, with class and place in the training set: "
        "those of which the networks that hold them are surest, against those that do not. Part of it is the luck of "
        "these trainings."
    )
    if known:
        yield f"Agreement of all exposures with those of a second training ({TITLES[QUOTED]}): {'; '.join(known)}."
    if alone:
        yield f"How far a second training would show the same is not known of {', '.join(alone)} (--replicates 1)."
    yield "Cells of one train seed share starts and batches: that a picture stands in several rows may be due to these."
