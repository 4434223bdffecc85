"""benchmarks/loss_traces.py: the recorded table is made again from what is kept, and strangers are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks import loss_traces
from configs.errors import UsageError
from tests.cli.scripts import read
from tests.repository import REPOSITORY

STUDY = REPOSITORY / "benchmarks" / "results" / "digits"
CELLS = ("dense_digits", "dpf_0.95_digits", "static_0.95_digits")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept figures and signals of the three cells, with the table made again."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "signals").mkdir()
    shutil.copy(STUDY / "loss_traces.npz", folder)
    for cell in CELLS:
        shutil.copy(STUDY / f"signals/{cell}.npz", folder / "signals")
    assert loss_traces.main(["--study", str(folder)]) == 0
    return folder


def test_the_recorded_table_is_made_again(study: Path) -> None:
    recorded, made = read(STUDY / "loss_traces.csv"), read(study / "loss_traces.csv")
    assert [list(row.values())[:3] for row in made] == [list(row.values())[:3] for row in recorded]
    for ours, theirs in zip(made, recorded, strict=True):
        numbers = [[float(value) for value in list(row.values())[2:]] for row in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.002)  # of other processors, ties may fall otherwise


def test_a_range_dealt_out_anew_says_nothing(study: Path) -> None:
    rows = [row for row in read(study / "loss_traces.csv") if row["figure"] == loss_traces.NULL]
    assert len(rows) == len(CELLS)
    for row in rows:
        assert float(row["spearman_low"]) < 0 < float(row["spearman_high"])
        assert abs(float(row["spearman"])) < 0.01
        assert float(row["first_tenth_low"]) < 0.1 < float(row["first_tenth_high"])


def test_the_documents_quote_the_table() -> None:
    rows = {(row["experiment"], row["figure"]): row for row in read(STUDY / "loss_traces.csv")}
    text = (REPOSITORY / "docs" / "attacks.md").read_text(encoding="utf-8")
    names = {"trace_iqr": "range of the losses (LT-IQR)", "trace_mean": "mean of the losses"}
    for figure, words in {**names, "loss": "loss of the finished network"}.items():
        cells = [rows[cell, figure] for cell in CELLS]
        shown = [[f"{float(row[f'spearman{end}']):+.2f}" for end in ("", "_low", "_high")] for row in cells]
        line = " | ".join(f"{mean} [{low}, {high}]" for mean, low, high in shown)
        assert f"| {words}, correlation | {line} |" in text
        shares = [[f"{100 * float(row[f'first_tenth{end}']):.0f}" for end in ("", "_low", "_high")] for row in cells]
        line = " | ".join(f"{mean} % [{low}, {high}]" for mean, low, high in shares)
        assert f"| the same, first tenth | {line} |" in text


def test_measures_by_hand() -> None:
    ours = np.arange(20.0)
    theirs = ours.copy()
    theirs[[0, 19]] = theirs[[19, 0]]
    assert loss_traces.measured(ours, ours) == (1.0, 1.0)
    spearman, first_tenth = loss_traces.measured(ours, theirs)  # of two members first, one is
    assert spearman == pytest.approx(1 - 6 * 2 * 19**2 / (20 * 399))
    assert first_tenth == 0.5
    values = np.array([[1.0], [2.0], [4.0]])
    half = stats.sem(values[:, 0]) * stats.t.ppf(0.975, 2)
    assert loss_traces.t_interval(values)[:, 0] == pytest.approx([7 / 3 - half, 7 / 3 + half])


def cell_of(name: str, phi: float, losses: list[list[float]] | None) -> Any:
    """One model on three examples, of which it holds the first and the last."""
    signals = SimpleNamespace(phi=np.full((3, 1), phi), pool=np.arange(3), membership=np.array([True, False, True]))
    traces = None if losses is None else SimpleNamespace(losses=np.array(losses, dtype=np.float16))
    return SimpleNamespace(
        experiment=name,
        models={0: None},
        origin=lambda index: f"runs/{name}",
        queries=lambda *args, **settings: None,
        ask=lambda *args: signals,
        traces_of=lambda index: traces,
    )


def test_figures_are_kept_of_the_recorded_networks_alone() -> None:
    study = {"a": cell_of("a", 1.0, None)}
    traced = [[4.0, 0.0], [2.0, 0.0], [0.0, 0.0]]
    arrays = loss_traces.kept_figures([cell_of("a", 1.0, traced)], study)
    assert arrays["a/iqr"].tolist() == [[2.0, pytest.approx(np.nan, nan_ok=True), 0.0]]
    assert arrays["a/mean"].tolist() == [[2.0, pytest.approx(np.nan, nan_ok=True), 0.0]]
    for cell, why in (
        (cell_of("b", 1.0, traced), "the study has no cell b"),
        (cell_of("a", 1.0, None), "runs/a was trained without --trace-losses"),
        (cell_of("a", 2.0, traced), "runs/a is not the network whose signals are kept"),
    ):
        with pytest.raises(UsageError, match=f"argument --record: {why}"):
            loss_traces.kept_figures([cell], study)


def test_a_study_without_signals_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert loss_traces.main(["--study", str(tmp_path)]) == 2
    assert "has no recorded signals" in capfd.readouterr().err
