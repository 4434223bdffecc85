"""A report on many pruning methods: rows, panels and fields, in one order, and sentences for several cells at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from pruning.registry import METHODS, sparsities_of
from reporting import dots
from reporting.figures import Gallery
from reporting.headline import sentences
from reporting.inputs import Inputs, read_inputs
from reporting.many import ManyMethods, gallery
from reporting.placing import Label, place_labels
from reporting.style import MOST_LINES, method_marker
from reporting.tables import EVIDENCE_TABLES, write_table
from tests.reporting.reporting_examples import cell, compared, write_folder
from tests.reporting.test_replicates_shown import drawn_by

GRID = [(method, sparsity) for method in METHODS for sparsity in sparsities_of(method, (0.8, 0.95))]
PRUNING = [method for method in METHODS if method != "dense"]
KNOBS: dict[str, dict[str, Any]] = {"dp_sgd": {"epsilon": 8.0, "delta": 1e-5}}
CELLS = [cell(*one, num_targets=9, train_seed=0, **KNOBS.get(one[0], {})) for one in GRID]
RUNGS = [
    {**cell("dense", 0.0, num_targets=9, control="accuracy", epochs=epochs), "experiment": f"dense_epochs_{epochs}"}
    for epochs in (5, 10)
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("results")
    write_folder(folder, [*CELLS, *RUNGS], 9)
    dense = CELLS[0]
    rows = [
        compared(one, dense, kind, **({} if one["sparsity"] == 0.95 else {"p_value": 0.4, "p_holm": 1.0}))
        for kind in ("against_dense", "equal_accuracy", "equal_size")
        for one in CELLS[1:]
        if (kind, one["method"]) != ("equal_size", "set")
    ]
    rows += [compared(CELLS[4], CELLS[2], "other_methods", family="exploratory")]
    write_table(folder / "comparisons.csv", rows, EVIDENCE_TABLES["comparisons"])
    return read_inputs(folder)


@pytest.fixture(scope="module")
def drawn(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each figure draws, by name."""
    made: dict[str, Any] = {}
    one = gallery(inputs, list(inputs.cells["experiment"]), tmp_path_factory.mktemp("figures"), "")
    assert isinstance(one, ManyMethods)

    def keep(name: str, section: str, size: tuple[float, float], draw: Any, data: pd.DataFrame, caption: str) -> Any:
        made[name] = (size, draw, data)

    one._figure = keep  # type: ignore[method-assign]
    list(one.draw())
    return made


def _first(values: Any) -> float:
    return float(np.asarray(values, dtype=np.float64)[0])


def test_few_methods_keep_their_lines(inputs: Inputs, tmp_path: Path) -> None:
    few = [one["experiment"] for one in CELLS if one["method"] in ("dense", *PRUNING[:MOST_LINES])]
    assert type(gallery(inputs, few, tmp_path, "")) is Gallery


def test_every_cell_is_a_row_and_methods_are_sorted(inputs: Inputs, drawn: dict[str, Any]) -> None:
    _, draw, frame = drawn["auc_by_cell"]
    (axes,) = drawn_by(draw).axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == len(CELLS) - 1
    means = frame[frame["method"] != "dense"].groupby("method")["mean"].mean()
    titles = [METHODS[method].title for method in means.sort_values(ascending=False, kind="stable").index]
    assert list(dict.fromkeys(label.rpartition(" ")[0].rpartition(" ")[0] for label in shown)) == titles
    points = {_first(line.get_ydata()): line for line in axes.get_lines() if line.get_marker() == method_marker("dpf")}
    own = frame[frame["experiment"] == "dpf_0.95"].iloc[0]
    assert _first(points[axes.get_yticks()[shown.index("DPF 95 %")]].get_xdata()) == own["mean"]
    (below,) = drawn_by(drawn["tpr_at_fpr_0.01_by_cell"][1]).axes
    assert [label.get_text() for label in below.get_yticklabels()] == shown
    assert not {"auc_vs_sparsity", "attacks_vs_sparsity"} & set(drawn)


