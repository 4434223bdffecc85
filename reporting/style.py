"""How figures look: size, fonts, a colour for each method and each attack, and bytes that depend on the data alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageChops, ImageStat

from artifacts.atomic_writes import write_atomic
from attacks.registry import ATTACKS
from pruning.registry import METHODS, is_held, prunes
from reporting.fonts import BASE
from reporting.labels import Row, again, control_words, knob_words

Colour = tuple[float, float, float]

DPI = 300
COLUMN, PAGE = 3.35, 6.9  # inches: one column of a two-column paper, and both
LABEL_SIZE, TITLE_SIZE = 7, 4.5  # font sizes of ticks and legends, and of the titles of small pictures
MOST_LINES = 4  # pruning methods that a reader can follow as lines in one picture
GREY: Colour = (0.45, 0.45, 0.45)
# Those that look alike once they are hollow come late.
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "d", "*", "P", "X", "h", "8")
# Chosen one after the other, each as far as can be from those before it and from GREY in OKLab, to readers with and
# without red-green blindness, and none too pale for a white page. In OKLab the nearest two are .08 apart (the first
# twenty .10), to a colour-blind reader .058.
PALETTE = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#7a0000", "#471f85", "#0000ff", "#8570ff", "#29525c"),
    *("#b8140a", "#33adff", "#8fb88f", "#7000c2", "#1f6633", "#cc29cc", "#5c478f", "#f570eb", "#c2a3c2", "#47b852"),
    *("#a30066", "#7a5c8f", "#478f1f", "#3d52ff"),
)
# Lengths drawn and left out, in line widths: what lies below shows in the gaps. A solid line lies below all others.
DASHES = ((5.0, 1.5), (3.0, 2.0), (6.0, 1.5, 1.5, 1.5), (2.0, 1.5), (8.0, 2.5), (4.0, 2.0, 1.0, 2.0))
STYLE: dict[str, Any] = {
    **seaborn.axes_style("whitegrid"),
    "font.family": [BASE],
    "text.parse_math": False,  # a dollar sign in a name is one
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": LABEL_SIZE,
    "ytick.labelsize": LABEL_SIZE,
    "legend.fontsize": LABEL_SIZE,
    "legend.title_fontsize": LABEL_SIZE,
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
SHADES_OFF = 1.0  # of 255, on the mean over a picture
# What is left out of the part of a font that a PDF takes along is nobody's concern; by default it is printed.
logging.getLogger("fontTools.subset").setLevel(logging.ERROR)
# What matplotlib would write into a file on its own: its version, and the time.
_NO_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def save_figure(
    path: Path, size: tuple[float, float], draw: Callable[[Figure], None], fonts: Sequence[str] = (BASE,)
) -> bytes:
    """Draw and write <path>.png and <path>.pdf, atomically and without pyplot's global state; returns it `for_page`.

    size: in inches, without the legend, which adds its height; fonts: families in which each letter is looked for in
    turn. Equal data and fonts, equal bytes.
    """
    with matplotlib.style.context(["default", {**STYLE, "font.family": list(fonts)}]):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        drawn: dict[str, bytes] = {}
        for kind, metadata in _NO_METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            drawn[kind] = buffer.getvalue()
            figure.set_layout_engine("none")  # everything has its place now, in either file the same
            _write(path.with_name(f"{path.name}.{kind}"), drawn[kind])
    return for_page(drawn["png"])


def for_page(png: bytes) -> bytes:
    """The picture in at most 256 colours, a third of the bytes, unless that changes more than the edges of lines.

    What a picture of lines loses are shades of smoothed edges; a photograph stays what it is.
    """
    with Image.open(io.BytesIO(png)) as stored:
        picture = stored.convert("RGB")
    few = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    off = ImageStat.Stat(ImageChops.difference(picture, few.convert("RGB"))).mean
    if max(off) > SHADES_OFF:
        return png
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return min(png, buffer.getvalue(), key=len)


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, lambda stream: stream.write(content))  # type: ignore[arg-type]


def palette(index: int) -> Colour:
    """One of PALETTE, in its order; beyond its end darker shades of them follow, so that no two are the same."""
    rounds, place = divmod(index, len(PALETTE))
    return _mix(to_rgb(PALETTE[place]), 0.0, 1 - 0.7**rounds)


def line_style(index: int) -> dict[str, Any]:
    """Dashes and depth of the line of this index: any two such lines show where they lie on each other.

    Sparser dashes lie above denser ones, and where the dashes repeat they are longer.
    """
    if index == 0:
        return {"linestyle": "-", "zorder": 2.0}
    rounds, place = divmod(index - 1, len(DASHES))
    dashes = [length * (1 + rounds / 2) for length in DASHES[place]]
    return {"linestyle": (0.0, dashes), "zorder": 3 - sum(dashes[::2]) / sum(dashes)}


def method_title(method: str) -> str:
    """A method's name for people."""
    return METHODS[method].title if method in METHODS else method


def attack_title(attack: str) -> str:
    """An attack's name for people; a variant's key stays as it is."""
    return ATTACKS[attack].title if attack in ATTACKS else attack


def cell_label(cell: Row) -> str:
    """`Static 80 %`; `Dense` where there is nothing to prune, `Dense, epochs 5` as a control, `Dense (train seed 1)`
    where it is trained again; `DP-SGD epsilon 8`."""
    title = method_title(cell["method"])
    label = f"{title} {100 * cell['sparsity']:g} %" if prunes(cell["method"]) else title + knob_words(cell)
    return label + control_words(cell) + again(cell.get("train_seed"))


def method_colour(method: str) -> Colour:
    """The same colour for a method in every figure: dark grey for dense training."""
    if not is_held(method):
        return (0.2, 0.2, 0.2)
    return palette(_place(method))


def _place(method: str) -> int:
    others = [name for name in METHODS if is_held(name)]
    return others.index(method) if method in others else len(others)


def method_marker(method: str) -> str:
    """The same marker for a method in every figure, so that colour is never the only sign."""
    return MARKERS[list(METHODS).index(method) % len(MARKERS) if method in METHODS else -1]


def method_line(method: str) -> dict[str, Any]:
    """The same dashes for a method in every figure; solid for the first beside dense training, and for that."""
    return line_style(_place(method) if is_held(method) else 0)


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


def attack_place(attack: str) -> int:
    """The index of an attack's look, the same in every figure: its place in the registry; 0 for a key it lacks."""
    return list(ATTACKS).index(attack) if attack in ATTACKS else 0
