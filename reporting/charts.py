"""One function a picture, from frames of the tables: what to draw, never what to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from attacks.metrics import FPR_LIMITS
from pruning.registry import prunes
from reporting.legends import lines_of, place_legend
from reporting.style import (
    GREY,
    Colour,
    attack_place,
    line_style,
    method_colour,
    method_line,
    method_marker,
    method_title,
    palette,
    shades,
)

Draw = Callable[[Figure], None]
Look = dict[str, Any]  # colour, dashes and depth of a line
LOWEST_FPR = 1e-3  # the strictest false positive rate that the tables report
INTERVAL = "95 % interval"
FPR, TPR = "False positive rate (%)", "True positive rate (%)"
# How cells are drawn that train others again, and how far to the right of these on an axis of sparsities.
FAINT, BESIDE = 0.7, 0.05
HOLLOW: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "alpha": FAINT}


def roc_curves(frame: pd.DataFrame, labels: Mapping[str, str], looks: Mapping[str, Look]) -> Draw:
    """Log-log ROC, a curve per label. frame: roc.csv's rows; labels and looks: by the value of its column `curve`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        draw_curves(axes, frame, labels, looks)
        axes.set(xlabel=FPR, ylabel=TPR)
        place_legend(figure, "lower", *axes.get_legend_handles_labels(), most=2, handlelength=3.2)

    return draw


