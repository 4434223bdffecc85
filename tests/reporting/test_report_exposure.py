"""What the report says of who is exposed, and of tables that an earlier version wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attacks.exposure import STATISTICS
from mia.report import main
from reporting.exposure import agreement_table, exposure_sentences, pictures_caption
from reporting.frames import to_frame
from reporting.inputs import read_inputs
from reporting.page import write_report
from reporting.tables import EXPOSURE_COLUMNS, SUMMARY_COLUMNS, SUPERSEDED, write_table
from tests.reporting.reporting_examples import GRID, cell, words_of, write_folder, write_results

pytestmark = pytest.mark.usefixtures("undrawn")
OLD = Path(__file__).parents[1] / "fixtures" / "before_replicates" / "results"
CELLS = [
    cell(method, sparsity, experiment=f"{name}{again}", train_seed=seed)
    for name, method, sparsity in (("dense", "dense", 0.0), ("static", "static", 0.8))
    for again, seed in (("", 0), ("_again", 1))
]
LABELS = {"dense": "Dense", "dense_again": "Dense again", "static": "Static 80 %", "static_again": "Static again"}
SURE, LOW = (0.6, 0.55, 0.65), (0.5, 0.4, 0.6)


def figures(name: str, values: tuple[float | None, float | None, float | None]) -> dict[str, Any]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def rows_of(**changes: tuple[float | None, float | None, float | None]) -> list[dict[str, Any]]:
    """Two cells, trained twice. changes: `a_pearson` for a reliability, `pairing_0_pearson` for a corrected one."""
    about = {"num_models": 9, "num_examples": 1400}
    rows = []
    for name in ("dense", "static"):
        trainings = {"experiment_a": name, "experiment_b": f"{name}_again", "train_seed_a": 0, "train_seed_b": 1}
        rows += [
            {"kind": "reliability", **trainings, **about, "statistic": statistic, **figures("r", SURE)}
            for statistic in STATISTICS
        ]
    for number, (a, b) in enumerate((("dense", "static_again"), ("dense_again", "static"))):
        for statistic in STATISTICS:
            row = {"kind": "crossed", "experiment_a": a, "experiment_b": b, **about, "statistic": statistic}
            row |= figures("r", (0.3, 0.2, 0.4))
            for side in "ab":
                row |= figures(f"reliability_{side}", changes.get(f"{side}_{statistic}", SURE))
            rows.append(row | figures("corrected", changes.get(f"pairing_{number}_{statistic}", LOW)))
    return rows


def said(rows: list[dict[str, Any]]) -> list[str]:
    return exposure_sentences(to_frame(rows, EXPOSURE_COLUMNS), pd.DataFrame(CELLS), LABELS)


def test_a_change_is_said_with_its_figures() -> None:
    assert said(rows_of()) == [
        "Static 80 %: partly other examples are exposed than by Dense (correlation without noise 0.50 [0.40, 0.60] and "
        "0.50 [0.40, 0.60], 1 being one order; Dense with itself 0.60 [0.55, 0.65], Static 80 % with itself "
        "0.60 [0.55, 0.65])."
    ]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("pairing", [0, 1])
@pytest.mark.parametrize("values", [(0.8, 0.7, 0.92), (0.5, 0.4, None), (None, None, None)])
def test_one_figure_that_may_be_one_order_keeps_it_from_being_said(
    statistic: str, pairing: int, values: tuple[float | None, ...]
) -> None:
    (sentence,) = said(rows_of(**{f"pairing_{pairing}_{statistic}": values}))  # type: ignore[arg-type]
    assert "no change in who is exposed was found against Dense" in sentence
    assert "partly other" not in sentence
    assert "the same examples" not in sentence


@pytest.mark.parametrize(("side", "name"), [("a", "Dense"), ("b", "Static 80 %")])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_cell_that_does_not_agree_with_itself_is_not_compared(statistic: str, side: str, name: str) -> None:
    (sentence,) = said(rows_of(**{f"{side}_{statistic}": (0.04, -0.01, 0.09)}))
    assert f"nothing can be said, since {name} was not found to agree with itself, trained again" in sentence
    assert "0.04 [-0.01, 0.09]" in sentence


def test_the_sides_follow_the_rows_order() -> None:
    """The unpruned cell may stand second: its reliability is then b's."""
    rows = rows_of(b_pearson=(0.0, -0.1, 0.1))
    for row in rows:
        for name in ("experiment_a", "experiment_b"):
            swap = {"dense": "static", "static": "dense"}
            first = row[name].split("_")[0]
            row[name] = row[name].replace(first, swap[first])
    (sentence,) = said(rows)
    assert "since Dense was not found to agree with itself" in sentence


