"""Pictures of many cells: a row for each instead of a line or a curve among many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from pruning.registry import is_held
from reporting.charts import FPR, HOLLOW, TPR, Draw, draw_curves, figures_of, guessing, name_replicates
from reporting.legends import place_legend
from reporting.style import GREY, TITLE_SIZE, line_style, method_colour, method_marker, method_title, shades

ROW = 0.16  # inches of a cell
BETWEEN = 0.5  # rows left empty between two methods
COLUMNS = 4  # of ROC curves


def sorted_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The first training of each pruned cell, by method, the one that leaks most first; with its place `y`.

    frame: summary rows of one attack and metric, and whether each is of a `replicate`.
    """
    pruned = frame[frame["method"].map(is_held) & ~frame["replicate"]]
    means = pruned.groupby("method")["mean"].mean().sort_values(ascending=False, kind="stable")
    order = {method: place for place, method in enumerate(means.index)}
    rows = pruned.assign(rank=pruned["method"].map(order)).sort_values(["rank", "sparsity"], kind="stable")
    placed: pd.DataFrame = rows.assign(y=-(np.arange(len(rows)) + BETWEEN * rows["rank"]))
    return placed


def height_of(rows: pd.DataFrame) -> float:
    """Inches that rows of `sorted_cells` take."""
    return ROW * float(1 - rows["y"].min()) if len(rows) else ROW


def by_cell(
    frame: pd.DataFrame, rows: pd.DataFrame, labels: Mapping[str, str], xlabel: str, scale: float = 1.0
) -> Draw:
    """A metric with its intervals, a row per pruned cell; methods that do not prune are bands from top to bottom.

    frame: summary rows of one attack and metric, and whether each is of a `replicate`; rows: of `sorted_cells`;
    labels: by experiment; scale: 100 for percent.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        level = scale * guessing(str(frame["metric"].iloc[0]), frame)
        axes.axvline(level, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        firsts = frame[~frame["replicate"]]
        for method in dict.fromkeys(firsts["method"][[not is_held(method) for method in firsts["method"]]]):
            _draw_level(axes, firsts[firsts["method"] == method], method, scale)
        for _, row in firsts.merge(rows[["experiment", "y"]]).iterrows():
            _draw_row(axes, row, scale, {"color": method_colour(row["method"]), "marker": method_marker(row["method"])})
        _draw_replicates(axes, rows, frame[frame["replicate"]], scale)
        _name_rows(axes, rows, labels)
        axes.set_xlabel(xlabel)
        place_legend(figure, "upper", *axes.get_legend_handles_labels())

    return draw


def _draw_level(axes: Axes, part: pd.DataFrame, method: str, scale: float) -> None:
    colour = method_colour(method)
    for centre, low, high in zip(*figures_of(part, scale), strict=True):
        axes.axvline(centre, color=colour, label=method_title(method))
        if not np.isnan(low):
            axes.axvspan(low, high, color=colour, alpha=0.12, linewidth=0)


def _draw_row(axes: Axes, row: pd.Series, scale: float, look: Mapping[str, Any]) -> None:
    if not np.isnan(row["ci_low"]):
        ends = [scale * row["ci_low"], scale * row["ci_high"]]
        axes.plot(ends, [row["y"]] * 2, color=look["color"], linewidth=1.0)
    axes.plot([scale * row["mean"]], [row["y"]], linestyle="none", markersize=4.5, **look)


def _draw_replicates(axes: Axes, rows: pd.DataFrame, again: pd.DataFrame, scale: float) -> None:
    """Hollow, in the row of the first training; a dashed line where nothing is pruned."""
    places = {(row["method"], row["sparsity"]): row["y"] for _, row in rows.iloc[::-1].iterrows()}
    for _, row in again.iterrows():
        colour, place = method_colour(row["method"]), places.get((row["method"], row["sparsity"]))
        if place is not None:
            axes.plot([scale * row["mean"]], [place], color=colour, marker=method_marker(row["method"]), **HOLLOW)
        elif not is_held(row["method"]):
            axes.axvline(scale * row["mean"], color=colour, linestyle="--", linewidth=0.7)
    name_replicates(axes, again)


def _name_rows(axes: Axes, rows: pd.DataFrame, labels: Mapping[str, str]) -> None:
    axes.set_yticks(list(rows["y"]), [labels[name] for name in rows["experiment"]])
    axes.set_ylim(float(rows["y"].min()) - 0.8, 0.8)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def differences_by_kind(
    rows: pd.DataFrame, compared: pd.DataFrame, kinds: Mapping[str, str], labels: Mapping[str, str]
) -> Draw:
    """A forest plot with a column per kind of comparison and a row per pruned cell; filled where it holds after Holm.

    rows: of `sorted_cells`; compared: rows of comparisons.csv with the column `found`; kinds: titles of the columns.
    """

    def draw(figure: Figure) -> None:
        columns = figure.subplots(1, len(kinds), sharey=True, sharex=True, squeeze=False)[0]
        for axes, (kind, title) in zip(columns, kinds.items(), strict=True):
            axes.axvline(0.0, color=GREY, linestyle=":", linewidth=0.9)
            own = compared[compared["kind"] == kind].merge(
                rows[["experiment", "y"]], left_on="experiment_a", right_on="experiment"
            )
            for _, row in own.iterrows():
                colour = method_colour(row["method_a"])
                face = colour if row["found"] else "white"
                look = {"color": colour, "marker": method_marker(row["method_a"]), "markerfacecolor": face}
                _draw_row(axes, row.rename({"difference": "mean"}), 1.0, look)
            axes.set_title(title)
        _name_rows(columns[0], rows, labels)
        for axes in columns[1:]:
            axes.grid(axis="y", visible=False)
        figure.supxlabel("AUC difference")

    return draw


def roc_by_method(frame: pd.DataFrame, cells: pd.DataFrame, names: Mapping[str, str]) -> Draw:
    """Log-log ROC, a panel per pruning method with its sparsities from light to dark, beside methods that do not prune.

    frame: roc.csv's rows; cells: the rows of cells.csv that are shown; names: by experiment, for the legends.
    """
    unpruned = cells[[not is_held(method) for method in cells["method"]]]
    methods = [method for method in dict.fromkeys(cells["method"]) if is_held(method)]
    lines = -(-len(methods) // COLUMNS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method in zip(panels, methods, strict=False):
            own = cells[cells["method"] == method].sort_values("sparsity")
            shown = [*unpruned["experiment"], *own["experiment"]]
            colours = [*map(method_colour, unpruned["method"]), *shades(method, len(own))]
            curves = enumerate(zip(shown, colours, strict=True))
            looks = {name: {"color": colour, **line_style(place)} for place, (name, colour) in curves}
            draw_curves(axes, frame, {name: names[name] for name in shown}, looks)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator())
            axes.set_title(method_title(method))
            handles, written = axes.get_legend_handles_labels()
            axes.legend(
                handles[1:], written[1:], loc="lower right", fontsize=TITLE_SIZE, frameon=False, borderaxespad=0.1
            )
        for axes in panels[len(methods) :]:
            axes.set_visible(False)
        figure.supxlabel(FPR)
        figure.supylabel(TPR)

    return draw


def roc_size(methods: int, width: float) -> tuple[float, float]:
    """Inches of the panels of so many methods."""
    return width, 0.35 + (width / COLUMNS + 0.05) * -(-methods // COLUMNS)
