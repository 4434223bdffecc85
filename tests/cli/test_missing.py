"""A file or folder that is not there is named at once: in a fresh interpreter, and torch is never imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.scripts import ADVANCED, CHECK, EXPERIMENT, ONE_CELL, TRAIN, UNIFIED, WEMEM
from tests.repository import REPOSITORY

REPORT = "mia.report"
NO_RUNS = "argument --runs-dir: nowhere does not exist; train something first (python train.py)"
CASES = [
    (UNIFIED, "--runs-dir nowhere", NO_RUNS),
    (ADVANCED, "--runs-dir nowhere", NO_RUNS),
    (WEMEM, "--runs-dir empty", "argument --runs-dir: empty holds no run; train something first (python train.py)"),
    (CHECK, "--runs-dir nowhere", NO_RUNS),
    (TRAIN, "--status --runs-dir nowhere", NO_RUNS),
    (ONE_CELL, "--run-dir nowhere", "argument --run-dir: nowhere does not exist; train something first"),
    (ONE_CELL, "--signals no.npz", "argument --signals: no.npz does not exist"),
    (REPORT, "--results-dir nowhere", "argument --results-dir: nowhere does not exist; an evaluation writes it"),
    (TRAIN, "--config no.json", "argument --config: no.json cannot be read (No such file or directory)"),
    (UNIFIED, "--config no.yaml", "argument --config: no.yaml cannot be read (No such file or directory)"),
    (TRAIN, "--dataset digits --pretrained no.pth", "argument --pretrained: no.pth does not exist"),
    (EXPERIMENT, "--dataset digits --pretrained no.pth", "argument --pretrained: no.pth does not exist"),
    (TRAIN, "--dataset imagefolder --data-dir nowhere", "--data-dir nowhere: no such folder; it needs train/"),
    (EXPERIMENT, "--dataset imagefolder --data-dir empty", "--data-dir empty: no folder train/; it needs train/"),
]
CODE = """
import importlib, sys
code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
print(code, *sorted({"torch", "pandas", "scipy", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("script", "flags", "line"), CASES, ids=[f"{script} {flags}" for script, flags, _ in CASES])
def test_what_is_missing_is_said_without_torch(script: str, flags: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE, script, *flags.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "2\n"  # the exit code, and no slow module beside it
    (said,) = done.stderr.splitlines()
    assert line in said
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
