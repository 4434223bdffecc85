"""One function a picture, from frames of the tables: what to draw, never what to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from attacks.metrics import FPR_LIMITS
from pruning.registry import BASELINE, prunes
from reporting.legends import lines_of, place_legend
from reporting.style import (
    GREY,
    Colour,
    attack_place,
    attack_title,
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
# How cells are drawn that train others again, and how far to the right of these on an axis of sparsities.
FAINT, BESIDE = 0.7, 0.05
HOLLOW: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "alpha": FAINT}


def roc_curves(frame: pd.DataFrame, labels: Mapping[str, str], looks: Mapping[str, Look]) -> Draw:
    """Log-log ROC, a curve per label. frame: roc.csv's rows; labels and looks: by the value of its column `curve`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        floor = min(max(LOWEST_FPR, float(frame["fpr"][frame["fpr"] > 0].min())), 0.1)
        grid = np.geomspace(floor, 1.0, 50)
        axes.plot(grid, grid, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        for curve, label in labels.items():
            part = frame[frame["curve"] == curve]
            rates = part["tpr"].to_numpy(dtype=float)
            shown = np.where(rates > 0, rates, np.nan)  # a logarithmic axis has no zero
            # straight from point to point: the area that the legend names
            axes.plot(part["fpr"], shown, label=label, **looks[curve])
        _log_percent_axes(axes, floor)
        place_legend(figure, "lower", *axes.get_legend_handles_labels(), most=2, handlelength=3.2)

    return draw


def _percent(value: float, _position: int | None = None) -> str:
    return f"{100 * value:g}"


def _log_percent_axes(axes: Axes, floor: float) -> None:
    axes.set(xscale="log", yscale="log", xlim=(floor, 1.0), ylim=(floor, 1.05), aspect="equal")
    for axis, name in ((axes.xaxis, "False positive rate (%)"), (axes.yaxis, "True positive rate (%)")):
        # decades alone would leave a short axis with one or two numbers
        axis.set_major_locator(LogLocator(subs=(1.0,) if floor <= LOWEST_FPR else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(_percent))
        axis.set_label_text(name)
    axes.minorticks_off()


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


def _guessing(metric: str, rows: pd.DataFrame) -> float:
    """What scores that hold nothing would give: of a TPR at a low FPR, the FPR that its false positives stand for."""
    if metric == "auc":
        return 0.5
    known = rows["expected_fpr"].dropna()
    return float(known.mean()) if len(known) else FPR_LIMITS[metric]  # earlier results do not state it


def _draw_sparsity(axes: Axes, frame: pd.DataFrame, scale: float) -> None:
    for metric, rows in frame.groupby("metric", sort=False):
        axes.axhline(scale * _guessing(str(metric), rows), color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
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
    for centre, bottom, top in zip(*_figures(part, scale), strict=True):
        axes.axhline(centre, color=colour, label=method_title(method))
        if not np.isnan(bottom):
            axes.axhspan(bottom, top, color=colour, alpha=0.12, linewidth=0)


def _draw_line(axes: Axes, part: pd.DataFrame, method: str, shift: float, scale: float) -> None:
    colour = method_colour(method)
    mean, low, high = _figures(part, scale)
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
        mean, low, high = _figures(part, scale)
        if not prunes(method):
            for level in mean:
                axes.axhline(level, color=colour, linestyle="--", linewidth=0.7, alpha=FAINT)
            continue
        places = _position(part["sparsity"].to_numpy(dtype=float)) + BESIDE
        axes.vlines(places, low, high, color=colour, linewidth=0.7, alpha=FAINT)
        axes.plot(places, mean, color=colour, marker=method_marker(method), **HOLLOW)
    _name_replicates(axes, again)


def _name_replicates(axes: Axes, frame: pd.DataFrame) -> None:
    if frame["replicate"].any():
        axes.plot([], [], color=GREY, marker="o", label="Trained again", **HOLLOW)


def _figures(part: pd.DataFrame, scale: float) -> list[npt.NDArray[np.float64]]:
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
    axes.set_xticks([_position(sparsity) for sparsity in labelled], [_percent(value) for value in labelled])
    axes.set_xlim(low, high)


def tradeoff(points: pd.DataFrame, attack: str) -> Draw:
    """AUC with its interval against test accuracy, a point per cell, labelled by its sparsity in percent.

    points: summary rows with columns `test_accuracy`, `replicate`, `control` and `epochs`. Dense training for fewer
    epochs is a line, narrower dense networks hollow points.
    """
    held = points["control"].notna()
    rungs = points[(points["control"] == "accuracy") & ~points["replicate"]]
    narrower = points[(points["control"] == "size") & ~points["replicate"]]
    points = points[~held]
    firsts = points[~points["replicate"]]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if len(rungs):
            _draw_ladder(axes, rungs, firsts[firsts["method"] == BASELINE])
        if len(narrower):
            axes.errorbar(
                **_crosses(narrower), color=GREY, marker="h", elinewidth=0.6, label="Dense, fewer channels", **HOLLOW
            )
        methods = list(dict.fromkeys(firsts["method"]))
        for place, method in enumerate(methods):  # a smaller marker lies on a larger one and does not hide it
            _draw_tradeoff(axes, firsts[firsts["method"] == method], method, max(3.0, 5.5 - place))
            _draw_again(axes, points[points["replicate"] & (points["method"] == method)], method)
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        _name_replicates(axes, points)
        axes.margins(0.2, 0.12)
        height = {method: firsts["mean"][firsts["method"] == method].mean() for method in methods if prunes(method)}
        for method in height:
            _label_sparsities(axes, firsts[firsts["method"] == method], method, height[method] == max(height.values()))
        axes.set_xlabel("Test accuracy (%), higher is better")
        axes.set_ylabel(lines_of(f"{attack_title(attack)} AUC, higher leaks more", figure.get_figheight()))
        place_legend(figure, "upper", *axes.get_legend_handles_labels())

    return draw


def _draw_ladder(axes: Axes, rungs: pd.DataFrame, whole: pd.DataFrame) -> None:
    """Dense training as a curve with its band, straight between trainings in the order of their accuracies.

    rungs: of fewer epochs, which are labelled; whole: of all epochs.
    """
    curve = pd.concat([rungs, whole.head(1)]).sort_values("test_accuracy")
    across = 100 * curve["test_accuracy"].to_numpy(dtype=float)
    mean, low, high = _figures(curve, 1.0)
    axes.plot(across, mean, color=GREY, marker="|", linewidth=0.9, label="Dense, fewer epochs", zorder=1.5)
    axes.fill_between(across, low, high, color=GREY, alpha=0.15, linewidth=0, zorder=1.0)
    for _, rung in rungs.iterrows():
        edge = rung["mean"] if np.isnan(rung["ci_high"]) else rung["ci_high"]  # beside the curve are pruned cells
        axes.annotate(
            f"{int(rung['epochs'])}", (100 * rung["test_accuracy"], edge), xytext=(0, 1),
            textcoords="offset points", ha="center", va="bottom", color=GREY,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip


def _crosses(points: pd.DataFrame) -> dict[str, Any]:
    """Test accuracy in percent, mean and the lengths of its error bars, as `errorbar` takes them."""
    mean, low, high = _figures(points, 1.0)
    errors = np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)
    return {"x": 100 * points["test_accuracy"].to_numpy(dtype=float), "y": mean, "yerr": errors}


def _draw_again(axes: Axes, points: pd.DataFrame, method: str) -> None:
    axes.errorbar(
        **_crosses(points), color=method_colour(method), marker=method_marker(method), elinewidth=0.6, **HOLLOW
    )


def _draw_tradeoff(axes: Axes, points: pd.DataFrame, method: str, size: float) -> None:
    axes.errorbar(
        **_crosses(points.sort_values("sparsity")), color=method_colour(method), marker=method_marker(method),
        markersize=size, linewidth=0.7, elinewidth=size / 4, capsize=size / 2, label=method_title(method),
        **method_line(method),
    )  # fmt: skip


def _label_sparsities(axes: Axes, points: pd.DataFrame, method: str, above: bool) -> None:
    """Beside each point its sparsity; labels that would run into another are left out, those in the middle first."""
    points = points.sort_values("sparsity")
    across, up = float(np.ptp(axes.get_xlim())), float(np.ptp(axes.get_ylim()))
    taken: list[tuple[float, float]] = []
    for _, row in pd.concat([points.iloc[[0]], points.iloc[:0:-1]]).iterrows():
        x, y = 100 * row["test_accuracy"], row["mean"]
        if any(abs(x - a) < 0.15 * across and abs(y - b) < 0.06 * up for a, b in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            f"{_percent(row['sparsity'])} %",
            (x, y),
            # leakage mostly rises with accuracy, so these two corners of a point are free of its method's line
            xytext=(-4, 3) if above else (4, -3),
            textcoords="offset points",
            ha="right" if above else "left",
            va="bottom" if above else "top",
            color=method_colour(method),
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


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
