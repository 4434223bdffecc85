"""The examples run as their first lines say, from another folder, and without torch where they promise it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.scripts import ONE_CELL, call, read
from tests.repository import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def run(words: list[str], folder: Path, **variables: str) -> str:
    around = {**os.environ, **variables}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=around, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_attacks_from_python_need_no_torch(tmp_path: Path) -> None:
    script = EXAMPLES / "attack_from_python.py"
    (tmp_path / "torch.py").write_text("raise ImportError('there is no torch here')\n")
    for flags in ([], ["--coins"]):
        lines = run([str(script), *flags], tmp_path, PYTHONPATH=str(tmp_path)).splitlines()
        assert ("are not scored" in lines[0]) == bool(flags)
        figures = {line[:24].strip(): float(line[24:29]) for line in lines[1 + len(flags) :]}
        assert list(figures) == ["LiRA", "Confidence", "Modified entropy", "LOSS"]
        assert min(figures.values()) > 0.6
        if not flags:  # with coins, fewer shadow models a side are left to remove the noise that examples share
            assert figures["LiRA"] > figures["LOSS"]


def test_a_torchvision_model_is_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(EXAMPLES / "signals_from_torchvision.py"), "--quick", "--models", "6", "--output", "mine.npz"]
    assert "wrote mine.npz" in run(words, tmp_path)
    with np.load(tmp_path / "mine.npz", allow_pickle=False) as stored:
        assert stored["logits"].shape == (6, 60, 10)
        assert np.isin(stored["membership"].sum(axis=0), [3]).all()
    monkeypatch.chdir(tmp_path)
    argv = ["--signals", "mine.npz", "--attacks", "lira", "rmia", "loss", "--results-dir", "out", "--quiet"]
    assert call(ONE_CELL, argv) == 0
    (row,) = read(tmp_path / "out" / "mia_results.csv")
    assert row["experiment"] == "mine"
    assert 0 <= float(row["lira_auc"]) <= 1
    assert float(row["rmia_auc"]) >= 0
    assert (tmp_path / "out" / "report.html").is_file()
