"""`--signals` with tables of probabilities: a CSV gives what the same probabilities give as arrays, or says why not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from artifacts.foreign_signals import read_foreign
from attacks.statistics import phi
from tests.cli.scripts import ONE_CELL, call, read
from tests.cli.test_signals_files import made_up

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def probabilities(queries: int = 2) -> tuple[dict[str, Any], Any]:
    """The arrays of a cell without its outputs, and float64 probabilities [M, n, Q, C]."""
    arrays = made_up(models=7, examples=200)
    noise = np.random.default_rng(1).normal(scale=0.1, size=(queries, *arrays["logits"].shape))
    outputs = (arrays.pop("logits") + noise).transpose(1, 2, 0, 3)
    return arrays, softmax(outputs, axis=-1)


def table(arrays: dict[str, Any], p: Any, **about: object) -> pd.DataFrame:
    """The rows in an order of their own."""
    model, example, query = (axis.ravel() for axis in np.indices(p.shape[:3]))
    frame = pd.DataFrame({"model": model, "example": example * 3, "query": query, **about})
    frame["member"] = arrays["membership"][model, example].astype(int)
    frame["label"] = arrays["labels"][example]
    frame[[f"p{c}" for c in range(p.shape[3])]] = p.reshape(-1, p.shape[3])
    shuffled: pd.DataFrame = frame.sample(frac=1.0, random_state=0)
    return shuffled


def test_a_table_gives_what_arrays_give(here: Path) -> None:
    """The same to the last digit where all digits are written; with six of them, an AUC moves by less than 0.001."""
    arrays, p = probabilities()
    logits = np.log(p)
    confidence = phi(logits, arrays["labels"][None, :, None])
    np.savez(here / "a.npz", **arrays, logits=logits[:, :, 0], phi=confidence, index=3 * np.arange(200))
    frame = table(arrays, p)
    frame.to_csv(here / "b.csv", index=False)
    argv = ["--attacks", "confidence", "loss", "--num-targets", "1", "--quiet", "--results-dir", "out"]
    assert call(ONE_CELL, ["--signals", "a.npz", "b.csv", *argv]) == 0
    cells: dict[str, list[dict[str, str]]] = {}
    for row in read(here / "out/tidy.csv"):
        cells.setdefault(row.pop("experiment"), []).append(row)
    assert cells["a"] == cells["b"]
    assert len(cells["a"]) > 10
    inputs = json.loads((here / "out/evaluation.json").read_text(encoding="utf-8"))["inputs"]
    assert inputs["b"]["0"]["file"] == "b.csv"
    frame.to_csv(here / "c.csv", index=False, float_format="%.6f")
    exact, rounded = (read_foreign(here / file) for file in ("a.npz", "c.csv"))
    areas = [roc_auc_score(one.membership[0], one.phi[0, :, 0]) for one in (exact, rounded)]
    assert areas[0] == pytest.approx(areas[1], abs=1e-3)


def test_parquet_is_the_same_table(here: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    arrays, p = probabilities()
    table(arrays, p).to_csv(here / "cell.csv", index=False)
    table(arrays, p).to_parquet(here / "cell.parquet")
    ours, theirs = (read_foreign(here / f"cell.{kind}") for kind in ("parquet", "csv"))
    assert ours.logits is not None
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    np.testing.assert_array_equal(ours.phi, theirs.phi)
    assert (ours.data_hash(), ours.split_hash()) == (theirs.data_hash(), theirs.split_hash())


def test_parquet_without_its_package(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    (here / "cell.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(capfd, "cell.parquet", "parquet needs the package pyarrow (pip install pyarrow)")


def test_a_table_may_say_what_it_is(here: Path) -> None:
    arrays, p = probabilities(queries=1)
    rows = table(arrays, p, name="mine", method="static", sparsity=0.9, dataset="letters", arch="net")
    rows.drop(columns="query").to_csv(here / "cell.csv", index=False)
    about = read_foreign(here / "cell.csv").about
    said = {name: about.described[name] for name in ("method", "sparsity", "dataset", "arch")}
    assert about.name == "mine"
    assert said == {"method": "static", "sparsity": 0.9, "dataset": "letters", "arch": "net"}


def put(column: str, value: Any, row: int | None = None) -> Spoil:
    """A value in a row, or in all."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        values: list[Any] = list(frame[column]) if column in frame else [value] * len(frame)
        values = [value if row in (None, place) else one for place, one in enumerate(values)]
        changed: pd.DataFrame = frame.assign(**{column: pd.Series(values, dtype=object, index=frame.index)})
        return changed

    return spoil


WRONG: list[tuple[Spoil, list[str]]] = [
    (lambda frame: frame.drop(columns="member"), ["no column 'member'", "p0, p1"]),
    (lambda frame: frame.drop(columns="p0"), ["p0, p1, ...", "one for each class"]),
    (lambda frame: frame.rename(columns={"p3": "p4"}), ["p0, p1, ..."]),
    (put("colour", 1), ["column 'colour' is unknown"]),
    (put("model", 1.5, 3), ["model must hold whole numbers"]),
    (put("label", None, 3), ["label must hold whole numbers"]),
    (put("member", 2, 3), ["member must be 0 or 1"]),
    (put("p1", "high", 3), ["p0, p1, ... must hold a number"]),
    (put("p1", 1.5, 3), ["must be probabilities", "within 0.001 of 1"]),
    (lambda frame: frame.assign(model=frame["model"] + 1), ["model must run from 0 on", "model 0 is the target"]),
    (lambda frame: frame.iloc[1:], ["2799 rows; 7 models, 200 examples and 2 queries make 2800"]),
    (lambda frame: pd.concat([frame, frame.iloc[:1]]), ["1 rows repeat a model, example and query"]),
    (put("label", 9), ["label runs from 9 to 9", "p0 to p3"]),
    (lambda frame: frame.assign(label=frame["model"] % 2), ["label must be the same in every row of an example"]),
    (lambda frame: frame.assign(member=frame["query"]), ["member must be the same in every row of a model"]),
    (lambda frame: frame.assign(name=frame["model"].map(str)), ["name must be the same in every row"]),
]


def refused(capfd: Any, file: str, *words: str) -> None:
    capfd.readouterr()
    assert call(ONE_CELL, ["--signals", file, "--results-dir", "out"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert all(word in err for word in ("--signals", file, *words)), err
    assert not Path("out").exists()


@pytest.mark.parametrize(("spoil", "words"), WRONG)
def test_what_is_wrong_in_a_table_is_one_line(
    spoil: Spoil, words: list[str], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arrays, p = probabilities()
    spoil(table(arrays, p)).to_csv(here / "cell.csv", index=False)
    refused(capfd, "cell.csv", *words)


def test_files_that_are_no_tables(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "cell.csv").write_bytes(b"\xff\xfe\x00")
    refused(capfd, "cell.csv", "cannot be read as CSV")
    (here / "cell.csv").write_text("model,example,member,label,p0,p1\n")
    refused(capfd, "cell.csv", "whole numbers")
    refused(capfd, "absent.csv", "does not exist")
