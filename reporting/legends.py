"""Legends and labels that are never clipped and never over the data."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from reporting.fonts import fitted, width

MOST_COLUMNS = 6
_EDGE = 0.08  # inches kept free around a legend; widths differ by less from one resolution to another


def place_legend(
    figure: Figure,
    side: Literal["upper", "lower"],
    handles: Sequence[Artist],
    labels: Sequence[str],
    most: int = MOST_COLUMNS,
    handlelength: float = 2.4,
) -> None:
    """A legend above or below the axes, in as many columns (at most `most`) as fit; the figure grows by its height.

    A label that is too long even for one column loses its middle. handlelength: in font sizes.
    """
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    points = mpl.rcParams["legend.fontsize"]
    fonts = mpl.rcParams["font.family"]
    room = figure.get_figwidth() - 2 * _EDGE
    text = room - (handlelength + 2) * points / 72
    options: dict[str, Any] = {
        "loc": f"outside {side} center",
        "frameon": False,
        "handlelength": handlelength,
        "columnspacing": 1.0,
        "borderaxespad": 0.0,
    }
    shown = [fitted(label, text, points, fonts) for label in labels]
    for columns in range(min(most, len(shown)), 0, -1):
        legend = figure.legend(handles, shown, ncols=columns, **options)
        box = legend.get_window_extent(renderer)
        if box.width <= room * figure.dpi or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + box.height / figure.dpi + 2 * _EDGE)


def lines_of(text: str, inches: float) -> str:
    """An axis's label, in as many lines as it takes where it is longer than this."""
    wide = width(text, mpl.rcParams["figure.labelsize"], mpl.rcParams["font.family"])
    # a tenth for the figure's edges
    return text if wide <= 0.9 * inches else textwrap.fill(text, int(len(text) * 0.8 * inches / wide))
