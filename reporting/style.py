"""How figures look: size, fonts, one colour a method and one an attack, and bytes that depend on the data alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from artifacts.files import write_atomic
from mia.registry import ATTACKS
from pruning.registry import METHODS
from reporting.labels import again

Colour = tuple[float, float, float]

DPI = 300
COLUMN, PAGE = 3.35, 6.9  # inches: one column of a two-column paper, and both
GREY: Colour = (0.45, 0.45, 0.45)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[str, Any] = {
    **seaborn.axes_style("whitegrid"),
    "text.parse_math": False,  # a dollar sign in a name is one
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "figure.labelsize": 8,
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
    "grid.color": "0.9",
    "axes.edgecolor": "0.4",
    "pdf.fonttype": 42,  # text stays text
}
# What matplotlib would write into a file on its own: its version, and the time.
_NO_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def save_figure(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    """Draw and write <path>.png and <path>.pdf, atomically and without pyplot's global state; returns the PNG.

    size: in inches. Equal data, equal bytes.
    """
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        drawn: dict[str, bytes] = {}
        for kind, metadata in _NO_METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            drawn[kind] = buffer.getvalue()
            _write(path.with_name(f"{path.name}.{kind}"), drawn[kind])
    return drawn["png"]


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, lambda stream: stream.write(content))  # type: ignore[arg-type]


def palette(index: int) -> Colour:
    """A colour that is told from its neighbours; they repeat."""
    colours = seaborn.color_palette("colorblind")
    return to_rgb(colours[index % len(colours)])


def method_title(method: str) -> str:
    """A method's name for people."""
    return METHODS[method].title if method in METHODS else method


def attack_title(attack: str) -> str:
    """An attack's name for people; a variant's key stays as it is."""
    return ATTACKS[attack].title if attack in ATTACKS else attack


def cell_label(method: str, sparsity: float, train_seed: float | None = None) -> str:
    """`Static 80 %`, `Dense` where there is nothing to prune, `Dense (train seed 1)` where it is trained again."""
    label = f"{method_title(method)} {100 * sparsity:g} %" if prunes(method) else method_title(method)
    return label + again(train_seed)


def method_colour(method: str) -> Colour:
    """The same colour for a method in every figure: dark grey for those that do not prune."""
    if not prunes(method):
        return (0.2, 0.2, 0.2)
    return palette([name for name in METHODS if prunes(name)].index(method) if method in METHODS else -1)


def method_marker(method: str) -> str:
    """The same marker for a method in every figure, so that colour is never the only sign."""
    return MARKERS[list(METHODS).index(method) % len(MARKERS) if method in METHODS else -1]


def prunes(method: str | None) -> bool:
    """Whether the method has a sparsity; not where the method is not known."""
    return method is not None and (method not in METHODS or METHODS[method].prunes)


def shades(method: str, count: int) -> list[Colour]:
    """A colour for each of `count` rising sparsities of one method: its own colour, from light to dark."""
    colour = method_colour(method)
    if count == 1:
        return [colour]
    end = min(0.2 * (count - 1), 0.45)  # beyond that, lines vanish on white or lose their hue
    steps = [end * (2 * index / (count - 1) - 1) for index in range(count)]
    return [_mix(colour, 1.0, -step) if step < 0 else _mix(colour, 0.0, step) for step in steps]


def _mix(colour: Colour, grey: float, share: float) -> Colour:
    red, green, blue = (channel + (grey - channel) * share for channel in colour)
    return red, green, blue


def attack_colours(titles: Sequence[str]) -> dict[str, Colour]:
    """The same colour for an attack in every figure, by title."""
    known = [attack.title for attack in ATTACKS.values()]
    order = list(dict.fromkeys([*known, *titles]))
    return {title: palette(order.index(title)) for title in titles}
