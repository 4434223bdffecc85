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
from matplotlib.ticker import FuncFormatter, LogLocator

from mia.metrics import FPR_LIMITS
from pruning.registry import METHODS
from reporting.style import (
    GREY,
    Colour,
    attack_colours,
    attack_title,
    method_colour,
    method_marker,
    method_title,
    palette,
    prunes,
    shades,
)

Draw = Callable[[Figure], None]
LOWEST_FPR = 1e-3  # the strictest false positive rate that the tables report
INTERVAL = "95 % interval"
# How cells are drawn that train others again, and how far to the right of these on an axis of sparsities.
FAINT, BESIDE = 0.7, 0.05
HOLLOW: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "alpha": FAINT}


def roc_curves(frame: pd.DataFrame, labels: Mapping[str, str], colours: Mapping[str, Colour]) -> Draw:
    """Log-log ROC, a curve per label. frame: roc.csv's rows; labels: by the value of its column `curve`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        floor = min(max(LOWEST_FPR, float(frame["fpr"][frame["fpr"] > 0].min())), 0.1)
        grid = np.geomspace(floor, 1.0, 50)
        axes.plot(grid, grid, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        styles = ("-", "--", "-.")
        for i, (curve, label) in enumerate(labels.items()):
            part = frame[frame["curve"] == curve]
            rates = part["tpr"].to_numpy(dtype=float)
            shown = np.where(rates > 0, rates, np.nan)  # a logarithmic axis has no zero
            # straight from point to point: the area that the legend names
            axes.plot(part["fpr"], shown, color=colours[curve], linestyle=styles[i % len(styles)], label=label)
        _log_percent_axes(axes, floor)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=2.4)

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
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False,
            columnspacing=1.0, handlelength=1.6,
        )  # fmt: skip
        figure.supxlabel("Sparsity of the prunable weights (%)")
        figure.supylabel(ylabel)

    return draw


def _position(sparsity: Any) -> Any:
    return -np.log2(1 - sparsity)


def _guessing(metric: str, rows: pd.DataFrame) -> float:
    """What scores that hold nothing would give: of a TPR at a low FPR, the FPR that its false positives stand for."""
    if metric == "auc":
        return 0.5
    known = rows["expected_fpr"].dropna()
    return float(known.mean()) if len(known) else FPR_LIMITS[metric]  # earlier results do not state it


def _draw_sparsity(axes: Axes, frame: pd.DataFrame, scale: float) -> None:
    for metric, rows in frame.groupby("metric", sort=False):
        axes.axhline(scale * _guessing(str(metric), rows), color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
    firsts = frame[~frame["replicate"] & frame["mean"].notna()]
    for method in dict.fromkeys(firsts["method"]):
        part = firsts[firsts["method"] == method].sort_values("sparsity")
        mean, low, high = (scale * part[name].to_numpy(dtype=float) for name in ("mean", "ci_low", "ci_high"))
        style: dict[str, Any] = {"color": method_colour(method), "label": method_title(method)}
        if prunes(method):
            places = _places(part["sparsity"], method, alone=len(part) == 1)
            axes.plot(
                places, mean, marker=method_marker(method), linestyle="-" if method == "static" else "--", **style
            )
            axes.fill_between(places, low, high, color=style["color"], alpha=0.18, linewidth=0)
            if len(places) == 1:  # a band has no width there
                axes.vlines(places, low, high, color=style["color"])
            continue
        for centre, bottom, top in zip(mean, low, high, strict=True):
            axes.axhline(centre, **style)
            if not np.isnan(bottom):
                axes.axhspan(bottom, top, color=style["color"], alpha=0.12, linewidth=0)
    _draw_replicates(axes, frame, scale)


def _places(sparsities: pd.Series, method: str, alone: bool) -> Any:
    """Where a method's points stand: of a single sparsity, beside the other methods' points and not under them."""
    aside = 0.08 * list(METHODS).index(method) if alone and method in METHODS else 0.0
    return _position(sparsities.to_numpy(dtype=float)) + aside


def _draw_replicates(axes: Axes, frame: pd.DataFrame, scale: float) -> None:
    """Cells trained again: hollow points a little beside those of the first training, dashed levels; never joined."""
    for method in dict.fromkeys(frame["method"][frame["replicate"]]):
        own = frame[(frame["method"] == method) & frame["mean"].notna()]
        part, alone = own[own["replicate"]], own["sparsity"].nunique() == 1
        mean, low, high = (scale * part[name].to_numpy(dtype=float) for name in ("mean", "ci_low", "ci_high"))
        if not prunes(method):
            for level in mean:
                axes.axhline(level, color=method_colour(method), linestyle="--", linewidth=0.7, alpha=FAINT)
            continue
        places = _places(part["sparsity"], method, alone) + BESIDE
        axes.vlines(places, low, high, color=method_colour(method), linewidth=0.7, alpha=FAINT)
        axes.plot(places, mean, color=method_colour(method), marker=method_marker(method), **HOLLOW)
    _name_replicates(axes, frame)


def _name_replicates(axes: Axes, frame: pd.DataFrame) -> None:
    if frame["replicate"].any():
        axes.plot([], [], color=GREY, marker="o", label="Trained again", **HOLLOW)


def _sparsity_axis(axes: Axes, frame: pd.DataFrame) -> None:
    pruned = frame[[prunes(method) for method in frame["method"]]]
    sparsities = sorted(set(pruned["sparsity"]))
    low, high = _position(sparsities[0]) - 0.35, _position(sparsities[-1]) + 0.35
    labelled: list[float] = []
    for sparsity in sparsities:  # labels that would run into the one before are left out
        if not labelled or _position(sparsity) - _position(labelled[-1]) > 0.09 * (high - low):
            labelled.append(sparsity)
    axes.set_xticks([_position(sparsity) for sparsity in labelled], [_percent(value) for value in labelled])
    axes.set_xlim(low, high)


def tradeoff(points: pd.DataFrame, attack: str) -> Draw:
    """AUC with its interval against test accuracy, a point per cell, labelled by its sparsity in percent.

    points: summary rows with columns `test_accuracy` and `replicate`.
    """
    firsts = points[~points["replicate"]]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        methods = list(dict.fromkeys(firsts["method"]))
        height = {method: firsts["mean"][firsts["method"] == method].mean() for method in methods if prunes(method)}
        for method in methods:
            above = height.get(method) == max(height.values(), default=None)
            _draw_tradeoff(axes, firsts[firsts["method"] == method].sort_values("sparsity"), method, above)
            _draw_again(axes, points[points["replicate"] & (points["method"] == method)], method)
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        _name_replicates(axes, points)
        axes.margins(0.2, 0.12)
        axes.set_xlabel("Test accuracy (%), higher is better")
        axes.set_ylabel(f"{attack_title(attack)} AUC, higher leaks more")
        figure.legend(loc="outside upper center", ncols=4, frameon=False, columnspacing=1.0)

    return draw


def _crosses(points: pd.DataFrame) -> dict[str, Any]:
    """Test accuracy in percent, mean and the lengths of its error bars, as `errorbar` takes them."""
    mean, low, high = (points[name].to_numpy(dtype=float) for name in ("mean", "ci_low", "ci_high"))
    errors = np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)
    return {"x": 100 * points["test_accuracy"].to_numpy(dtype=float), "y": mean, "yerr": errors}


def _draw_again(axes: Axes, points: pd.DataFrame, method: str) -> None:
    axes.errorbar(
        **_crosses(points), color=method_colour(method), marker=method_marker(method), elinewidth=0.6, **HOLLOW
    )


def _draw_tradeoff(axes: Axes, points: pd.DataFrame, method: str, above: bool) -> None:
    crosses = _crosses(points)
    axes.errorbar(
        **crosses, color=method_colour(method), marker=method_marker(method), linewidth=0.7,
        elinewidth=0.9, capsize=2, label=method_title(method),
    )  # fmt: skip
    if not prunes(method):
        return
    for sparsity, x, y in zip(points["sparsity"], crosses["x"], crosses["y"], strict=True):
        axes.annotate(
            f"{_percent(sparsity)} %",
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
        axes.grid(axis="y", visible=False)
        axes.set_ylim(places[-1] - 0.6, 0.6)

    return draw


def heat_map(values: pd.DataFrame) -> Draw:
    """Targets down, shadow models across, the mean AUC in every field; the own shadows are framed."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        array = values.to_numpy(dtype=float)
        top = max(0.6, float(np.nanmax(array)))
        image = axes.imshow(np.ma.masked_invalid(array), cmap="cividis", vmin=0.45, vmax=top, aspect="auto")
        for (i, j), value in np.ndenumerate(array):
            text = "-" if np.isnan(value) else f"{value:.3f}"
            bright = not np.isnan(value) and (value - 0.45) / (top - 0.45) > 0.55
            weight = "bold" if values.index[i] == values.columns[j] else "normal"
            axes.text(j, i, text, ha="center", va="center", color="black" if bright else "white", fontweight=weight)
        axes.set_xticks(range(len(values.columns)), list(values.columns), rotation=35, ha="right")
        axes.set_yticks(range(len(values.index)), list(values.index))
        axes.set_xlabel("Whose shadow models")
        axes.set_ylabel("Target")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="AUC", shrink=0.85)

    return draw


def exposed_pictures(pictures: Mapping[str, npt.NDArray[np.uint8]], titles: Mapping[str, Sequence[str]]) -> Draw:
    """The most exposed examples, a row a cell, the most exposed first; above each picture its class and index."""
    columns = max(len(rows) for rows in pictures.values())

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(pictures), columns, squeeze=False)
        for axes in grid.ravel():
            axes.axis("off")
        for line, (label, rows) in zip(grid, pictures.items(), strict=True):
            line[0].text(
                -0.15, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=7, rotation=0
            )
            for axes, picture, title in zip(line, rows, titles[label], strict=False):
                axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set_title(title, fontsize=4.5, pad=1.5, linespacing=0.95)

    return draw


def curve_colours(attacks: Sequence[str]) -> dict[str, Colour]:
    """By attack, the colour it has in every figure."""
    by_title = attack_colours([attack_title(attack) for attack in attacks])
    return {attack: by_title[attack_title(attack)] for attack in attacks}
