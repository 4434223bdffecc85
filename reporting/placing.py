"""Labels beside points such that none lies on another, or on a point where there is room elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from reporting.style import Colour

GAPS = (3.0, 7.0, 12.0)  # points between a label and what it is beside
_SIDES = ((-1, 1), (1, -1), (1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Label:
    """A text and what it may stand beside: places (x, y) in data, the first as near as can be, each with the sides
    (right, up; -1, 0 or 1) to be tried first."""

    text: str
    places: tuple[tuple[float, float], ...]
    sides: tuple[tuple[int, int], ...]
    colour: Colour


def place_labels(axes: Axes, labels: Sequence[Label], points: Iterable[tuple[float, float]], size: float) -> None:
    """Write the labels, the first ones first; one that would lie on another or leave the axes wherever it stands is
    left out.

    points: in data, drawn with markers of this size in points, to be kept free. The figure must be whole but for the
    labels, for it is laid out here.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    pixels = figure.dpi / 72
    inside = axes.get_window_extent()
    side = size * pixels
    markers = [_around(x, y, side, side) for x, y in map(axes.transData.transform, points)]
    taken: list[Bbox] = []
    for label in labels:
        text = axes.annotate(
            label.text, label.places[0], xytext=(0, 0), textcoords="offset points", ha="center", va="center",
            color=label.colour, path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        text.set_in_layout(False)
        extent = text.get_window_extent()
        best: tuple[float, Bbox, tuple[float, float], tuple[float, float]] | None = None
        for gap in GAPS:
            for place, (right, up) in _spots(label):
                x, y = axes.transData.transform(place)
                offset = (right * (extent.width / pixels / 2 + gap), up * (extent.height / pixels / 2 + gap / 2))
                box = _around(x + offset[0] * pixels, y + offset[1] * pixels, extent.width, extent.height)
                if not _holds(inside, box) or any(_shared(box, other) for other in taken):
                    continue
                covered = sum(_shared(box, marker) for marker in markers)
                if best is None or covered < best[0] - 1:
                    best = (covered, box, place, offset)
        if best is None:
            text.remove()
            continue
        _, box, text.xy, offset = best
        text.set_position(offset)
        taken.append(box)


def _spots(label: Label) -> Iterable[tuple[tuple[float, float], tuple[int, int]]]:
    sides = dict.fromkeys((*label.sides, *_SIDES))
    return ((place, side) for side in sides for place in label.places)


def _around(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _holds(outer: Bbox, box: Bbox) -> bool:
    return bool(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1)


def _shared(box: Bbox, other: Bbox) -> float:
    """Pixels that both cover."""
    wide = min(box.x1, other.x1) - max(box.x0, other.x0)
    high = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(np.clip(wide, 0, None) * np.clip(high, 0, None))
