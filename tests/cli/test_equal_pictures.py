"""Equal pictures are counted once for a data set, and training, evaluation, tables and report say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attacks.arrays import IntArray
from data import inputs
from data.base import DataSet
from data.duplicates import example_numbers
from tests.cli.scripts import ONE_CELL, TRAIN, UNIFIED, call, read
from tests.cli.test_signals_files import made_up

OLD = Path(__file__).parents[1] / "fixtures" / "before_replicates"
TINY = "--layers 8 --epochs 1 --augment none --batch-size 16 --precision float32 --device cpu --jobs 1 --num-shadows 1"
COUNTS = ("duplicates_in_pool", "duplicates_in_test")


def counts(table: Path) -> list[tuple[str, str]]:
    return [(row[COUNTS[0]], row[COUNTS[1]]) for row in read(table)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pictures(folder: Path) -> None:
    """12 + 4 pictures in two classes: the first cat is the first dog as well, and the second cat is in the test set."""
    for part, number in (("train", 6), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(number):
                seed = 100 * label + index + (1000 if part == "test" else 0)
                pixels = np.random.default_rng({100: 0, 1100: 1}.get(seed, seed)).integers(0, 256, (8, 8, 3), np.uint8)
                (folder / part / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")


def test_a_sweep_says_what_it_found(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(here / "pictures")
    counted: list[DataSet] = []

    def counting(data: DataSet) -> tuple[IntArray, IntArray]:
        counted.append(data)
        return example_numbers(data)

    monkeypatch.setattr(inputs, "example_numbers", counting)
    data = f"--dataset imagefolder --data-dir {here / 'pictures'} --image-size 8 --methods dense --attacks loss"
    assert call(TRAIN, [*data.split(), *TINY.split()]) == 0
    said = capfd.readouterr().err
    assert len(counted) == 1
    assert counts(here / "training_results.csv") == [("2", "1")]
    assert counts(here / "results/mia/cells.csv") == [("2", "1")]
    words = "pictures: examples of the pool with an equal one elsewhere in it: 2, so "
    assert words in said
    page = (here / "results/mia/report.html").read_text(encoding="utf-8")
    assert f"<dt>Equal examples</dt><dd>{words}" in page


def test_runs_that_did_not_count_are_counted_when_they_are_evaluated(here: Path) -> None:
    shutil.copytree(OLD / "runs", here / "runs")
    assert COUNTS[0] not in (here / "runs/dense/synthetic/experiment_summary.json").read_text(encoding="utf-8")
    assert call(UNIFIED, ["--attacks", "loss", "--device", "cpu"]) == 0
    assert counts(here / "results/mia/cells.csv") == [("0", "0")] * 3
    assert "Equal examples" not in (here / "results/mia/report.html").read_text(encoding="utf-8")


def test_nothing_is_said_of_pictures_that_nobody_sees(here: Path) -> None:
    np.savez(here / "a.npz", **made_up())
    assert call(ONE_CELL, ["--signals", "a.npz", "--attacks", "loss"]) == 0
    assert counts(here / "results/cell/cells.csv") == [("", "")]
