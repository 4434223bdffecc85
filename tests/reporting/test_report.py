"""The page: what it claims, how it degrades, that it needs nothing but itself."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.atomic_writes import file_hash
from mia.report import main
from reporting.headline import sentences
from reporting.inputs import about_digest, read_inputs, settings_of
from reporting.page import write_report
from reporting.verdicts import comparison, finding
from tests.reporting.reporting_examples import GRID, cell, compared, words_of, write_folder, write_results
from tests.repository import REPOSITORY

OLD = Path(__file__).parents[1] / "fixtures" / "before_replicates" / "results"


def page(folder: Path) -> str:
    """The report's text, tags removed, white space folded."""
    path = write_report(folder)[0]
    assert path == folder / "report.html"
    return words_of(path)


def first_screen(folder: Path) -> str:
    """The sentences that lead the report, without drawing it."""
    inputs = read_inputs(folder)
    return " ".join(sentence for group in settings_of(inputs.cells) for sentence in sentences(inputs, group))


@pytest.mark.usefixtures("undrawn")
def test_the_headline_has_level_difference_and_its_limits(tmp_path: Path) -> None:
    write_results(tmp_path, targets=9)
    text = page(tmp_path)
    assert "LiRA tells members of the dense network from non-members with an AUC of 0.660 [0.640, 0.680]" in text
    assert "Static 95 % leaks less than Dense: AUC difference -0.050 [-0.070, -0.030]" in text
    assert "; its test accuracy is 5.7 points lower." in text
    assert (
        "No difference was found between DPF 95 % and Static 95 %: AUC difference -0.050 [-0.090, -0.030]; "
        "a true one of" in text
    )
    assert "survives Holm's correction over the 6 planned tests" in text


@pytest.mark.usefixtures("undrawn")
def test_of_one_target_each_nothing_is_tested(tmp_path: Path) -> None:
    write_results(tmp_path)
    text = page(tmp_path)
    assert "The Static 95 % network and the Dense network: these two networks differ by -0.050 [-0.070, -0.030]" in text
    assert "one target network per cell: every statement above is about these trained networks" in text
    assert "no difference is tested here" in text
    assert not re.search(r"leaks (less|more) than", text)


@pytest.mark.usefixtures("undrawn")
def test_the_strongest_attack_is_the_one_chosen_on_shadows(tmp_path: Path) -> None:
    """Whatever RMIA does to the targets themselves: only the row `strongest` counts, with what was chosen."""
    write_results(tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv")
    rmia = (summary["attack"] == "rmia") & (summary["metric"] == "auc")
    summary.loc[rmia, ["mean", "ci_low", "ci_high"]] = 0.7, 0.69, 0.71
    summary.to_csv(tmp_path / "summary.csv", index=False)
    assert "The strongest" not in first_screen(tmp_path)
    chosen = summary[rmia].assign(attack="strongest", suite="chosen", mean=0.68, ci_low=0.66, ci_high=0.69)
    pd.concat([summary, chosen]).to_csv(tmp_path / "summary.csv", index=False)
    about = json.loads((tmp_path / "evaluation.json").read_text())
    for words, said in (("LiRA", False), ("RMIA for 7 targets, LiRA for 2", True)):
        about["notes"] = {"dense": {"strongest": words}}
        (tmp_path / "evaluation.json").write_text(json.dumps(about))
        sentence = f"chosen for each target on its own shadow models ({words}), has an AUC of 0.680 [0.660, 0.690]."
        assert (sentence in first_screen(tmp_path)) == said


@pytest.mark.usefixtures("undrawn")
def test_several_targets_are_named(tmp_path: Path) -> None:
    write_results(tmp_path, targets=9)
    assert "over 4,000 examples and 9 target networks per cell" in page(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_targets": 1}, "these two networks differ by -0.050 [-0.070, -0.030] in AUC"),
        ({}, "Static 80 % leaks less than Dense"),
        ({"difference": 0.05, "ci_low": 0.03, "ci_high": 0.07, "num_targets": 2}, "Static 80 % leaks more than Dense"),
        ({"p_holm": 0.2}, "Static 80 % against Dense: AUC difference -0.050 [-0.070, -0.030], which does not survive"),
        ({"p_value": 0.2, "p_holm": 1.0}, "No difference was found between Static 80 % and Dense"),
        ({"p_value": 0.2, "p_holm": 1.0}, "a true one of 0.028 would have been found with a chance of 80 %"),
        ({"p_value": 0.2, "p_holm": 1.0, "detectable": None}, "how small a one could have been found is not recorded"),
        ({"p_value": None, "p_holm": None, "ci_low": None, "ci_high": None}, "without a spread to test it by"),
        ({"kind": "replicate"}, "the same trained again, differ by -0.050"),
        (
            {"kind": "other_recipe", "differing": "epochs: 4 / 2"},
            "no verdict, for their recipes differ (epochs: 4 / 2)",
        ),
    ],
)
def test_a_comparison_claims_what_its_row_allows(changes: dict[str, Any], words: str) -> None:
    """And nothing but a corrected p-value of several targets makes one network leak less."""
    row = example(**changes)
    sentence = comparison(row, {"static_0.8": "Static 80 %", "dense": "Dense"})
    assert words in sentence
    assert ("leaks" in sentence) == ("leaks" in words)
    assert ("no difference" in finding(row)) == ("No difference" in sentence)
    assert ("first leaks" in finding(row)) == ("leaks" in sentence)


