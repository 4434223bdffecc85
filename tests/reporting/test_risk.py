"""Who is at risk, in the report: a verdict only where the interval leaves 0 out, and no section without rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reporting.classes import by_class, class_rows, panels_of, panels_size
from reporting.page import write_report
from reporting.risk import risk_sentences, risk_table
from reporting.style import STYLE
from reporting.tables import EVIDENCE_TABLES, RISK_COLUMNS, write_table
from tests.reporting.reporting_examples import write_results

LABELS = {"a": "dense", "b": "static 0.9"}


def top(experiment: str, low: float, high: float, p_holm: float = 0.01) -> dict[str, Any]:
    shares = {"share_found": 0.4, "share_false_positives": 0.25, "difference": 0.15}
    ends = {"difference_low": low, "difference_high": high, "p_value": p_holm / 2, "p_holm": p_holm}
    return {"experiment": experiment, "kind": "exposed", "group": "top tenth", **shares, **ends}


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    found: pd.DataFrame = pd.DataFrame(rows, columns=list(RISK_COLUMNS))
    return found


def test_only_an_interval_without_zero_is_a_finding() -> None:
    rows = [top("a", 0.1, 0.2), top("b", -0.05, 0.2), {**top("b", -0.3, -0.1), "difference": -0.2}]
    found, none, less = risk_sentences(frame(rows), LABELS)
    assert found == (
        "dense: the most exposed tenth makes up 40.0 % of the found members and 25.0 % of the false positives, the "
        "null; its members are found more often than that explains (+15.0 points [+10.0, +20.0])."
    )
    assert "no difference is found" in none
    assert "less often" in less
    several = list(risk_sentences(frame([top("a", 0.03, 0.27, 0.07), *[top("b", -0.05, 0.35, 0.1)] * 4]), LABELS))
    assert "a difference does not survive correction for 5 cells" in several[0]
    assert list(risk_sentences(frame([{**top("a", 0.0, 0.0), "difference": None}]), LABELS)) == []


def test_a_pruned_cell_is_told_of_beside_dense_where_there_is_something_to_say() -> None:
    def paired(experiment: str, low: float, high: float, p_holm: float) -> dict[str, Any]:
        return {**top(experiment, low, high, p_holm), "kind": "paired", "against": "a", "difference": (low + high) / 2}

    less, more = (paired("b", *ends, 0.01) for ends in ((-0.3, -0.1), (0.1, 0.3)))
    crossed, corrected = paired("b", -0.1, 0.2, 0.4), paired("b", 0.1, 0.3, 0.06)
    found = list(risk_sentences(frame([less, more, crossed, corrected]), LABELS))
    assert found[0] == (
        "static 0.9: beyond its null, the most exposed tenth makes up less of the found members than with dense "
        "(-20.0 points [-30.0, -10.0])."
    )
    assert "makes up more of the found members than with dense (+20.0 points" in found[1]
    assert "is found for 2 of 4 pruned cells, after correction for 4." in found[2]
    assert len(found) == 3
    again = {**crossed, "kind": "replicate"}
    null, alone = risk_sentences(frame([again, crossed]), LABELS)
    assert null.endswith("which is chance: static 0.9 minus dense +5.0 points [-10.0, +20.0].")
    assert "is found for the pruned cell, after" in alone


def test_predicted_risks_stand_beside_what_is_counted() -> None:
    row = {"experiment": "a", "kind": "risk", "group": "10", "false_positives": 0.06, "false_positive_risk": 0.05}
    (said,) = risk_sentences(frame([row, {**row, "group": "9"}]), LABELS)
    assert "dense 5.0 % predicted, 6.0 % counted." in said


def test_a_line_per_group_and_a_column_per_cell() -> None:
    rows: list[dict[str, Any]] = [
        {"experiment": "a", "kind": "difficulty", "group": "1", "found": 0.1},
        {"experiment": "a", "kind": "class", "group": "3", "found": 0.2},
        {"experiment": "b", "kind": "class", "group": "3", "found": None},
    ]
    assert risk_table(frame(rows), LABELS) == {
        "cells": ["dense", "static 0.9"],
        "lines": [
            {"group": "class 3", "found": ["20.0 %", "-"]},
            {"group": "difficulty, fifth 1", "found": ["10.0 %", "-"]},
        ],
    }
    assert risk_table(frame([]), LABELS)["lines"] == []


def test_the_section_is_there_with_rows_alone(tmp_path: Path) -> None:
    write_results(tmp_path, [("dense", 0.0)])
    assert 'id="risk"' not in write_report(tmp_path)[0].read_text(encoding="utf-8")
    rows = [top("dense", 0.05, 0.2), {"experiment": "dense", "kind": "class", "group": "3", "found": 0.125}]
    rows.append({**rows[1], "group": "4", "found": 0.25})
    write_table(tmp_path / "risk.csv", rows, EVIDENCE_TABLES["risk"])
    page = write_report(tmp_path)[0].read_text(encoding="utf-8")
    assert 'href="#risk"' in page
    assert "its members are found more often than that explains" in page
    assert "<td>class 3</td><td>12.5 %</td>" in page
    assert 'id="leakage_by_class"' in page
    assert (tmp_path / "figures" / "leakage_by_class.png").is_file()


def classes(experiments: Sequence[str], count: int) -> pd.DataFrame:
    """Rows of classes, the highest class of the first cell found most often."""
    shares = {name: 0.5 / (1 + place) for place, name in enumerate(experiments)}
    return frame(
        [
            {
                "experiment": name,
                "kind": "class",
                "group": str(number),
                "found": share * number / count,
                "found_low": share * number / count - 0.01 if number else None,
                "found_high": share * number / count + 0.01 if number else None,
            }
            for name, share in shares.items()
            for number in range(count)
        ]
    )


@pytest.mark.parametrize(("count", "order"), [(20, list(range(20))), (100, list(range(99, -1, -1)))])
def test_every_class_is_a_dot_beside_dense(count: int, order: list[int]) -> None:
    cells = pd.DataFrame({"experiment": ["a", "b", "c"], "method": ["dense", "static", "dpf"]})
    rows = class_rows(classes("abc", count), cells, ["b"])
    assert set(rows["experiment"]) == {"a", "b"}  # dense always
    assert panels_of(rows) == [("a", "b")]
    assert list(rows[rows["experiment"] == "a"].sort_values("x")["group"].astype(int)) == order
    with matplotlib.style.context(["default", STYLE]):
        canvas = Figure(figsize=panels_size(1), layout="constrained")
        FigureCanvasAgg(canvas)
        by_class(rows, panels_of(rows), LABELS, {"a": (0.0, 0.0, 0.0), "b": (0.5, 0.5, 0.5)})(canvas)
    (axes,) = canvas.axes
    first, second = axes.lines
    shown = rows[rows["experiment"] == "b"]
    assert list(np.asarray(second.get_ydata())) == pytest.approx(list(100 * shown["found"]))
    assert (np.asarray(first.get_xdata()) < np.asarray(second.get_xdata())).all()
    assert [len(bars.get_paths()) for bars in axes.collections] == [count - 1] * 2  # nobody found: no interval
    assert len(axes.get_xticks()) == (count if count <= 20 else 0)
    assert axes.get_title() == LABELS["b"]


def test_dense_alone_and_pruned_cells_alone_have_panels() -> None:
    cells = pd.DataFrame({"experiment": ["a", "b"], "method": ["dense", "static"]})
    assert panels_of(class_rows(classes("a", 3), cells, [])) == [("a", None)]
    assert panels_of(class_rows(classes("b", 3), cells, ["b"])) == [(None, "b")]
    assert panels_of(class_rows(frame([]), cells, ["b"])) == []
