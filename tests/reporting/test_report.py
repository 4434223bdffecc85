"""The page: what it claims, how it degrades, that it needs nothing but itself."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from reporting_examples import GRID, cell, compared, write_folder, write_results
from repository import REPOSITORY

from artifacts.files import file_hash
from reporting.headline import comparison
from reporting.inputs import about_digest
from reporting.page import write_report
from reporting.report import main


def page(folder: Path) -> str:
    """The report's text, tags removed, white space folded."""
    path = write_report(folder)[0]
    assert path == folder / "report.html"
    body = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_headline_has_level_difference_and_its_limits(tmp_path: Path) -> None:
    write_results(tmp_path)
    text = page(tmp_path)
    assert "LiRA tells members of the dense network from non-members with an AUC of 0.660 [0.640, 0.680]" in text
    assert "The Static 95 % network leaks less than the Dense network: AUC difference -0.050 [-0.070, -0.030]" in text
    assert "; its test accuracy is 5.7 points lower." in text
    assert "No difference was found between DPF 95 % and Static 95 %: AUC difference -0.050 [-0.090, -0.030]" in text
    assert "one target network a cell: every statement above is about these trained networks" in text


def test_a_stronger_attack_is_named(tmp_path: Path) -> None:
    write_results(tmp_path)
    assert "The strongest of" not in page(tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    auc = (summary["attack"] == "rmia") & (summary["metric"] == "auc")
    summary.loc[auc, ["mean", "ci_low", "ci_high"]] = 0.7, 0.69, 0.71
    summary.to_csv(tmp_path / "summary.csv", index=False)
    assert "The strongest of 4 attacks on the dense network is RMIA: AUC 0.700 [0.690, 0.710]." in page(tmp_path)


def test_several_targets_are_named(tmp_path: Path) -> None:
    write_results(tmp_path, targets=9)
    assert "over 4,000 examples and 9 target networks a cell" in page(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "The Static 80 % network leaks less than the Dense network"),
        ({"num_targets": 9}, "Static 80 % leaks less than Dense"),
        ({"difference": 0.05, "ci_low": 0.03, "ci_high": 0.07, "num_targets": 2}, "Static 80 % leaks more than Dense"),
        ({"p_holm": 0.2}, "does not hold after correction"),
        ({"p_value": 0.2, "p_holm": 1.0}, "No difference was found between Static 80 % and Dense"),
        ({"p_value": None, "p_holm": None, "ci_low": None, "ci_high": None}, "No difference was found"),
    ],
)
def test_a_comparison_claims_what_its_row_allows(changes: dict[str, float], words: str) -> None:
    row = pd.DataFrame([compared(cell("static", 0.8), cell("dense", 0.0), "against_dense", **changes)]).iloc[0]
    assert words in comparison(row, {"static_0.8": "Static 80 %", "dense": "Dense"})


def test_one_cell_says_why_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:1])
    text = page(tmp_path)
    assert "No comparisons: they need two attacked cells" in text
    assert "Not measured: there is one attacked cell only" in text
    assert "No pruned cell was attacked" in text
    assert "No agreement between cells" in text
    assert "Every model of every cell is finished" in text


def test_an_interrupted_sweep_lists_what_is_missing(tmp_path: Path) -> None:
    late = {"num_targets": 0, "num_examples": None, "finished_models": 0, "test_accuracy": None}
    cells = [
        cell("dense", 0.0, finished_models=12),
        cell("static", 0.8),
        cell("dpf", 0.8, reason="not started: the sweep has not come to it", **late),
    ]
    write_folder(tmp_path, cells)
    text = page(tmp_path)
    assert "dense 12 of 17 models are finished" in text
    assert "dpf_0.8 0 of 17 models are finished not started" in text
    assert "2 of 3 cells" in text


def test_nothing_attacked_is_a_page_too(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:2], reason="no target", num_examples=None, targets=0)
    text = page(tmp_path)
    assert "No cell could be attacked" in text
    assert "no target" in text


def test_names_cannot_inject_anything(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    write_folder(tmp_path, [cell("dense", 0.0, experiment=evil), cell("dense", 0.0, experiment="b", reason=evil)])
    text = write_report(tmp_path)[0].read_text()
    assert "<script" not in text
    assert html.escape(evil) in text


def test_a_name_in_dollars_is_no_formula_to_matplotlib(tmp_path: Path) -> None:
    write_folder(tmp_path, [cell("dense", 0.0, experiment=r"$\frac$"), cell("dense", 0.0, experiment="b")])
    assert r"$\frac$" in write_report(tmp_path)[0].read_text()


def seal(folder: Path) -> None:
    """Record the hashes of the tables as an evaluation does."""
    about = json.loads((folder / "evaluation.json").read_text())
    about["files"] = {path.name: file_hash(path) for path in folder.glob("*.csv")}
    about["digest"] = about_digest(about)
    (folder / "evaluation.json").write_text(json.dumps(about))


@pytest.mark.parametrize("file", ["cells.csv", "summary.csv", "evaluation.json"])
def test_a_table_that_was_changed_is_refused(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path)
    seal(tmp_path)
    assert main(["--results-dir", str(tmp_path)]) == 0
    text = (tmp_path / file).read_text()
    digit = next(i for i, letter in enumerate(text) if letter in "123")
    (tmp_path / file).write_text(text[:digit] + "7" + text[digit + 1 :])
    before = (tmp_path / "report.html").read_bytes()
    assert main(["--results-dir", str(tmp_path)]) == 2
    assert f"{file} is not as the evaluation wrote it" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_bytes() == before


def test_it_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    write_results(tmp_path)
    text = write_report(tmp_path)[0].read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in text
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]*)"', text))


def test_a_link_in_the_folder_is_not_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "mia", GRID[:2])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mia/figures").symlink_to(tmp_path / "elsewhere")
    assert main(["--results-dir", str(tmp_path / "mia")]) == 2
    assert "figures is a link" in capsys.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_module_rewrites_it_and_refuses_bad_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "mia", GRID[:2])
    assert main(["--results-dir", str(tmp_path / "mia")]) == 0
    first = (tmp_path / "mia/report.html").read_bytes()
    assert main(["--results-dir", str(tmp_path / "mia")]) == 0
    assert (tmp_path / "mia/report.html").read_bytes() == first
    (tmp_path / "mia/summary.csv").write_text("a,b\n")
    for folder, words in (("nowhere", "does not exist"), ("mia", "its columns must be")):
        capsys.readouterr()
        assert main(["--results-dir", str(tmp_path / folder)]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("way", [[str(REPOSITORY / "reporting" / "report.py")], ["-m", "reporting.report"]])
def test_the_script_runs_as_a_file_and_as_a_module(way: list[str], tmp_path: Path) -> None:
    write_results(tmp_path / "mia")
    done = subprocess.run(
        [sys.executable, *way, "--results-dir", str(tmp_path / "mia"), "--quiet"],
        cwd=tmp_path if way[0] != "-m" else REPOSITORY,
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"report   {tmp_path / 'mia' / 'report.html'}\n")
    assert (tmp_path / "mia" / "report.html").is_file()