def test_an_accuracy_difference_has_an_interval_and_says_when_it_is_chance() -> None:
    labels = {"static_0.8": "Static 80 %", "dense": "Dense"}
    chance = comparison(example(accuracy_ci_low=-0.07, accuracy_ci_high=0.01), labels)
    assert "its test accuracy is 4.8 points lower [-7.0, +1.0], within sampling error." in chance
    assert comparison(example(accuracy_ci_low=-0.07, accuracy_ci_high=-0.01), labels).endswith("[-7.0, -1.0].")
    assert comparison(example(), labels).endswith("its test accuracy is 4.8 points lower.")
    assert "not known" in comparison(example(accuracy_difference=None), labels)


def example(**changes: Any) -> pd.Series:
    row = compared(cell("static", 0.8), cell("dense", 0.0), changes.pop("kind", "against_dense"))
    defaults = {"accuracy_ci_low": None, "accuracy_ci_high": None, "differing": None}
    line: pd.Series[Any] = pd.DataFrame([{**defaults, **row, **changes}]).iloc[0]
    return line


def test_a_strong_difference_is_never_called_no_difference() -> None:
    """-0.084 [-0.125, -0.044] with p = 0.00005, which correction for more tests than were planned took away."""
    row = example(difference=-0.084, ci_low=-0.125, ci_high=-0.044, p_value=5e-5, p_holm=0.11)
    sentence = comparison(row, {"static_0.8": "DPF 95 %", "dense": "DPF 80 %"})
    assert "difference -0.084 [-0.125, -0.044], which does not survive correction" in sentence
    assert "no difference" not in sentence.lower() + finding(row)


