"""What pruned cells leak beside their controls, in sentences: one for all cells of which the same is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from attacks.registry import headline_of
from reporting.figures import is_number, labels_of
from reporting.frames import to_frame
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
_AT = {"equal_accuracy": ("its accuracy", "their accuracies"), "equal_size": ("its size", "their sizes")}
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
        said: dict[str, list[str]] = {}
        for _, row in own[own["kind"] == kind].iterrows():
            said.setdefault(verdict(row), []).append(_cell(row, labels))
        for one in ORDER:
            if one in said:
                yield _sentence(one, kind, said[one])


def _cell(row: pd.Series, labels: Mapping[str, str]) -> str:
    """A cell and its figure; where nothing was found, how large a difference is not ruled out."""
    figure = difference(row)
    if verdict(row) == NO_CONTROL:
        figure = str(row["control"]).removeprefix("none: ")
    elif verdict(row) == NONE and is_number(row["ci_low"]):
        figure = f"{farthest(row):.3f}"
    return f"{labels[row['experiment_a']]} ({figure})"


def _sentence(said: str, kind: str, cells: list[str]) -> str:
    one = len(cells) == 1
    at = f"At {_AT[kind][0 if one else 1]}"
    names = cells[0] if one else f"{', '.join(cells[:-1])} and {cells[-1]}"
    leak = "leaks" if one else "leak"
    return {
        LESS: f"{at}, {names} {leak} less than dense.",
        MORE: f"{at}, {names} {leak} more than dense.",
        SAME: f"{at}, {names} {leak} no less than dense and no more, to within {NO_LESS:g} AUC.",
        NONE: f"{at}, no difference of more than the figure in brackets was found between dense and {names}.",
        LOST: f"{at}, a difference to dense does not survive correction: {names}.",
        ONE_TARGET: f"{at}, {names} {'is' if one else 'are'} compared with dense by one target network each, which "
        "says nothing of other networks trained alike.",
        UNTESTED: f"{at}, {names} {'is' if one else 'are'} not tested against dense.",
        NO_CONTROL: f"No dense control of {_AT[kind][0 if one else 1]} {'has' if one else 'have'} {names}.",
    }[said]
