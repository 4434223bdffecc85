"""`--export-signals`: a sweep's signals as parquet with a data card, and what `--signals` makes of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from artifacts.foreign_signals import read_foreign
from attacks.statistics import phi
from tests.cli.scripts import ONE_CELL, UNIFIED, call, read
from tests.cli.test_signals_files import made_up

ATTACKS = ["--attacks", "rmia", "loss", "entropy", "--device", "cpu", "--quiet"]
needed = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")


def refused(capfd: pytest.CaptureFixture[str], script: str, argv: list[str], words: str) -> None:
    capfd.readouterr()
    assert call(script, argv) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def signatures(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("signature ")]


@needed
def test_exported_signals_give_the_tables_and_signatures_of_the_sweep(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, ours, theirs = tmp_path / "published", tmp_path / "ours", tmp_path / "theirs"
    capfd.readouterr()
    argv = ["--runs-dir", str(home / "runs"), "--summary-dir", str(ours), "--results-dir", str(ours), *ATTACKS]
    assert call(UNIFIED, [*argv, "--export-signals", str(folder)]) == 0
    ours_printed = capfd.readouterr().out
    front, text = (folder / "README.md").read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
    configs = yaml.safe_load(front)["configs"]
    files = [folder / part["path"] for one in configs for part in one["data_files"]]
    assert sorted(files) == sorted((folder / "signals").iterdir())
    assert call(ONE_CELL, ["--signals", *map(str, files), "--results-dir", str(theirs), *ATTACKS]) == 0
    assert signatures(ours_printed) == signatures(capfd.readouterr().out)
    cells = {row["experiment"]: row for row in read(ours / "cells.csv")}
    assert set(cells) == {one["config_name"] for one in configs}
    for name, row in cells.items():
        assert f"    {name}: {row['signature']}" in text
    again = {row["experiment"]: row for row in read(theirs / "cells.csv")}
    for column in ("signature", "test_accuracy", "train_accuracy", "epochs", "weights_hash"):
        assert [row[column] for row in cells.values()] == [again[name][column] for name in cells]
    for table in ("tidy", "comparisons"):
        rows = [sorted(map(str, read(one / f"{table}.csv"))) for one in (ours, theirs)]
        assert rows[0] == rows[1]
        assert len(rows[0]) > 20


def test_without_the_package_nothing_is_computed(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    argv = ["--runs-dir", str(home / "runs"), "--results-dir", str(tmp_path / "out"), "--export-signals", "there"]
    refused(capfd, UNIFIED, argv, "argument --export-signals: it needs the package pyarrow (pip install pyarrow)")
    refused(capfd, UNIFIED, [*argv, "--screen"], "argument --export-signals")
    assert not (tmp_path / "out").exists()


@needed
def test_every_array_comes_back_and_a_spoilt_file_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow
    import pyarrow.parquet

    from artifacts.signals_parquet import write_parquet

    arrays: dict[str, Any] = made_up(models=5, examples=30)
    about = {"name": "mine", "method": "static", "sparsity": 0.5}
    arrays |= {"index": np.arange(30) * 2, "phi": np.stack([phi(one, arrays["labels"]) for one in arrays["logits"]])}
    arrays["phi"] = np.stack([arrays["phi"], arrays["phi"] + 1], axis=2)
    arrays["population_phi"] = np.random.default_rng(0).normal(size=(5, 7, 2))
    arrays["test_accuracy"] = np.linspace(0.1, 0.9, 5) / 3
    arrays["meta"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    np.savez(tmp_path / "cell.npz", **arrays)
    with (tmp_path / "cell.parquet").open("wb") as stream:
        write_parquet(stream, arrays)
    ours, theirs = (read_foreign(tmp_path / f"cell.{kind}") for kind in ("parquet", "npz"))
    assert ours.about == theirs.about
    for name in ("logits", "phi", "membership", "labels", "index", "population_phi"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    np.testing.assert_array_equal(ours.accuracies["test_accuracy"], theirs.accuracies["test_accuracy"])

    table = pyarrow.parquet.read_table(tmp_path / "cell.parquet")
    ragged = table["phi"].to_pylist()
    ragged[3] = ragged[3][:-1]
    place = table.column_names.index("phi")
    spoilt = {
        "phi must be lists of one length": table.set_column(place, "phi", pyarrow.array(ragged)),
        "phi must be lists, 2 deep": table.set_column(place, "phi", table["index"]),
        "rows without member are": table.take([36, *range(36)]),
        "its columns must be": table.drop_columns(["label"]),
        "its metadata 'signals' is not": table.replace_schema_metadata({"signals": "[]"}),
        "label must hold a number": table.set_column(1, "label", pyarrow.nulls(37, pyarrow.int64())),
    }
    for words, one in spoilt.items():
        pyarrow.parquet.write_table(one, tmp_path / "spoilt.parquet")
        refused(capfd, ONE_CELL, ["--signals", str(tmp_path / "spoilt.parquet")], words)
