"""An evaluation says where it stands: which phase, cell, target and attack, on standard error alone."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.scripts import ONE_CELL, call
from tests.cli.test_signals_files import made_up

ARGV = ["--signals", "loud.npz", "quiet.npz", "--attacks", "lira", "loss", "--num-targets", "2", "--results-dir", "out"]


@pytest.fixture(autouse=True)
def two_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("loud.npz", **made_up())
    np.savez("quiet.npz", **made_up(gap=0.5, seed=1))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_for_each_phase_cell_and_attack_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(ONE_CELL, ARGV) == 0
    out, err = capfd.readouterr()
    lines = err.splitlines()
    wanted = [
        *("reading 1/2 loud", "reading 2/2 quiet"),
        *("attacking 1/2 loud", "attacking 1/2 loud: target 1 of 2, loss", "attacking 1/2 loud: target 1 of 2, lira"),
        *("attacking 1/2 loud: target 2 of 2, its metrics", "attacking 2/2 quiet"),
        *("measuring 1/", "comparing exposure 1/1 ", "drawing the report 1/1 "),
    ]
    places = [next(i for i, line in enumerate(lines) if line.startswith(text)) for text in wanted]
    assert places == sorted(places)
    assert not re.search("reading|attacking|measuring|drawing", out)


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call(ONE_CELL, [*ARGV, "--quiet"]) == 0
    assert terminal.getvalue() == ""


def test_a_bar_in_a_terminal_that_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call(ONE_CELL, ARGV) == 0
    drawn = terminal.getvalue()
    for text in ("attacking 2/2 quiet", "target 2 of 2, loss", "model 2 of 7", "measuring 1/", "drawing"):
        assert text in drawn
    assert not re.search(r"(attacking|measuring|drawing)[^\r]*\n", drawn)
    assert drawn.endswith("\r")
