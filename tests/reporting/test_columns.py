"""Tables have no column without a value: on the page, in the terminal, in the model card."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from reporting.card import _table
from reporting.columns import without_empty_columns
from reporting.page import write_report
from reporting.tables import summary_text
from tests.reporting.reporting_examples import GRID, cell, row, write_results

TABLE = (
    '<table>\n<thead><tr><th>Cell</th><th>A</th><th class="text">B</th><th>C</th></tr></thead>\n'
    '<tbody><tr class="kind"><th colspan="4" scope="rowgroup">Kind</th></tr>\n'
    '<tr class="found"><td>-</td><td>-</td><td class="text"></td><td>1 - 2</td></tr>\n'
    '<tr><td>-</td><td>-</td><td class="text">-</td><td>-</td></tr></tbody></table>'
)


def test_columns_of_dashes_go_and_headings_span_the_rest() -> None:
    assert without_empty_columns(f"<p>a - b</p>{TABLE}") == (
        "<p>a - b</p><table>\n<thead><tr><th>Cell</th><th>C</th></tr></thead>\n"
        '<tbody><tr class="kind"><th colspan="2" scope="rowgroup">Kind</th></tr>\n'
        '<tr class="found"><td>-</td><td>1 - 2</td></tr>\n'
        "<tr><td>-</td><td>-</td></tr></tbody></table>"
    )


def test_whole_tables_and_such_without_rows_stay() -> None:
    for table in (TABLE.replace("<td>-</td><td>-</td>", "<td>x</td><td>0</td>").replace("></td>", ">b</td>"),
                  "<table>\n<thead><tr><th>Cell</th><th>A</th></tr></thead>\n<tbody></tbody></table>"):  # fmt: skip
        assert without_empty_columns(table) == table


def tables(folder: Path) -> list[pd.DataFrame]:
    """The tables of the report, as text, by column."""
    page = write_report(folder)[0].read_text(encoding="utf-8")
    found = []
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in re.findall(r"<tr.*?</tr>", table)]
        heading, *body = [one for one in rows if len(one) > 1]
        found.append(pd.DataFrame(body, columns=[f"{i} {name}" for i, name in enumerate(heading)]))
    return found


@pytest.mark.usefixtures("undrawn")
def test_no_table_of_the_page_has_an_empty_column(tmp_path: Path) -> None:
    write_results(tmp_path, GRID, width_mult=None, heldout_accuracy=None)
    for name, columns in {"comparisons": ["p_value", "p_holm", "accuracy_difference"]}.items():
        frame = pd.read_csv(tmp_path / f"{name}.csv")
        frame[columns] = None
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    found = tables(tmp_path)
    assert len(found) >= 5
    for table in found:
        assert len(table)
        for name in table.columns[1:]:
            assert not table[name].isin(["", "-"]).all(), name
    headings = {name.split(" ", 1)[1] for table in found for name in table.columns}
    assert {"Train acc %", "Difference [95 %]", "TPR@1%FPR %"} <= headings
    assert not {"Held-out acc %", "p", "p (Holm)", "TPR@0.1%FPR %", "width mult", "Test accuracy, points"} & headings


def test_no_column_of_the_terminal_is_empty() -> None:
    text = summary_text([cell("dense", 0.0, test_accuracy=None)], [row("dense", "lira", "auc", 0.6)])
    assert text.splitlines()[0].split() == ["Method", "Sparsity", "LiRA", "AUC"]


def test_no_column_of_the_card_is_empty() -> None:
    rows = [("LiRA", "0.6", "-", "0.1"), ("LOSS", "-", "-", "-")]
    assert list(_table(("attack", "AUC", "TPR", "accuracy"), rows)) == [
        "| attack | AUC | accuracy |", "|---|---|---|", "| LiRA | 0.6 | 0.1 |", "| LOSS | - | - |",
    ]  # fmt: skip
    assert list(_table(("a", "b"), [])) == ["| a | b |", "|---|---|"]
