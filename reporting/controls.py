"""What pruned cells leak beside their controls, in sentences: one for all cells of which the same is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from attacks.registry import headline_of
from reporting.figures import is_number
from reporting.frames import to_frame
from reporting.names import labels_of
from reporting.tables import CELLS_COLUMNS, COMPARISON_COLUMNS, Record
from reporting.verdicts import (
    CONTROLLED,
    LESS,
    LOST,
    MORE,
    NO_CONTROL,
    NO_LESS,
    NONE,
    ONE_TARGET,
    SAME,
    UNTESTED,
    difference,
    farthest,
    verdict,
)

# What a control shares with the pruned cell: with one cell, and with several.
_AT = {
    "equal_accuracy": ("At its accuracy", "At their accuracies"),
    "equal_size": ("At its size", "At their sizes"),
}
MOST_FIGURES = 5  # in brackets of a sentence on what was not found; beyond, it has the largest
ORDER = (LESS, MORE, SAME, NONE, LOST, ONE_TARGET, UNTESTED, NO_CONTROL)


def sentences_of(comparisons: Sequence[Record], cells: Sequence[Record]) -> list[str]:
    """The sentences of an evaluation's rows, on its headline attack."""
    rows = to_frame(comparisons, COMPARISON_COLUMNS)
    labels = labels_of(to_frame(cells, CELLS_COLUMNS))
    return list(control_sentences(rows, headline_of(rows["attack"]) or "", labels))


def control_sentences(rows: pd.DataFrame, attack: str, labels: Mapping[str, str]) -> Iterator[str]:
    """For each kind of control, what is found; nothing where there are none.

    rows: of comparisons.csv. "No less" is said only where the whole interval lies within `verdicts.NO_LESS`.
    """
    own = rows[(rows["attack"] == attack) & (rows["metric"] == "auc")]
    for kind in CONTROLLED:
        yield from grouped(own[own["kind"] == kind], labels, _AT[kind])


def grouped(rows: pd.DataFrame, labels: Mapping[str, str], at: tuple[str, str], other: str = "dense") -> Iterator[str]:
    """A sentence for all rows of which the same is said.

    at: how it begins, of one cell and of several; other: what all are compared with.
    """
    said: dict[str, list[pd.Series]] = {}
    for _, row in rows.iterrows():
        said.setdefault(verdict(row), []).append(row)
    for one in ORDER:
        found, most = said.get(one, []), ""
        if not found:
            continue
        cells = [_cell(row, labels) for row in found]
        if one == NONE and len(found) > MOST_FIGURES and all(is_number(row["ci_low"]) for row in found):
            cells = [labels[row["experiment_a"]] for row in found]
            most = f"{max(map(farthest, found)):.3f}"
        yield _sentence(one, at[0] if len(cells) == 1 else at[1], cells, other, most or "the figure in brackets")


def _cell(row: pd.Series, labels: Mapping[str, str]) -> str:
    """A cell and its figure; where nothing was found, how large a difference is not ruled out."""
    figure = difference(row)
    if verdict(row) == NO_CONTROL:
        figure = str(row["control"]).removeprefix("none: ")
    elif verdict(row) == NONE and is_number(row["ci_low"]):
        figure = f"{farthest(row):.3f}"
    return f"{labels[row['experiment_a']]} ({figure})"


def _sentence(said: str, at: str, cells: list[str], other: str, most: str) -> str:
    one = len(cells) == 1
    names = cells[0] if one else f"{', '.join(cells[:-1])} and {cells[-1]}"
    leak = "leaks" if one else "leak"
    return {
        LESS: f"{at}, {names} {leak} less than {other}.",
        MORE: f"{at}, {names} {leak} more than {other}.",
        SAME: f"{at}, {names} {leak} no less than {other} and no more, to within {NO_LESS:g} AUC.",
        NONE: f"{at}, no difference of more than {most} was found between {other} and {names}.",
        LOST: f"{at}, a difference to {other} does not survive correction: {names}.",
        ONE_TARGET: f"{at}, {names} {'is' if one else 'are'} compared with {other} by one target network each, which "
        "says nothing of other networks trained alike.",
        UNTESTED: f"{at}, {names} {'is' if one else 'are'} not tested against {other}.",
        NO_CONTROL: f"No {other} control {at.replace('At', 'of')} {'has' if one else 'have'} {names}.",
    }[said]
