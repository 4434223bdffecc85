"""The recorded study: its pages hold the tables that its command prints, and no figure beside them."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from benchmarks import study_tables
from benchmarks.remake_tables import RESULTS
from benchmarks.study_tables import tables_of
from tests.repository import REPOSITORY

STUDY = RESULTS / "study"
PAGES = ("docs/study.md", "docs/ko/study.md")
READMES = ("README.md", "README.ko.md")
INTERVAL = re.compile(r"\[[+-]?\d[\d.]*, [+-]?\d[\d.]*\]")


@pytest.fixture(scope="module")
def printed() -> dict[str, list[str]]:
    return tables_of(STUDY)


def text(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_its_page_has_every_table(page: str, printed: dict[str, list[str]]) -> None:
    """English pages with their heads, Korean ones row by row."""
    for lines in printed.values():
        assert "\n".join(lines[2:]) in text(page)
        assert page.startswith("docs/ko") or lines[0] in text(page)


@pytest.mark.parametrize("page", READMES)
def test_a_readme_leads_with_its_networks(page: str, printed: dict[str, list[str]]) -> None:
    table = "\n".join(printed["networks"][2:])
    assert table in text(page)
    assert text(page).index(table) < text(page).index("```")


@pytest.mark.parametrize("page", PAGES)
def test_intervals_in_its_sentences_are_those_of_its_tables(page: str) -> None:
    tables = [line for line in text(page).splitlines() if line.startswith("|")]
    known = {found for line in tables for found in INTERVAL.findall(line)}
    said = {found for line in text(page).splitlines() if line not in tables for found in INTERVAL.findall(line)}
    assert said <= known


def test_rows_say_what_the_tables_hold(printed: dict[str, list[str]]) -> None:
    """One row of each kind, read from the recorded files in another way."""
    summary, comparisons = (pd.read_csv(STUDY / f"{name}.csv") for name in ("summary", "comparisons"))
    dense = summary.query("experiment == 'dense_cifar10-jpeg' and attack == 'lira_bayes' and metric == 'auc'").iloc[0]
    row = next(line for line in printed["networks"] if line.startswith("| Dense |"))
    assert f"**{dense['mean']:.3f}** [{dense['ci_low']:.3f}, {dense['ci_high']:.3f}]" in row
    pair = comparisons.query("kind == 'against_dense' and method_a == 'dpf' and attack == 'lira_bayes'")
    tpr = pair[pair["metric"] == "tpr_at_fpr_0.01"].iloc[0]
    row = next(line for line in printed["planned"] if line.startswith("| DPF 90 % - Dense |"))
    assert f"{100 * tpr['difference']:+.1f} [{100 * tpr['ci_low']:+.1f}, {100 * tpr['ci_high']:+.1f}]" in row
    null = next(line for line in printed["planned"] if line.startswith("| Dense - Dense (train seed 1) |"))
    assert null.count("| - |") == 2


def test_a_figure_that_is_empty_is_a_dash_and_an_unknown_study_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """1,400 digits are too few non-members for TPR@0.1%FPR."""
    rows = tables_of(RESULTS / "digits")["networks"][2:]
    assert [row.split(" | ")[5] for row in rows] == ["-"] * 12
    assert study_tables.main(["none"]) == 2
    assert "argument STUDY" in capfd.readouterr().err