@pytest.mark.usefixtures("undrawn")
def test_attacks_that_disagree_are_named_on_the_first_screen(tmp_path: Path) -> None:
    write_results(tmp_path, targets=9)
    assert "Attacks disagree" not in first_screen(tmp_path)
    rows = pd.read_csv(tmp_path / "comparisons.csv")
    lost = rows[(rows["kind"] == "same_sparsity") & (rows["experiment_a"] == "dpf_0.95")]
    other = lost.assign(attack="rmia", family="exploratory", difference=0.051, ci_low=0.03, ci_high=0.07, p_value=1e-6)
    pd.concat([rows, other.assign(p_holm=0.3)]).to_csv(tmp_path / "comparisons.csv", index=False)
    words = (
        "Attacks disagree about DPF 95 % and Static 95 %: by LiRA, no difference was found (-0.050 [-0.090, -0.030]; "
        "a true one of 0.028 would have been found with a chance of 80 %); by RMIA (+0.051 [+0.030, +0.070]), "
        "the first leaks more."
    )
    assert words in first_screen(tmp_path)
    pd.concat([rows, other.assign(p_value=0.03)]).to_csv(tmp_path / "comparisons.csv", index=False)
    assert "Attacks disagree" in first_screen(tmp_path)
    pd.concat([rows, other.assign(num_targets=1)]).to_csv(tmp_path / "comparisons.csv", index=False)
    assert "Attacks disagree" not in first_screen(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_attacks_that_agree_say_nothing_more(tmp_path: Path) -> None:
    """Another attack that finds the same, or finds nothing: that is no other verdict."""
    write_results(tmp_path, targets=9)
    rows = pd.read_csv(tmp_path / "comparisons.csv")
    found = rows[(rows["kind"] == "against_dense")].assign(family="exploratory")
    same, none = found.assign(attack="rmia"), found.assign(attack="loss", p_value=0.5, p_holm=1.0)
    pd.concat([rows, same, none]).to_csv(tmp_path / "comparisons.csv", index=False)
    assert "Attacks disagree" not in first_screen(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_the_null_and_other_recipes_stand_beside_what_is_claimed(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:2], targets=9)
    rows = pd.read_csv(tmp_path / "comparisons.csv")
    null = rows.iloc[:1].assign(kind="replicate", method_a="dense", experiment_a="dense", family=None, p_holm=None)
    unlike = rows.iloc[:1].assign(kind="other_recipe", differing="epochs: 4 / 2; lr: 0.1 / 0.05", family="exploratory")
    pd.concat([rows, null, unlike]).to_csv(tmp_path / "comparisons.csv", index=False)
    text = page(tmp_path)
    assert "For comparison, Dense and Dense, the same trained again, differ by -0.050" in text
    assert "The null: a cell minus the same trained again" in text
    assert (
        "more than method and sparsity (such as epochs: 4 / 2; lr: 0.1 / 0.05) are listed below without a verdict"
        in text
    )
    assert "no verdict (epochs: 4 / 2; lr: 0.1 / 0.05)" in text
    assert len(re.findall("first leaks less", text)) == len(rows) * 2  # both tables, the planned pair alone


@pytest.mark.usefixtures("undrawn")
def test_settings_are_listed_once_where_cells_share_them(tmp_path: Path) -> None:
    common = {
        "epochs": 40,
        "batch_size": 128,
        "lr": 0.05,
        "scheduler": "multistep",
        "augment": "none",
        "select": "best",
    }
    cells = [
        cell("dense", 0.0, precision="float32", **common),
        cell("static", 0.8, precision="bfloat16", prune_epoch=20, **common),
    ]
    write_folder(tmp_path, cells, targets=9)
    text = page(tmp_path)
    assert "epochs 40, batch size 128, lr 0.05, scheduler multistep, augment none, select best" in text
    assert "cell precision prune epoch dense float32 - static_0.8 bfloat16 20" in text
    assert "83.2 (optimistic)" in text
    assert "All test accuracies are optimistic: the epoch was chosen on the test set (--select best)." in text


@pytest.mark.usefixtures("undrawn")
def test_tables_of_before_are_drawn_without_a_claim_that_they_do_not_carry(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    text = page(tmp_path / "old")
    assert "No difference was found between" in text
    assert "how small a one could have been found is not recorded" in text


@pytest.mark.usefixtures("undrawn")
def test_one_cell_says_why_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:1])
    text = page(tmp_path)
    assert "No comparisons: they need two attacked cells" in text
    assert "Not measured: there is one attacked cell only" in text
    assert "No pruned cell was attacked" in text
    assert "No agreement between cells" in text
    assert "Every model of every cell is finished" in text


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
def test_names_cannot_inject_anything(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    write_folder(tmp_path, [cell("dense", 0.0, experiment=evil), cell("dense", 0.0, experiment="b", reason=evil)])
    text = write_report(tmp_path)[0].read_text()
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 2  # the page's own, and what that reads
    assert html.escape(evil) in text
    (held,) = re.findall(r'<script type="application/json" id="choices">(.*?)</script>', text, re.DOTALL)
    assert evil in json.loads(held)[0]["views"][0]["names"]


def test_a_name_in_dollars_is_no_formula_to_matplotlib(tmp_path: Path) -> None:
    write_folder(tmp_path, [cell("dense", 0.0, experiment=r"$\frac$"), cell("dense", 0.0, experiment="b")])
    assert r"$\frac$" in write_report(tmp_path)[0].read_text()


def seal(folder: Path) -> None:
    """Record the hashes of the tables as an evaluation does."""
    about = json.loads((folder / "evaluation.json").read_text())
    about["files"] = {path.name: file_hash(path) for path in folder.glob("*.csv")}
    about["digest"] = about_digest(about)
    (folder / "evaluation.json").write_text(json.dumps(about))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("file", ["cells.csv", "summary.csv", "evaluation.json"])
def test_a_table_that_was_changed_is_refused(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path, GRID[:2])
    seal(tmp_path)
    assert main(["--results-dir", str(tmp_path)]) == 0
    text = (tmp_path / file).read_text()
    digit = next(i for i, letter in enumerate(text) if letter in "123")
    (tmp_path / file).write_text(text[:digit] + "7" + text[digit + 1 :])
    before = (tmp_path / "report.html").read_bytes()
    assert main(["--results-dir", str(tmp_path)]) == 2
    assert f"{file} is not as the evaluation wrote it" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_bytes() == before


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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


WAYS = [[str(REPOSITORY / name / "report.py")] for name in ("mia", "reporting")]


@pytest.mark.parametrize("way", [*WAYS, ["-m", "mia.report"], ["-m", "reporting.report"]])
def test_the_script_runs_as_a_file_and_as_a_module(way: list[str], tmp_path: Path) -> None:
    write_results(tmp_path / "mia", GRID[:1])
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
