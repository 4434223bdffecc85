"""Nothing in a figure is clipped, covered, or of another's look; every letter is drawn."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from attacks.registry import ATTACKS
from reporting import charts, figures, fonts, style, tradeoff
from reporting.figures import Gallery
from reporting.inputs import read_inputs
from tests.reporting.reporting_examples import cell, write_folder

PIXELS = 100  # an inch: enough to measure by

# sRGB, linear, to OKLab (B. Ottosson, 2020); and what is left of linear sRGB to readers without one kind of cone
# (G. M. Machado et al., 2009, severity 1).
TO_LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
          [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
          [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
READERS = {
    "trichromat": np.eye(3),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Figures by name, laid out as they are saved, without the time that writing them takes."""
    shown: dict[str, Figure] = {}

    def save(path: Path, size: tuple[float, float], draw: Callable[[Figure], None], families: Sequence[str]) -> bytes:
        if path.name.startswith("roc_cell_") and any(name.startswith("roc_cell_") for name in shown):
            return b""  # they are alike
        with matplotlib.style.context(["default", {**style.STYLE, "font.family": list(families)}]):
            figure = Figure(figsize=size, layout="constrained", dpi=PIXELS)
            FigureCanvasAgg(figure)
            draw(figure)
            figure.canvas.draw()
        shown[path.name] = figure
        return b""

    monkeypatch.setattr(figures, "save_figure", save)
    return shown


def draw_all(folder: Path) -> dict[str, str]:
    """Draws every figure; returns the captions by name."""
    inputs = read_inputs(folder)
    gallery = Gallery(inputs, list(inputs.cells["experiment"]), folder / "figures", "")
    return {figure.name: figure.caption for figure in gallery.draw()}


def names_of(count: int, long: bool) -> list[str]:
    return [
        f"cell_{i}" + ("/a long name, WIDE LETTERS MMMMMMMMM and <odd> $\\ones$" * 2 if long else "")
        for i in range(count)
    ]


@pytest.mark.parametrize(("count", "long"), [(2, False), (2, True), (11, False), (11, True), (25, True)])
def test_no_text_is_clipped_and_no_legend_covers_anything(
    tmp_path: Path, drawn: dict[str, Figure], count: int, long: bool
) -> None:
    grid = [("dense", 0.0), ("static", 0.8), ("dpf", 0.9), ("static", 0.95)]
    names = names_of(count, long)
    write_folder(tmp_path, [cell(*grid[i % len(grid)], experiment=name) for i, name in enumerate(names)])
    # one heat map, and fewer comparisons than there could be: time
    transfer, compared = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("transfer", "comparisons"))
    transfer[transfer["attack"] == "lira"].to_csv(tmp_path / "transfer.csv", index=False)
    compared.head(30).to_csv(tmp_path / "comparisons.csv", index=False)
    draw_all(tmp_path)
    assert {"roc_methods", "differences", "transfer_lira", "exposed", "tradeoff", "auc_vs_sparsity"} <= set(drawn)
    for name, figure in drawn.items():
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        axes = [one.get_tightbbox(renderer) for one in figure.axes if one.get_visible()]
        legends = [one.get_window_extent(renderer) for one in figure.legends]
        texts = [one.get_window_extent(renderer) for one in figure.texts]
        page = figure.bbox.padded(1.5)
        for box in (*axes, *legends, *texts):
            assert box is not None, name
            assert box.x0 >= page.x0, name
            assert box.x1 <= page.x1, name
            assert box.y0 >= page.y0, name
            assert box.y1 <= page.y1, name
        assert not any(_overlap(legend, box) for legend in legends for box in (*axes, *texts)), name
        assert not any(_overlap(one, other) for i, one in enumerate(axes) for other in axes[:i]), name


def _overlap(one: Any, other: Any) -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(wide > 1 and high > 1)


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_an_axis_label_fits_whatever_attack_leads(tmp_path: Path, attack: str) -> None:
    frame = pd.DataFrame(
        [{"attack": attack, "metric": "auc", "method": m, "sparsity": s, "mean": 0.6, "ci_low": 0.5, "ci_high": 0.7,
          "test_accuracy": 0.8} for m, s in (("dense", 0.0), ("static", 0.8))]
    )  # fmt: skip
    with matplotlib.style.context(["default", style.STYLE]):
        figure = Figure(figsize=(style.COLUMN, 2.7), layout="constrained", dpi=PIXELS)
        FigureCanvasAgg(figure)
        tradeoff.tradeoff(frame.assign(replicate=False, control=None, epochs=1), attack)(figure)
        figure.canvas.draw()
        box = figure.axes[0].yaxis.label.get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.y1


