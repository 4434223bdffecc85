"""Figures exist where there is something to show, in every format, and depend on the data alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pruning.registry import METHODS, prunes
from reporting import charts
from reporting.figures import Figure, Gallery, unique_slugs
from reporting.frames import LONG
from reporting.inputs import read_inputs, settings_of
from reporting.names import labels_of, setting_title
from reporting.style import COLUMN, DPI, cell_label, for_page, method_colour, method_line, method_marker, shades
from tests.reporting.reporting_examples import GRID, cell, write_folder, write_results


def draw(folder: Path, suffix: str = "") -> dict[str, Figure]:
    inputs = read_inputs(folder)
    experiments = list(inputs.cells["experiment"])
    return {figure.name: figure for figure in Gallery(inputs, experiments, folder / "figures", suffix).draw()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Figure]]:
    """A folder with every figure of three cells, and the figures."""
    folder = tmp_path_factory.mktemp("drawn")
    write_results(folder, GRID[:3])
    return folder, draw(folder)


def test_every_figure_of_a_sweep_in_every_format(drawn: tuple[Path, dict[str, Figure]]) -> None:
    folder, figures = drawn
    cells = [method if method == "dense" else f"{method}_{sparsity:g}" for method, sparsity in GRID[:3]]
    assert set(figures) == {
        *("tradeoff", "auc_vs_sparsity", "tpr_at_fpr_0.01_vs_sparsity", "attacks_vs_sparsity", "roc_methods"),
        *("differences", "transfer_lira", "transfer_loss", "exposed"),
        *(f"roc_cell_{name}" for name in cells),
    }
    files = {path.name for path in (folder / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in figures for kind in ("png", "pdf", "csv")}
    for name, figure in figures.items():
        assert for_page((folder / "figures" / f"{name}.png").read_bytes()) == figure.png
        height, width = matplotlib.image.imread(folder / "figures" / f"{name}.png").shape[:2]
        assert width == pytest.approx(figure.width * DPI, abs=2)
        assert figure.width >= COLUMN
        assert height > 200
        assert figure.caption.endswith(".")
        data = (folder / "figures" / f"{name}.csv").read_text()
        lines = data.count("\n")
        assert figure.csv == data if lines <= LONG + 1 else figure.csv.count("\n") == lines


@pytest.mark.usefixtures("undrawn")
def test_a_figures_data_are_the_rows_it_shows(tmp_path: Path) -> None:
    write_results(tmp_path)
    draw(tmp_path)
    data = pd.read_csv(tmp_path / "figures/auc_vs_sparsity.csv")
    summary = pd.read_csv(tmp_path / "summary.csv")
    shown = summary[(summary["attack"] == "lira") & (summary["metric"] == "auc")]
    assert data["mean"].tolist() == shown["mean"].tolist()
    assert data["experiment"].tolist() == ["dense", "static_0.8", "static_0.95", "dpf_0.8", "dpf_0.95"]


def test_equal_data_gives_equal_bytes(drawn: tuple[Path, dict[str, Figure]], tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:3])
    draw(tmp_path)
    first, second = (
        {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} for folder in (drawn[0], tmp_path)
    )
    assert first == second


@pytest.mark.usefixtures("undrawn")
def test_one_dense_cell_has_its_curves_only(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:1])
    assert set(draw(tmp_path)) == {"roc_methods", "roc_cell_dense", "exposed"}


def test_nothing_attacked_draws_nothing(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:2], reason="no shadows", targets=0)
    assert draw(tmp_path) == {}
    assert not (tmp_path / "figures").exists()


def test_settings_are_told_apart(tmp_path: Path) -> None:
    cells = [cell("dense", 0.0), cell("dense", 0.0, experiment="other", seed=1), cell("static", 0.8)]
    write_folder(tmp_path, cells)
    frame = read_inputs(tmp_path).cells
    groups = settings_of(frame)
    assert groups == [["dense", "static_0.8"], ["other"]]
    titles = [setting_title(frame[frame["experiment"].isin(group)]) for group in groups]
    assert titles == ["cifar10, resnet-20, seed 0", "cifar10, resnet-20, seed 1"]


def test_labels_fall_back_on_names_that_differ() -> None:
    frame = pd.DataFrame([cell("dense", 0.0), cell("static", 0.8)])
    assert labels_of(frame) == {"dense": "Dense", "static_0.8": "Static 80 %"}
    twins = pd.DataFrame([cell("dense", 0.0, experiment="a"), cell("dense", 0.0, experiment="b")])
    assert labels_of(twins) == {"a": "a", "b": "b"}
    assert len(set(unique_slugs(["a b", "a/b", "c"]))) == 3


def test_methods_differ_in_colour_marker_and_dashes() -> None:
    assert len({method_colour(method) for method in METHODS}) == len(METHODS)
    assert len({method_marker(method) for method in METHODS}) == len(METHODS)
    pruned = [method for method in METHODS if prunes(method)]
    assert len({str(method_line(method)["linestyle"]) for method in pruned}) == len(pruned)
    assert shades("dpf", 1) == [method_colour("dpf")]
    lightness = [sum(colour) for colour in shades("dpf", 5)]
    assert lightness == sorted(lightness, reverse=True)


@pytest.mark.parametrize(
    ("method", "sparsity", "label"),
    [("dense", 0.0, "Dense"), ("static", 0.95, "Static 95 %"), ("two_four", 0.5, "2:4 50 %")],
)
def test_cell_labels(method: str, sparsity: float, label: str) -> None:
    assert cell_label({"method": method, "sparsity": sparsity}) == label


def test_the_line_of_guessing_is_at_the_fpr_that_is_meant() -> None:
    rows = pd.DataFrame({"metric": ["auc"] * 2, "expected_fpr": [None, None]}, dtype=object)
    assert charts.guessing("auc", rows) == 0.5
    assert charts.guessing("tpr_at_fpr_0.01", rows.assign(expected_fpr=[0.012, 0.014])) == pytest.approx(0.013)
    assert charts.guessing("tpr_at_fpr_0.01", rows) == 0.01


def test_a_page_holds_lines_in_fewer_colours_and_photographs_as_they_are(
    drawn: tuple[Path, dict[str, Figure]], tmp_path: Path
) -> None:
    folder, figures = drawn
    stored = (folder / "figures/roc_methods.png").read_bytes()
    shown = figures["roc_methods"].png
    assert len(shown) < 0.5 * len(stored)
    (tmp_path / "shown.png").write_bytes(shown)
    pixels = [
        np.asarray(Image.open(path).convert("RGB"), dtype=float)
        for path in (folder / "figures/roc_methods.png", tmp_path / "shown.png")
    ]
    assert pixels[0].shape == pixels[1].shape
    assert np.abs(pixels[0] - pixels[1]).mean() < 1.0
    photograph = tmp_path / "photograph.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(photograph)
    assert for_page(photograph.read_bytes()) == photograph.read_bytes()
