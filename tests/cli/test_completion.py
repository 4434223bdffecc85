"""Completion of flags in a shell: the protocol of argcomplete, spoken to each script in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import ARCHITECTURES
from pruning.registry import METHODS
from tests.cli.scripts import EXPERIMENT, SCRIPTS, TRAIN, path_of
from tests.repository import REPOSITORY

needed = pytest.mark.skipif(importlib.util.find_spec("argcomplete") is None, reason="argcomplete is not installed")


def complete(script: str, words: str, folder: Path) -> set[str]:
    """What a shell is offered after `words`."""
    line, answer = f"{script} {words}", folder / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    # -X importtime names every module that is imported
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not modules & {"torch", "pandas", "sklearn"}, "completion waits for a slow import"
    return {word.strip() for word in answer.read_text(encoding="utf-8").split("\n") if word.strip()}


@needed
def test_choices_are_offered(tmp_path: Path) -> None:
    assert complete(path_of(TRAIN), "--arch ", tmp_path) == set(ARCHITECTURES)
    assert complete(path_of(TRAIN), "--methods dense st", tmp_path) == {"static"}
    assert complete(path_of(EXPERIMENT), "--prune-method ", tmp_path) == set(METHODS) - {"dense"}


@needed
@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - {TRAIN, EXPERIMENT}))
def test_every_script_completes_its_flags(script: str, tmp_path: Path) -> None:
    assert "--data-dir" in complete(path_of(script), "--data", tmp_path)


@pytest.mark.parametrize("script", [*map(path_of, SCRIPTS), "mia/report.py"])
def test_every_script_carries_the_mark(script: str) -> None:
    with (REPOSITORY / script).open(encoding="utf-8") as stream:
        assert "PYTHON_ARGCOMPLETE_OK" in stream.read(1024)


def test_without_the_package_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "argcomplete.py").write_text("raise ImportError\n")
    environment = {**os.environ, "_ARGCOMPLETE": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(REPOSITORY / "train.py"), "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