def test_markers_are_of_one_method_each() -> None:
    assert len({method_marker(method) for method in METHODS}) == len(METHODS)


def test_a_panel_of_roc_curves_per_method_beside_dense(drawn: dict[str, Any]) -> None:
    size, draw, _ = drawn["roc_methods"]
    panels = [axes for axes in drawn_by(draw).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [METHODS[method].title for method in PRUNING]
    legend = panels[0].get_legend()
    assert legend is not None
    written = [text.get_text().split(" (")[0] for text in legend.get_texts()]
    assert written == ["Dense", "80 %", "95 %"]
    assert size[0] < 7


def test_differences_are_a_column_per_control_and_filled_where_found(drawn: dict[str, Any]) -> None:
    _, draw, data = drawn["differences"]
    columns = drawn_by(draw).axes
    assert [axes.get_title() for axes in columns] == [
        f"minus dense{end}" for end in ("", " at its accuracy", " of its size")
    ]
    assert "other_methods" not in set(data["kind"])
    points = [[line for line in axes.get_lines() if line.get_marker() != "None"] for axes in columns]
    assert [len(one) for one in points] == [len(CELLS) - 1] * 2 + [len(CELLS) - 3]
    hollow = [line for line in points[0] if line.get_markerfacecolor() == "white"]
    assert len(hollow) == sum(1 for method, sparsity in GRID if method != "dense" and sparsity < 0.95)


def test_attacks_are_fields_and_pictures_are_of_the_highest_sparsities(drawn: dict[str, Any]) -> None:
    (axes, _) = drawn_by(drawn["attacks_by_cell"][1]).axes
    assert axes.get_yticklabels()[0].get_text() == "Dense"
    assert len(axes.get_yticklabels()) == len(CELLS)
    height = drawn["exposed"][0][1]
    assert height == pytest.approx(0.3 + 0.68 * (len(PRUNING) + 1))


def test_labels_lie_neither_on_each_other_nor_outside(drawn: dict[str, Any]) -> None:
    _, draw, _ = drawn["tradeoff"]
    figure = drawn_by(draw)
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert {"5", "10"} <= {text.get_text() for text in axes.texts}
    joined = [line for line in axes.get_lines() if line.get_marker() == method_marker("static")]
    assert {line.get_linestyle() for line in joined} == {"None"}


def test_a_label_moves_out_of_the_way_and_is_left_out_where_there_is_no_room() -> None:
    figure = Canvas(figsize=(2, 2))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    same = [Label("80 %", ((0.5, 0.5),), ((1, 1),), (0, 0, 0)) for _ in range(40)]
    place_labels(axes, same, [(0.5, 0.5)], 5.0)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 3 < len(boxes) < 40
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert boxes[0].x0 > axes.transData.transform((0.5, 0.5))[0]  # where it was to be tried first


def test_sentences_take_cells_together(inputs: Inputs) -> None:
    said = sentences(inputs, list(inputs.cells["experiment"]))
    at = [one for one in said if one.startswith("At their accuracies")]
    (less,) = (one for one in at if one.endswith("leak less than dense."))
    (none,) = (one for one in at if "no difference" in one)
    assert "Static 95 % (-0.050 [-0.070, -0.030])" in less
    assert "no difference of more than 0.070 was found between dense and Static 80 %, DPF 80 %" in none
    whatever = [one for one in said if one.startswith("Whatever their accuracies and sizes")]
    assert len(whatever) <= 2
    assert said.index(less) < said.index(whatever[0])


def test_the_order_of_rows_leaves_out_what_is_trained_again() -> None:
    frame = pd.DataFrame(
        {"method": ["dense", "static", "static", "dpf"], "sparsity": [0, 0.9, 0.9, 0.9], "mean": [0.7, 0.5, 0.9, 0.6],
         "replicate": [False, False, True, False], "experiment": list("abcd")}
    )  # fmt: skip
    rows = dots.sorted_cells(frame)
    assert list(rows["experiment"]) == ["d", "b"]
    assert list(rows["y"]) == [0.0, -1 - dots.BETWEEN]
