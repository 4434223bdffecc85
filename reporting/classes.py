"""Leakage per class as a picture: how often members of each class are found, dense beside every pruned cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning.registry import prunes
from reporting.charts import Draw
from reporting.legends import place_legend
from reporting.style import MARKERS, PAGE, TITLE_SIZE, Colour, method_marker

COLUMNS = 4  # of panels
MOST_NAMED = 20  # classes that have a place for their number each
_PANEL = 1.35  # inches
_APART = 0.17  # of the width of a class, by which dots of two cells stand beside each other


def class_rows(risks: pd.DataFrame, cells: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """The rows of classes of risk.csv with their cell's method and the place `x` of the class: by its number, or where
    there are more than MOST_NAMED by its mean share over all cells, the highest first (of one cell alone, its own luck
    would choose the order).

    cells: rows of cells.csv, of which those are taken that are `shown` or do not prune.
    """
    rows = risks[(risks["kind"] == "class") & risks["found"].notna()].merge(cells[["experiment", "method"]])
    rows = rows[rows["experiment"].isin(shown) | ~rows["method"].map(prunes).astype(bool)]
    means = rows.groupby("group")["found"].mean()
    if len(means) <= MOST_NAMED:
        order = sorted(means.index, key=int)
    else:
        order = list(means.sort_values(ascending=False, kind="stable").index)
    placed: pd.DataFrame = rows.assign(x=rows["group"].map({name: place for place, name in enumerate(order)}))
    return placed


def panels_of(rows: pd.DataFrame) -> list[tuple[str | None, str | None]]:
    """The experiments that stand in a panel each: a dense one, and one that is pruned; None where there is no such."""
    firsts = rows.drop_duplicates("experiment")
    whole = [str(row["experiment"]) for _, row in firsts.iterrows() if row["method"] and not prunes(row["method"])]
    others = [str(name) for name in firsts["experiment"] if name not in whole]
    dense = whole[0] if whole else None
    return [(dense, name) for name in others] or ([(dense, None)] if dense else [])


def panels_size(count: int) -> tuple[float, float]:
    """Inches of so many panels."""
    return PAGE * min(count, COLUMNS) / COLUMNS if count > 1 else PAGE / 2, 0.45 + _PANEL * -(-count // COLUMNS)


def by_class(
    rows: pd.DataFrame,
    panels: Sequence[tuple[str | None, str | None]],
    labels: Mapping[str, str],
    colours: Mapping[str, Colour],
) -> Draw:
    """A panel per pruned cell, with the dense one in it: a dot per class with its 95 % interval, in percent.

    rows: of `class_rows`; panels: of `panels_of`; labels, colours: by experiment.
    """
    classes = rows.drop_duplicates("x").sort_values("x")["group"]
    few = len(classes) <= MOST_NAMED
    columns = min(COLUMNS, len(panels))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(-(-len(panels) // columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (dense, pruned) in zip(grid, panels, strict=False):
            for name, side in ((dense, -_APART), (pruned, _APART)):
                if name is not None:
                    part = rows[rows["experiment"] == name]
                    _draw_dots(axes, part, side if pruned and dense else 0.0, labels[name], colours[name], few)
            axes.set_title(labels[pruned or dense or ""])
            axes.grid(axis="x", visible=False)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        grid[0].set_ylim(bottom=0.0)
        if few:
            grid[0].set_xticks(range(len(classes)), list(classes), fontsize=TITLE_SIZE if len(classes) > 10 else None)
            figure.supxlabel("Class")
        else:
            grid[0].set_xticks([])
            figure.supxlabel(f"{len(classes)} classes, by their mean share over all cells")
        figure.supylabel("Members found (%)")
        handles, names = grid[0].get_legend_handles_labels()
        # pruned cells stand in the titles of their panels
        if panels[0][0] is not None and panels[0][1] is not None:
            place_legend(figure, "upper", handles[:1], names[:1])

    return draw


def _draw_dots(axes: Axes, part: pd.DataFrame, shift: float, label: str, colour: Colour, few: bool) -> None:
    method = part["method"].iloc[0]
    marker = method_marker(method) if isinstance(method, str) else MARKERS[0]
    places, scale = part["x"].to_numpy(dtype=float) + shift, 100.0
    low, high = (scale * part[name].to_numpy(dtype=float) for name in ("found_low", "found_high"))
    known = ~np.isnan(low)
    axes.vlines(places[known], low[known], high[known], color=colour, linewidth=0.9 if few else 0.4, alpha=0.8)
    look: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 3.0 if few else 1.6, "color": colour}
    axes.plot(places, scale * part["found"].to_numpy(dtype=float), label=label, **look)
