"""One function a picture: ROC curves of attacks and of cells, leakage against sparsity and against accuracy.

A *target* is (scores float64 [n], membership bool [n]) of one attack on one target model; higher = member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator
from sklearn.metrics import roc_auc_score

from mia.metrics import roc
from mia.registry import ATTACKS
from reporting.frames import is_empty
from reporting.style import (
    GREY,
    Colour,
    attack_colours,
    method_colour,
    method_marker,
    method_title,
    prunes,
    save_figure,
    shades,
)

Array = npt.NDArray[np.float64]
Target = tuple[Array, npt.NDArray[np.bool_]]
Cell = Mapping[str, Any]

LOWEST_FPR = 1e-3  # the strictest false positive rate that the tables report


def plot_roc(
    path: Path, curves: Mapping[str, Sequence[Target]], title: str, colours: Mapping[str, Colour] | None = None
) -> Path:
    """Log-log ROC, a curve per label with its AUC in the legend; of several targets, the mean TPR at each FPR.

    curves: the targets of each label. colours: by label; by default the labels are titles of attacks.
    The axes begin at the larger of 0.1 % and one non-member's share.
    """
    colours = attack_colours(list(curves)) if colours is None else colours
    non_members = min(int((~membership).sum()) for targets in curves.values() for _, membership in targets)
    floor = min(max(LOWEST_FPR, 1 / non_members), 0.1)
    most_targets = max(len(targets) for targets in curves.values())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        grid = np.geomspace(floor, 1.0, 600)
        axes.plot(grid, grid, color=GREY, linestyle="--", linewidth=1, zorder=1)
        drawn: set[Colour] = set()
        for label, targets in curves.items():
            rates = np.mean([tpr_at(grid, *target) for target in targets], axis=0)
            axes.step(
                grid,
                np.where(rates > 0, rates, np.nan),  # a logarithmic axis has no zero
                where="post",
                color=colours[label],
                linestyle="--" if colours[label] in drawn else "-",
                linewidth=1.6,
                label=f"{label} ({mean_auc(targets):.3f})",
            )
            drawn.add(colours[label])
        _log_percent_axes(axes, floor)
        axes.set_title(title if most_targets == 1 else f"{title} (mean of {most_targets} targets)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.01), title="Curve (AUC)", frameon=False)

    return save_figure(path, (8.0, 5.2), draw)


def tpr_at(grid: Array, scores: Array, membership: npt.NDArray[np.bool_]) -> Array:
    """The largest TPR whose FPR does not exceed each value of the grid."""
    fpr, tpr = roc(scores, membership)
    return tpr[np.searchsorted(fpr, grid, side="right") - 1]


def mean_auc(targets: Sequence[Target]) -> float:
    """AUC, averaged over targets."""
    return float(np.mean([roc_auc_score(membership, scores) for scores, membership in targets]))


def _percent(value: float, _position: int | None = None) -> str:
    return f"{100 * value:g}"


def _log_percent_axes(axes: Axes, floor: float) -> None:
    axes.set(xscale="log", yscale="log", xlim=(floor, 1.0), ylim=(floor, 1.05), aspect="equal")
    for axis, name in ((axes.xaxis, "False positive rate (%)"), (axes.yaxis, "True positive rate (%)")):
        # Decades alone would leave a short axis with one or two numbers.
        axis.set_major_locator(LogLocator(subs=(1.0,) if floor <= LOWEST_FPR else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(_percent))
        axis.set_label_text(name)
    axes.minorticks_off()


def plot_roc_methods(
    path: Path, curves: Mapping[str, Sequence[Target]], kinds: Mapping[str, tuple[str, float]], title: str
) -> Path:
    """Log-log ROC of one attack, a curve per cell: a method is a colour, a higher sparsity is a darker shade of it.

    curves: the targets of each cell, by label; kinds: its method and sparsity, by the same labels.
    """
    colours: dict[str, Colour] = {}
    for method in dict.fromkeys(kinds[label][0] for label in curves):
        labels = sorted((label for label in curves if kinds[label][0] == method), key=lambda label: kinds[label][1])
        colours.update(zip(labels, shades(method, len(labels)), strict=True))
    return plot_roc(path, {label: curves[label] for label in colours}, title, colours)


def cell_label(method: str, sparsity: float) -> str:
    """`Static 80 %`, or `Dense` where there is nothing to prune."""
    return f"{method_title(method)} {_percent(sparsity)} %" if prunes(method) else method_title(method)


def plot_auc_vs_sparsity(path: Path, frame: pd.DataFrame, attacks: Sequence[str]) -> Path:
    """AUC with 95 % intervals against sparsity, a panel per attack; methods without a sparsity are horizontal bands.

    frame: of `over_targets`. The sparsity axis is logarithmic in density, as the interesting sparsities crowd near 1.
    """
    columns = min(3, len(attacks))
    lines = -(-len(attacks) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, attack in zip(panels, attacks, strict=False):
            _draw_sparsity_panel(axes, frame[(frame["attack"] == attack) & (frame["metric"] == "auc")])
            axes.set_title(attack_title(attack))
        for axes in panels[len(attacks) :]:
            axes.set_visible(False)
        _sparsity_axis(panels[0], frame)
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
        figure.supxlabel("Sparsity of the prunable weights (%)")
        figure.supylabel("Attack AUC with 95 % interval (higher = leaks more)")

    return save_figure(path, (max(3.4 * columns, 5.5), 2.7 * lines + 1.0), draw)


def _position(sparsity: Any) -> Any:
    return -np.log2(1 - sparsity)


def _draw_sparsity_panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1.2, label="Guessing")
    pruned = [method for method in dict.fromkeys(frame["method"]) if prunes(method)]
    for method in dict.fromkeys(frame["method"]):
        part = frame[(frame["method"] == method) & frame["mean"].notna()].sort_values("sparsity")
        style: dict[str, Any] = {"color": method_colour(method), "label": method_title(method)}
        if prunes(method):
            # Neighbouring methods stand a little apart, or their error bars would hide each other.
            places = _position(part["sparsity"].to_numpy(dtype=float)) + 0.08 * (
                pruned.index(method) - (len(pruned) - 1) / 2
            )
            axes.errorbar(
                places, part["mean"], yerr=_errors(part), marker=method_marker(method), capsize=3, markersize=5, **style
            )
            continue
        for mean, low, high in part[["mean", "ci_low", "ci_high"]].to_numpy(dtype=float):
            axes.axhline(mean, linewidth=1.5, **style)
            if not np.isnan(low):
                axes.axhspan(low, high, color=style["color"], alpha=0.12, linewidth=0)


def _errors(frame: pd.DataFrame) -> Array:
    """[2, lines]: how far the interval reaches below and above the mean; 0 where there is none."""
    below, above = frame["mean"] - frame["ci_low"], frame["ci_high"] - frame["mean"]
    return np.nan_to_num(np.stack([below.to_numpy(dtype=float), above.to_numpy(dtype=float)])).clip(min=0)


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


def plot_tradeoff(path: Path, cells: Sequence[Cell], frame: pd.DataFrame, attack: str = "lira") -> Path:
    """Attack AUC with its 95 % interval against test accuracy, a point per cell, labelled by its sparsity in percent.

    cells without a test accuracy or an AUC are left out. frame: of `over_targets`.
    """
    auc = frame[(frame["attack"] == attack) & (frame["metric"] == "auc") & frame["mean"].notna()]
    points = auc.merge(_accuracies(cells), on="experiment").sort_values(["sparsity", "experiment"])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        methods = list(dict.fromkeys(cell["method"] for cell in cells))
        height = {method: points["mean"][points["method"] == method].mean() for method in methods if prunes(method)}
        for method in methods:
            _draw_tradeoff(
                axes,
                points[points["method"] == method],
                method,
                height.get(method) == max(height.values(), default=None),
            )
        axes.margins(0.12)
        axes.set_xlabel("Test accuracy (%)")
        axes.set_ylabel(f"{attack_title(attack)} AUC (higher = leaks more)")
        axes.set_title("Accuracy against leakage (labels: sparsity in %; bars: 95 % intervals)")
        axes.legend(frameon=True)

    return save_figure(path, (6.4, 4.6), draw)


def _accuracies(cells: Sequence[Cell]) -> pd.DataFrame:
    known = [cell for cell in cells if not is_empty(cell.get("test_accuracy"))]
    return pd.DataFrame(
        {
            "experiment": [cell["experiment"] for cell in known],
            "test_accuracy": [100 * float(cell["test_accuracy"]) for cell in known],
        }
    )


def _draw_tradeoff(axes: Axes, points: pd.DataFrame, method: str, above: bool) -> None:
    axes.errorbar(
        points["test_accuracy"],
        points["mean"],
        yerr=_errors(points),
        color=method_colour(method),
        marker=method_marker(method),
        linewidth=0.8,
        elinewidth=1.2,
        capsize=3,
        label=method_title(method),
    )
    if not prunes(method):
        return
    for sparsity, accuracy, mean in points[["sparsity", "test_accuracy", "mean"]].to_numpy(dtype=float):
        axes.annotate(
            _percent(sparsity),
            (accuracy, mean),
            # Leakage mostly rises with accuracy, so these two corners of a point are free of its method's line, and
            # the uppermost method labels away from the others.
            xytext=(-5, 4) if above else (5, -4),
            textcoords="offset points",
            ha="right" if above else "left",
            va="bottom" if above else "top",
            color=method_colour(method),
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def attack_title(attack: str) -> str:
    """An attack's name for people."""
    return ATTACKS[attack].title if attack in ATTACKS else attack