def draw_curves(axes: Axes, frame: pd.DataFrame, labels: Mapping[str, str], looks: Mapping[str, Look]) -> None:
    """The curves of `roc_curves`, with what guessing gives, on axes in percent without names."""
    floor = min(max(LOWEST_FPR, float(frame["fpr"][frame["fpr"] > 0].min())), 0.1)
    grid = np.geomspace(floor, 1.0, 50)
    axes.plot(grid, grid, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
    for curve, label in labels.items():
        part = frame[frame["curve"] == curve]
        rates = part["tpr"].to_numpy(dtype=float)
        shown = np.where(rates > 0, rates, np.nan)  # a logarithmic axis has no zero
        # straight from point to point: the area that the legend names
        axes.plot(part["fpr"], shown, label=label, **looks[curve])
    axes.set(xscale="log", yscale="log", xlim=(floor, 1.0), ylim=(floor, 1.05), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        # decades alone would leave a short axis with one or two numbers
        axis.set_major_locator(LogLocator(subs=(1.0,) if floor <= LOWEST_FPR else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(percent))
    axes.minorticks_off()


def percent(value: float, _position: int | None = None) -> str:
    """`95` for 0.95."""
    return f"{100 * value:g}"


def attack_looks(attacks: Sequence[str]) -> dict[str, Look]:
    """By attack, the look that its curve has in every figure."""
    places = {attack: attack_place(attack) for attack in attacks}
    return {attack: {"color": palette(place), **line_style(place)} for attack, place in places.items()}


def cell_looks(cells: pd.DataFrame) -> dict[str, Look]:
    """By experiment, the look of its curve: its colour, and dashes by its place among the cells."""
    colours = cell_colours(cells)
    return {name: {"color": colours[name], **line_style(place)} for place, name in enumerate(cells["experiment"])}


def cell_colours(cells: pd.DataFrame) -> dict[str, Colour]:
    """By experiment: a method is a colour, a higher sparsity a darker shade of it; a cell without one has its own."""
    nameless = cells["experiment"][cells["method"].isna()]
    colours: dict[str, Colour] = {name: palette(place) for place, name in enumerate(nameless)}
    for method in dict.fromkeys(cells["method"].dropna()):
        part = cells[cells["method"] == method].sort_values("sparsity")
        colours.update(zip(part["experiment"], shades(method, len(part)), strict=True))
    return colours


def against_sparsity(frame: pd.DataFrame, panels: Sequence[tuple[str, str]], ylabel: str, scale: float = 1.0) -> Draw:
    """A metric with its interval bands against sparsity; methods without a sparsity are horizontal bands.

    frame: summary.csv's rows, and whether each is of a `replicate`; panels: (attack, title) each. The sparsity axis is
    logarithmic in density, as the interesting sparsities crowd near 1. scale: 100 for percent.
    """
    frame = _in_series(frame)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)

    def draw(figure: Figure) -> None:
        axes_list = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (attack, title) in zip(axes_list, panels, strict=False):
            _draw_sparsity(axes, frame[frame["attack"] == attack], scale)
            if len(panels) > 1:
                axes.set_title(title)
        for axes in axes_list[len(panels) :]:
            axes.set_visible(False)
        _sparsity_axis(axes_list[0], frame)
        handles = {
            label: handle for axes in axes_list for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.supxlabel("Sparsity of the prunable weights (%)")
        figure.supylabel(lines_of(ylabel, figure.get_figheight()))
        place_legend(figure, "upper", list(handles.values()), list(handles))

    return draw


def _position(sparsity: Any) -> Any:
    return -np.log2(1 - sparsity)


def _in_series(frame: pd.DataFrame) -> pd.DataFrame:
    """With a column `series`: cells of one method and sparsity are in different ones, and so in lines of their own."""
    told_apart: pd.DataFrame = frame.assign(series=frame.groupby(["attack", "metric", "method", "sparsity"]).cumcount())
    return told_apart


def guessing(metric: str, rows: pd.DataFrame) -> float:
    """What scores that hold nothing would give: of a TPR at a low FPR, the FPR that its false positives stand for."""
    if metric == "auc":
        return 0.5
    known = rows["expected_fpr"].dropna()
    return float(known.mean()) if len(known) else FPR_LIMITS[metric]  # earlier results do not state it


def _draw_sparsity(axes: Axes, frame: pd.DataFrame, scale: float) -> None:
    for metric, rows in frame.groupby("metric", sort=False):
        axes.axhline(scale * guessing(str(metric), rows), color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
    frame = frame[frame["mean"].notna()]
    firsts = frame[~frame["replicate"]]
    for method in dict.fromkeys(firsts["method"][[not prunes(method) for method in firsts["method"]]]):
        _draw_level(axes, firsts[firsts["method"] == method], method, scale)
    pruned = firsts[[prunes(method) for method in firsts["method"]]]
    lines = list(dict.fromkeys(zip(pruned["method"], pruned["series"], strict=True)))
    low, high = _ends(pruned) if len(pruned) else (0.0, 0.0)
    for place, (method, series) in enumerate(lines):
        part = pruned[(pruned["method"] == method) & (pruned["series"] == series)].sort_values("sparsity")
        # side by side, so that equal ones do not hide each other
        shift = 0.02 * (high - low) * (place - (len(lines) - 1) / 2)
        _draw_line(axes, part, method, shift, scale)
    _draw_replicates(axes, frame[frame["replicate"]], scale)


def _draw_level(axes: Axes, part: pd.DataFrame, method: str, scale: float) -> None:
    colour = method_colour(method)
    for centre, bottom, top in zip(*figures_of(part, scale), strict=True):
        axes.axhline(centre, color=colour, label=method_title(method))
        if not np.isnan(bottom):
            axes.axhspan(bottom, top, color=colour, alpha=0.12, linewidth=0)


def _draw_line(axes: Axes, part: pd.DataFrame, method: str, shift: float, scale: float) -> None:
    colour = method_colour(method)
    mean, low, high = figures_of(part, scale)
    places = _position(part["sparsity"].to_numpy(dtype=float)) + shift
    axes.plot(
        places, mean, marker=method_marker(method), color=colour, label=method_title(method), **method_line(method)
    )
    axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    if len(places) == 1:  # a band has no width there
        axes.vlines(places, low, high, color=colour)


def _draw_replicates(axes: Axes, again: pd.DataFrame, scale: float) -> None:
    """Cells trained again: hollow points a little beside those of the first training, dashed levels; never joined."""
    for method in dict.fromkeys(again["method"]):
        part, colour = again[again["method"] == method], method_colour(method)
        mean, low, high = figures_of(part, scale)
        if not prunes(method):
            for level in mean:
                axes.axhline(level, color=colour, linestyle="--", linewidth=0.7, alpha=FAINT)
            continue
        places = _position(part["sparsity"].to_numpy(dtype=float)) + BESIDE
        axes.vlines(places, low, high, color=colour, linewidth=0.7, alpha=FAINT)
        axes.plot(places, mean, color=colour, marker=method_marker(method), **HOLLOW)
    name_replicates(axes, again)


def name_replicates(axes: Axes, frame: pd.DataFrame) -> None:
    """A line of the legend for hollow points, where there are any."""
    if frame["replicate"].any():
        axes.plot([], [], color=GREY, marker="o", label="Trained again", **HOLLOW)


def figures_of(part: pd.DataFrame, scale: float) -> list[npt.NDArray[np.float64]]:
    """Means, lower and upper ends of intervals."""
    return [scale * part[name].to_numpy(dtype=float) for name in ("mean", "ci_low", "ci_high")]


def _ends(pruned: pd.DataFrame) -> tuple[float, float]:
    return _position(pruned["sparsity"].min()) - 0.35, _position(pruned["sparsity"].max()) + 0.35


def _sparsity_axis(axes: Axes, frame: pd.DataFrame) -> None:
    pruned = frame[[prunes(method) for method in frame["method"]]]
    low, high = _ends(pruned)
    labelled: list[float] = []
    for sparsity in sorted(set(pruned["sparsity"])):  # labels that would run into the one before are left out
        if not labelled or _position(sparsity) - _position(labelled[-1]) > 0.09 * (high - low):
            labelled.append(sparsity)
    axes.set_xticks([_position(sparsity) for sparsity in labelled], [percent(value) for value in labelled])
    axes.set_xlim(low, high)


def differences(frame: pd.DataFrame) -> Draw:
    """A forest plot: one line a comparison, its difference and interval; filled where it holds after Holm.

    frame: rows of comparisons.csv with columns `label` and `found`.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = -np.arange(len(frame), dtype=float)
        axes.axvline(0.0, color=GREY, linestyle=":", linewidth=0.9)
        columns = zip(places, frame["difference"], frame["ci_low"], frame["ci_high"], frame["found"], strict=True)
        for y, value, low, high, found in columns:
            colour = (0.2, 0.2, 0.2) if found else GREY
            if not np.isnan(low):
                axes.plot([low, high], [y, y], color=colour, linewidth=1.0)
            axes.plot([value], [y], marker="o", color=colour, markerfacecolor=colour if found else "white")
        axes.set_yticks(places, list(frame["label"]))
        axes.set_xlabel("AUC difference")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", visible=False)
        axes.set_ylim(places[-1] - 0.6, 0.6)

    return draw
