"""Controls have labels of their own; they are a line in one figure, and in no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reporting import charts, tradeoff
from reporting.labels import controls, told_apart
from tests.reporting.reporting_examples import GRID, cell
from tests.reporting.test_replicates_shown import drawn_by, gallery, places

RECIPE = {"train_seed": 0, "batch_size": 32, "lr": 0.05}


def control(name: str, accuracy: float, **changes: Any) -> dict[str, Any]:
    return {**cell("dense", 0.0, **RECIPE, test_accuracy=accuracy, **changes), "experiment": name}


CELLS = [
    cell("dense", 0.0, epochs=40, **RECIPE),
    control("dense_epochs_20", 0.86, control="accuracy", epochs=20),
    control("dense_epochs_5", 0.83, control="accuracy", epochs=5),
    control("dense_epochs_10", 0.87, control="accuracy", epochs=10),
    control("dense_channels_4", 0.80, control="size", epochs=40, channels=4),
    *(cell(method, sparsity, epochs=40, **RECIPE) for method, sparsity in GRID[1:]),
]
HELD = {one["experiment"] for one in CELLS[1:5]}


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    return gallery(CELLS, tmp_path)


def test_labels_say_what_makes_a_control(drawn: Any) -> None:
    assert told_apart(CELLS)
    assert controls(CELLS) == HELD
    assert drawn.labels["dense"] == "Dense"
    assert drawn.labels["dense_epochs_5"] == "Dense, epochs 5"
    assert drawn.labels["dense_channels_4"] == "Dense, channels 4"
    assert not told_apart([CELLS[0], {**CELLS[1], "control": None}])


def test_shorter_trainings_are_one_line_in_the_order_of_accuracies(drawn: Any) -> None:
    points = drawn._means("auc", "lira", held=True)
    points = points.merge(drawn.cells[["experiment", "control", "epochs", "test_accuracy"]])
    (axes,) = drawn_by(tradeoff.tradeoff(points, "lira")).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert places(lines["Dense, fewer epochs"]) == pytest.approx([83, 86, 87, 88])
    assert {text.get_text() for text in axes.texts} >= {"5", "10", "20", "80 %", "95 %"}
    (hollow,) = (line for line in axes.get_lines() if line.get_marker() == "h")
    assert places(hollow) == pytest.approx([80])
    assert hollow.get_markerfacecolor() == "white"


def test_no_other_figure_has_them(drawn: Any) -> None:
    assert set(drawn._means("auc", "lira")["experiment"]) == {one["experiment"] for one in CELLS} - HELD
    (axes,) = drawn_by(charts.against_sparsity(drawn._means("auc", "lira"), [("lira", "LiRA")], "AUC")).axes
    levels = [line for line in axes.get_lines() if line.get_label() == "Dense"]
    assert len(levels) == 1
    assert np.ptp(np.asarray(levels[0].get_ydata(), dtype=np.float64)) == 0.0