def test_a_cell_that_is_trained_once_says_what_it_needs() -> None:
    alone = {"kind": "reliability", "experiment_a": "static", "reason": "trained once; --replicates 1 trains it again"}
    rows = [row for row in rows_of() if row["kind"] == "reliability" and row["experiment_a"] == "dense"]
    (sentence,) = said([*rows, alone])
    assert sentence.startswith("Static 80 %: not known whether the same examples are exposed")
    assert "--replicates 1" in sentence


def test_cells_that_cannot_be_paired_say_why() -> None:
    rows = [row for row in rows_of() if row["kind"] == "reliability"]
    rows.append({"kind": "crossed", "experiment_a": "dense", "experiment_b": "static", "reason": "other train seeds"})
    assert said(rows) == ["Static 80 %: not compared with Dense: other train seeds."]


def test_a_table_with_rows_missing_claims_nothing() -> None:
    rows = [row for row in rows_of() if row["kind"] == "reliability" or row["statistic"] == "pearson"]
    assert said(rows) == ["Static 80 %: not compared with Dense: exposure.csv lacks rows of the two."]


def test_one_cell_has_nothing_to_say() -> None:
    assert said([row for row in rows_of() if "static" not in row["experiment_a"] + row["experiment_b"]]) == []


def test_the_table_has_every_pair_of_trainings() -> None:
    lines = agreement_table(to_frame(rows_of(), EXPOSURE_COLUMNS), LABELS)
    assert [line["pair"] for line in lines] == [
        *("Dense and Dense again", "Static 80 % and Static again"),
        *("Dense and Static again", "Dense again and Static 80 %"),
    ]
    assert lines[0]["r"] == ["0.60 [0.55, 0.65]"] * 4
    assert lines[0]["corrected"] == ["-"] * 4
    assert lines[2]["corrected"] == ["0.50 [0.40, 0.60]"] * 4


def test_the_caption_says_how_far_the_pictures_can_be_trusted() -> None:
    rows = to_frame(rows_of(), EXPOSURE_COLUMNS)
    words = pictures_caption(rows, LABELS, ["dense", "dense_again"], superseded=False)
    assert "(Pearson across models): Dense 0.60 [0.55, 0.65]; Static 80 % 0.60 [0.55, 0.65]." in words
    assert "not known" not in words
    alone = pictures_caption(rows.iloc[:0], LABELS, ["dense"], superseded=False)
    assert "would show the same is not known of Dense (--replicates 1)" in alone
    assert "stays exposed" not in words + alone
    assert "share starts and batches" in alone


def text_of(folder: Path) -> str:
    return words_of(write_report(folder)[0])


def without_figures(folder: Path) -> None:
    """No attack's figures, so that none are drawn: that takes long."""
    write_table(folder / "summary.csv", [], SUMMARY_COLUMNS)


def test_the_page_has_sentence_and_table(tmp_path: Path) -> None:
    write_folder(tmp_path, CELLS)
    without_figures(tmp_path)
    write_table(tmp_path / "exposure.csv", rows_of(), EXPOSURE_COLUMNS)
    text = text_of(tmp_path)
    assert "partly other examples are exposed than by" in text
    assert "Correlations of exposures" in text
    assert "No attack enters." in text
    write_table(tmp_path / "exposure.csv", [], EXPOSURE_COLUMNS)
    assert "partly other examples" not in text_of(tmp_path)


def test_without_replicates_the_page_says_so(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:2])
    without_figures(tmp_path)
    text = text_of(tmp_path)
    assert "not known whether the same examples are exposed as in another cell (trained once)" in text
    assert "partly other examples" not in text


def test_a_table_of_an_earlier_version_is_read_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    inputs = read_inputs(tmp_path / "old")
    assert inputs.superseded == {"exposure"}
    assert tuple(inputs.tables["exposure"].columns) == EXPOSURE_COLUMNS
    assert inputs.tables["exposure"].empty
    assert main(["--results-dir", str(tmp_path / "old")]) == 0
    text = words_of(tmp_path / "old" / "report.html")
    assert "The exposures in this folder are of an earlier version" in text
    assert "highest mean attack score" in text
    assert "partly other examples" not in text
    assert "No attack enters." not in text


def test_a_table_that_only_resembles_the_earlier_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, GRID[:2])
    (tmp_path / "exposure.csv").write_text(",".join(SUPERSEDED[EXPOSURE_COLUMNS][:-1]) + "\n")
    assert main(["--results-dir", str(tmp_path)]) == 2
    assert "is not the table it is named after" in capsys.readouterr().err
