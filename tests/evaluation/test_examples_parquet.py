"""examples.parquet holds the rows of examples.csv, where the package for it is there, and is never an older one's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from artifacts.atomic_writes import file_hash
from configs.attacks import AttackOptions
from configs.machine import Places
from evaluation.attack import Attacker
from evaluation.foreign_cells import read_cells
from evaluation.gather import gather
from evaluation.write import write_evidence
from reporting import page
from tests.repository import REPOSITORY

SIGNALS = REPOSITORY / "benchmarks" / "results" / "digits" / "signals" / "dense_digits.npz"
NAME = "examples.parquet"


def test_the_same_rows_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(page, "write_report", lambda folder: [])
    options = AttackOptions()
    attacker = Attacker(("lira_bayes",), options, Places(results_dir=str(tmp_path)), "cpu")
    evidence = gather(read_cells([SIGNALS], options), attacker)
    write_evidence(evidence, attacker, tmp_path, tmp_path / "wide.csv")
    rows, known = pd.read_parquet(tmp_path / NAME), pd.read_csv(tmp_path / "examples.csv")
    assert len(rows) == 1400
    pd.testing.assert_frame_equal(rows, known, check_dtype=False, rtol=1e-12)
    files = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["files"]
    assert files[NAME] == file_hash(tmp_path / NAME)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "pyarrow" else found(name))
    write_evidence(evidence, attacker, tmp_path, tmp_path / "wide.csv")
    assert not (tmp_path / NAME).exists()