def oklab(colours: Any) -> Any:
    return np.cbrt(np.clip(colours @ np.transpose(TO_LMS), 0, None)) @ np.transpose(TO_LAB)


def nearest(colours: Sequence[Any], reader: str) -> float:
    """The least distance between two of the colours, in OKLab, to this reader."""
    channels = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ READERS[reader].T, 0, 1))
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    return float(distance[np.triu_indices(len(seen), 1)].min())


def test_the_measure_of_colours() -> None:
    assert nearest(["#000000", "#ffffff"], "trichromat") == pytest.approx(1.0, abs=1e-3)
    assert nearest(["#ff0000", "#00ff00"], "deuteranope") < 0.6 * nearest(["#ff0000", "#00ff00"], "trichromat")


def with_twenty(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    first = next(iter(ATTACKS.values()))
    for i in range(len(ATTACKS), 20):
        monkeypatch.setitem(ATTACKS, f"new_{i}", dataclasses.replace(first, name=f"new_{i}", title=f"New {i}"))
    return list(ATTACKS)


@pytest.mark.parametrize("extended", [False, True])
def test_every_attack_has_a_look_of_its_own(monkeypatch: pytest.MonkeyPatch, extended: bool) -> None:
    attacks = with_twenty(monkeypatch) if extended else list(ATTACKS)
    looks = charts.attack_looks(attacks)
    assert len({(tuple(look["color"]), str(look["linestyle"])) for look in looks.values()}) == len(attacks)
    colours = [look["color"] for look in looks.values()]
    assert nearest(colours, "trichromat") >= 0.09
    assert min(nearest([*colours, style.GREY], reader) for reader in READERS) >= 0.055
    for attack in attacks:
        assert charts.attack_looks([attack])[attack] == looks[attack]


def test_beyond_the_palette_colours_still_differ() -> None:
    assert len(ATTACKS) <= len(style.PALETTE), "more attacks than colours that are told apart: add some"
    assert len({style.palette(index) for index in range(3 * len(style.PALETTE))}) == 3 * len(style.PALETTE)
    assert nearest(style.PALETTE, "trichromat") >= 0.08


def ink(looks: dict[str, dict[str, Any]], colour: Any) -> int:
    """How many pixels of this very colour the ROC curves of these looks show, all the same curve."""
    rates = np.geomspace(1e-3, 1.0, 40)
    frame = pd.DataFrame([{"curve": name, "fpr": x, "tpr": x**0.6} for name in looks for x in rates])
    with matplotlib.style.context(["default", style.STYLE]):
        figure = Figure(figsize=(2.4, 2.4), layout="none", dpi=160)  # type: ignore[arg-type]
        canvas = FigureCanvasAgg(figure)
        charts.roc_curves(frame, dict.fromkeys(looks, ""), looks)(figure)
        figure.legends[0].remove()
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    return int((np.abs(pixels - np.round(255 * np.array(to_rgb(colour)))).max(axis=2) < 4).sum())


PAIRS = [(0, 1), (0, 10), (1, 7), (6, 10), (4, 6), (3, 19)]


@pytest.mark.parametrize("pair", PAIRS)
def test_two_curves_that_lie_on_each_other_both_show(pair: tuple[int, int]) -> None:
    looks = {str(place): {"color": style.palette(place), **style.line_style(place)} for place in pair}
    for order in (looks, dict(reversed(looks.items()))):
        for name, look in looks.items():
            alone = ink({name: look}, look["color"])
            assert alone > 100
            assert ink(order, look["color"]) > 0.12 * alone


def test_cells_of_one_method_and_sparsity_stand_side_by_side(tmp_path: Path, drawn: dict[str, Figure]) -> None:
    twins = [
        ("dense", 0.0, "dense"),
        *(("static", s, f"s{s}") for s in (0.5, 0.9)),
        ("static", 0.9, "twin"),
        ("dpf", 0.9, "d"),
    ]
    write_folder(tmp_path, [cell(method, sparsity, experiment=name) for method, sparsity, name in twins])
    draw_all(tmp_path)
    lines = [line for line in drawn["auc_vs_sparsity"].axes[0].lines if line.get_marker() not in ("None", "")]
    ends = [float(line.get_xdata()[-1]) for line in lines]  # type: ignore[index,arg-type]
    assert sorted(len(line.get_xdata()) for line in lines) == [1, 1, 2]  # type: ignore[arg-type]
    assert len(set(ends)) == 3
    assert max(ends) - min(ends) < 0.2  # and near their sparsity


def test_sparsity_labels_that_would_run_into_each_other_are_left_out(tmp_path: Path, drawn: dict[str, Figure]) -> None:
    grid = [("dense", 0.0), *(("static", s) for s in (0.5, 0.9, 0.91, 0.92, 0.93))]
    write_folder(tmp_path, [cell(*one) for one in grid])
    draw_all(tmp_path)
    figure = drawn["tradeoff"]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["50 %", "93 %"]
    assert not any(_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


KOREAN = ("고양이", "개", "호랑이", "猫", "tiny", "아주 긴 한국어 클래스 이름입니다")


def korean_folder(folder: Path) -> None:
    write_folder(folder, [cell("dense", 0.0, experiment="밀집"), cell("dense", 0.0, experiment="密集")])
    table = pd.read_csv(folder / "exposed.csv")
    table["label"] = [i % len(KOREAN) for i in range(len(table))]
    table["class_name"] = [KOREAN[label] for label in table["label"]]
    table.to_csv(folder / "exposed.csv", index=False)


def texts_of(figure: Figure) -> set[str]:
    beside = {text.get_text() for axes in figure.axes for text in axes.texts}
    return beside | {axes.get_title().split("\n")[0] for axes in figure.axes}


def test_without_a_font_hangul_is_romanised_and_the_rest_numbered(
    tmp_path: Path, drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "installed", tuple)
    korean_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is one
        captions = draw_all(tmp_path)
    shown = texts_of(drawn["exposed"])
    assert {"goyangi", "gae", "horangi", "class 3", "tiny", "miljib", "cell 2"} <= shown
    assert any(text.startswith("aju") for text in shown)
    assert captions["roc_methods"].endswith("of these names: miljib is 밀집, cell 2 is 密集.")
    assert "goyangi is 고양이" in captions["exposed"]
    assert "class 3 is 猫" in captions["exposed"]
    assert "tiny is" not in captions["exposed"]


FONT = next(iter(fonts.installed()), None)


@pytest.mark.skipif(FONT is None, reason="no Korean font found; `make browser` installs one")
def test_with_a_font_names_are_drawn_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    korean_folder(tmp_path)
    kept = ("exposed", "roc_methods")
    save = style.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda path, *rest: save(path, *rest) if path.name in kept else b"")
    inputs = read_inputs(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gallery = Gallery(inputs, list(inputs.cells["experiment"]), tmp_path / "figures", "")
        figures_drawn = {figure.name: figure for figure in gallery.draw()}
    assert gallery.labels["밀집"] == "밀집"
    assert "밀집 is" not in figures_drawn["exposed"].caption
    assert fonts.BASE in gallery.fonts
    assert FONT in gallery.fonts
    assert len(figures_drawn["exposed"].png) > 1000
    assert b"FontFile2" in (tmp_path / "figures/exposed.pdf").read_bytes()


def test_no_other_font_is_looked_for_where_none_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "installed", lambda: pytest.fail("looked for"))
    assert fonts.families(["Dense", "Überraschung 80 %", "тигр"]) == (fonts.BASE,)


@pytest.mark.parametrize(
    ("hangul", "latin"),
    [
        *(("고양이", "goyangi"), ("개", "gae"), ("원숭이", "wonsungi"), ("의자", "uija"), ("치타", "chita")),
        *(("값", "gabs"), ("닭", "dalg"), ("책", "chaeg"), ("뜨개", "tteugae"), ("힣", "hih"), ("가", "ga")),
        *(("mixed 곰 2", "mixed gom 2"), ("猫", "猫"), ("\u1100\u1161", "ga")),
    ],
)
def test_romanisation(hangul: str, latin: str) -> None:
    assert fonts.romanised(hangul) == latin


def test_labels_are_shortened_and_stay_distinct() -> None:
    base = (fonts.BASE,)
    assert fonts.fitted("short", 1.0, 7, base) == "short"
    short = fonts.fitted("a" * 50 + "b" * 50, 1.0, 7, base)
    assert short.startswith("a")
    assert short.endswith("b")
    assert "..." in short
    assert fonts.width(short, 7, base) <= 1.0 < fonts.width(short + "bb", 7, base)
    assert fonts.distinct({"a": "x", "b": "x", "c": "x (2)"}) == {"a": "x", "b": "x (3)", "c": "x (2)"}
