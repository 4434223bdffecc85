"""`--help` of every script fits 80 columns, and a narrower terminal; a wide one changes nothing."""

from __future__ import annotations

import argparse
import importlib
import os

import pytest

from cli.help_layout import HelpText
from tests.cli.scripts import SCRIPTS
from tests.repository import REPOSITORY

WITH_FLAGS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("benchmarks", "examples")
    for path in (REPOSITORY / folder).glob("*.py")
    if "ArgumentParser" in path.read_text(encoding="utf-8")
)


def help_of(module: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main(["--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def no_terminal(*_: object) -> None:
    raise OSError


def widest(text: str) -> int:
    assert len(text.splitlines()) > 8
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("module", [*SCRIPTS, "mia.report", *WITH_FLAGS])
def test_80_columns_are_enough(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(module, capsys)
    assert widest(text) <= 80
    if not module.startswith("examples"):  # they import nothing of this project
        monkeypatch.setenv("COLUMNS", "200")
        assert help_of(module, capsys) == text
        monkeypatch.delenv("COLUMNS")
        monkeypatch.setattr(os, "get_terminal_size", no_terminal)
        assert help_of(module, capsys) == text


@pytest.mark.parametrize("module", [*SCRIPTS, "mia.report"])
def test_narrow_terminals_are_served_too(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert widest(help_of(module, capsys)) <= 60


def test_paragraphs_are_filled_and_long_commands_go_on_after_a_backslash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    text = "Words of one line\nand of the next one make a paragraph.\n\n"
    text += "    python a.py --runs-dir somewhere --quiet   # what it is good for\n    python b.py"
    parser = argparse.ArgumentParser("x", description=text, formatter_class=HelpText, add_help=False, usage="x")
    assert parser.format_help().splitlines()[2:] == [
        "Words of one line and of the next one",
        "make a paragraph.",
        "",
        "    # what it is good for",
        "    python a.py --runs-dir somewhere \\",
        "        --quiet",
        "    python b.py",
    ]
