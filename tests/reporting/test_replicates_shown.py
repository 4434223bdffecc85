"""Cells that train others again have a label of their own, and are never joined to the line of their method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from attacks.arrays import Float64Array
from reporting import charts, tradeoff
from reporting.figures import Gallery
from reporting.inputs import read_inputs
from reporting.labels import again, replicates, told_apart
from reporting.names import labels_of
from reporting.style import STYLE
from reporting.tables import summary_text
from tests.reporting.reporting_examples import GRID, cell, write_folder

RECIPE = {"epochs": 4, "batch_size": 32, "lr": 0.05}


def grid_with(*repeated: tuple[str, float, int]) -> list[dict[str, Any]]:
    """The cells of GRID, and after each those that train it again: method, sparsity and train seed."""
    cells = []
    for method, sparsity in GRID:
        seeds = [0, *(seed for one, other, seed in repeated if (one, other) == (method, sparsity))]
        for seed in seeds:
            one = cell(method, sparsity, train_seed=seed, **RECIPE)
            name = one["experiment"] + (f"_train_seed_{seed}" if seed else "")
            cells.append({**one, "experiment": name, "test_accuracy": one["test_accuracy"] - 0.01 * seed})
    return cells


CELLS = grid_with(("dense", 0.0, 1), ("dpf", 0.95, 1), ("dpf", 0.95, 2))
AGAIN = {"dense_train_seed_1", "dpf_0.95_train_seed_1", "dpf_0.95_train_seed_2"}


def drawn_by(draw: charts.Draw) -> Canvas:
    figure = Canvas()
    FigureCanvasAgg(figure)
    with matplotlib.style.context(["default", STYLE]):
        draw(figure)
    return figure


def gallery(cells: list[dict[str, Any]], folder: Path) -> Gallery:
    write_folder(folder, cells)
    inputs = read_inputs(folder)
    return Gallery(inputs, list(inputs.cells["experiment"]), folder / "figures", "")


@pytest.mark.parametrize(
    ("train_seed", "words"), [(0, ""), (None, ""), (float("nan"), ""), (1, " (train seed 1)"), (2.0, " (train seed 2)")]
)
def test_words_after_a_name(train_seed: Any, words: str) -> None:
    assert again(train_seed) == words


def test_labels_say_which_training(tmp_path: Path) -> None:
    labels = gallery(CELLS, tmp_path).labels
    assert labels["dense"] == "Dense"
    assert labels["dense_train_seed_1"] == "Dense (train seed 1)"
    assert labels["dpf_0.95_train_seed_2"] == "DPF 95 % (train seed 2)"
    assert len(set(labels.values())) == len(CELLS)


def test_names_where_a_label_would_say_too_little() -> None:
    frame = pd.DataFrame([CELLS[0], {**CELLS[1], "epochs": 9}])
    assert labels_of(frame) == {name: name for name in frame["experiment"]}
    assert replicates([CELLS[0], {**CELLS[1], "epochs": 9}]) == set()
    assert told_apart(CELLS)
    assert not told_apart([CELLS[0], {**CELLS[0], "experiment": "other"}])
    assert not told_apart([CELLS[0], {**CELLS[1], "seed": 1}])
    assert not told_apart([{**CELLS[0], "method": None}])


def test_who_is_a_replicate() -> None:
    assert replicates(CELLS) == AGAIN
    assert replicates([{**one, "train_seed": None} for one in CELLS]) == set()
    assert replicates([CELLS[0], {**CELLS[1], "split_hash": "4" * 64}]) == set()
    # of the trainings that are there, the first; it need not have train seed 0
    assert replicates([CELLS[1], {**CELLS[1], "train_seed": 5, "experiment": "five"}]) == {"five"}


def test_the_terminal_keeps_methods() -> None:
    lines = summary_text(CELLS[:3], []).splitlines()
    assert lines[0].startswith("Method")
    assert [line.split("  ")[0] for line in lines[3:6]] == ["Dense", "Dense (train seed 1)", "Static"]


def places(line: Line2D) -> Float64Array:
    """The points of a line, horizontally."""
    return np.asarray(line.get_xdata(), dtype=np.float64)


def test_no_line_joins_a_replicate(tmp_path: Path) -> None:
    own = gallery(CELLS, tmp_path)._means("auc", "lira")
    assert set(own["experiment"][own["replicate"]]) == AGAIN
    figure = drawn_by(charts.against_sparsity(own, [("lira", "LiRA")], "AUC"))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for title in ("Static", "DPF"):
        assert len(places(lines[title])) == 2  # 80 and 95 %, once each
    hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white" and len(places(line))]
    assert [len(places(line)) for line in hollow] == [2]
    assert {line.get_linestyle() for line in hollow} == {"None"}
    assert min(places(hollow[0])) > max(places(lines["DPF"]))
    assert [line.get_linestyle() for line in axes.get_lines()].count("--") == 2  # DPF and the dense level
    assert "Trained again" in lines


def test_the_tradeoff_joins_first_trainings_alone(tmp_path: Path) -> None:
    drawn = gallery(CELLS, tmp_path)
    points = drawn._means("auc", "lira").merge(drawn.cells[["experiment", "control", "epochs", "test_accuracy"]])
    figure = drawn_by(tradeoff.tradeoff(points, "lira"))
    joined = [line for line in figure.axes[0].get_lines() if "None" not in (line.get_linestyle(), line.get_marker())]
    assert [len(places(line)) for line in joined] == [1, 2, 2]


def test_captions_and_curves(tmp_path: Path) -> None:
    plain, more = gallery(grid_with(), tmp_path / "plain"), gallery(CELLS, tmp_path / "more")
    assert "trained again" not in next(plain._sparsity()).caption
    assert "trained again" in next(more._sparsity()).caption
    # one picture for the methods; a replicate has its curves in one of its own
    assert next(more._roc()).png == next(plain._roc()).png
    assert [figure.name for figure in more._roc()][1:3] == ["roc_cell_dense", "roc_cell_dense_train_seed_1"]
