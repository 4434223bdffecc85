"""Leakage against test accuracy: pruned cells beside dense training at other accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning.registry import BASELINE, prunes
from reporting.charts import HOLLOW, Draw, figures_of, name_replicates, percent
from reporting.labels import knob_words
from reporting.legends import lines_of, place_legend
from reporting.placing import Label, place_labels
from reporting.style import GREY, MOST_LINES, attack_title, method_colour, method_line, method_marker, method_title

LARGEST, SMALLEST = 5.5, 3.0  # markers, in points: a smaller one lies on a larger one and does not hide it


def tradeoff(points: pd.DataFrame, attack: str) -> Draw:
    """AUC with its interval against test accuracy, a point per cell, labelled by its sparsity in percent.

    points: summary rows with columns `test_accuracy`, `replicate`, `control` and `epochs`. Dense training for fewer
    epochs is a line, narrower dense networks hollow points. The points of one method are joined where there are no
    more than MOST_LINES methods.
    """
    held = points["control"].notna()
    rungs = points[(points["control"] == "accuracy") & ~points["replicate"]]
    narrower = points[(points["control"] == "size") & ~points["replicate"]]
    points = points[~held]
    firsts = points[~points["replicate"]]
    crowded = sum(map(prunes, set(firsts["method"]))) > MOST_LINES

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if len(rungs):
            _draw_ladder(axes, rungs, firsts[firsts["method"] == BASELINE])
        if len(narrower):
            axes.errorbar(
                **_crosses(narrower), color=GREY, marker="h", elinewidth=0.6, label="Dense, fewer channels", **HOLLOW
            )
        for place, method in enumerate(dict.fromkeys(firsts["method"])):
            size = LARGEST - 1 if crowded else max(SMALLEST, LARGEST - place)
            _draw_tradeoff(axes, firsts[firsts["method"] == method], method, size, crowded)
            _draw_again(axes, points[points["replicate"] & (points["method"] == method)], method)
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=0.9, label="Guessing")
        name_replicates(axes, points)
        axes.margins(0.08 if crowded else 0.2, 0.12)
        axes.set_xlim(right=min(axes.get_xlim()[1], 101.0))
        axes.set_xlabel("Test accuracy (%), higher is better")
        axes.set_ylabel(lines_of(f"{attack_title(attack)} AUC, higher leaks more", figure.get_figheight()))
        place_legend(figure, "upper", *axes.get_legend_handles_labels())
        shown = pd.concat([points, narrower])
        spots = list(zip(100 * shown["test_accuracy"], shown["mean"], strict=True))
        place_labels(axes, [*_sparsities(firsts), *_named(firsts), *_epochs(rungs)], spots, LARGEST)

    return draw


def _draw_ladder(axes: Axes, rungs: pd.DataFrame, whole: pd.DataFrame) -> None:
    """Dense training as a curve with its band, straight between trainings in the order of their accuracies.

    rungs: of fewer epochs; whole: of all epochs.
    """
    curve = pd.concat([rungs, whole.head(1)]).sort_values("test_accuracy")
    across = 100 * curve["test_accuracy"].to_numpy(dtype=float)
    mean, low, high = figures_of(curve, 1.0)
    axes.plot(across, mean, color=GREY, marker="|", linewidth=0.9, label="Dense, fewer epochs", zorder=1.5)
    axes.fill_between(across, low, high, color=GREY, alpha=0.15, linewidth=0, zorder=1.0)


def _crosses(points: pd.DataFrame) -> dict[str, Any]:
    """Test accuracy in percent, mean and the lengths of its error bars, as `errorbar` takes them."""
    mean, low, high = figures_of(points, 1.0)
    errors = np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)
    return {"x": 100 * points["test_accuracy"].to_numpy(dtype=float), "y": mean, "yerr": errors}


def _draw_again(axes: Axes, points: pd.DataFrame, method: str) -> None:
    axes.errorbar(
        **_crosses(points), color=method_colour(method), marker=method_marker(method), elinewidth=0.6, **HOLLOW
    )


def _draw_tradeoff(axes: Axes, points: pd.DataFrame, method: str, size: float, crowded: bool) -> None:
    look: dict[str, Any] = {"linewidth": 0.7, "elinewidth": size / 4, "capsize": size / 2, **method_line(method)}
    if crowded:
        look = {"linestyle": "none", "elinewidth": 0.5}
    axes.errorbar(
        **_crosses(points.sort_values("sparsity")), color=method_colour(method), marker=method_marker(method),
        markersize=size, label=method_title(method), **look,
    )  # fmt: skip


def _sparsities(points: pd.DataFrame) -> Iterator[Label]:
    """Each pruned cell's sparsity, the ends of each method first: in the middle one is missed least."""
    pruned = points[[prunes(method) for method in points["method"]]]
    order = {}
    height = {method: pruned["mean"][pruned["method"] == method].mean() for method in dict.fromkeys(pruned["method"])}
    for method in height:
        part = pruned[pruned["method"] == method].sort_values("sparsity")
        for place, (_, row) in enumerate(pd.concat([part.iloc[[0]], part.iloc[:0:-1]]).iterrows()):
            # leakage mostly rises with accuracy, so these two corners of a point are free of its method's line
            sides = ((-1, 1),) if height[method] == max(height.values()) else ((1, -1),)
            spot = (100 * row["test_accuracy"], row["mean"])
            label = Label(f"{percent(row['sparsity'])} %", (spot,), sides, method_colour(method))
            order[place > 1, place, method] = label
    return (order[key] for key in sorted(order, key=lambda key: key[:2]))


def _named(points: pd.DataFrame) -> Iterator[Label]:
    """The knob that names each cell of a method which has no sparsities."""
    for _, row in points.iterrows():
        words = knob_words(row.to_dict()).strip()
        if words:
            spot = (100 * row["test_accuracy"], row["mean"])
            yield Label(words, (spot,), ((1, -1),), method_colour(row["method"]))


def _epochs(rungs: pd.DataFrame) -> Iterator[Label]:
    """The epochs of each shorter training, above or below its band, for beside the curve are pruned cells."""
    for _, rung in rungs.iterrows():
        across = 100 * rung["test_accuracy"]
        low, high = (rung["mean"] if np.isnan(rung[end]) else rung[end] for end in ("ci_low", "ci_high"))
        places = ((across, high), (across, low), (across, rung["mean"]))
        yield Label(f"{int(rung['epochs'])}", places, ((0, 1), (0, -1)), GREY)
