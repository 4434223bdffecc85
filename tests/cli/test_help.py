"""`--help` of every script fits 80 columns, and a narrower terminal; a wide one changes nothing."""

from __future__ import annotations

import argparse
import importlib
import os

import pytest

from cli.help_layout import HelpText
from cli.parser import parse
from pruning.registry import METHODS
from tests.cli.scripts import SCRIPTS
from tests.repository import REPOSITORY
from train import build_parser

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


def test_every_example_parses_and_shows_each_method(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("train", capsys).replace(" \\\n     ", "")
    examples = [line.split()[2:] for line in text.splitlines() if line.startswith("  python train.py ")]
    shown = {method for argv in examples for method in parse(build_parser(), argv).methods}
    assert shown == set(METHODS)


def test_a_flag_that_methods_declare_each_in_their_way_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(help_of("train", capsys).split())
    assert "--densities {global,uniform,erk} random: " in words
    assert "(global, uniform, erk) (default: global); set, rigl: " in words
    assert "set, rigl: how many weights each layer keeps (uniform, erk) (default: erk)" in words
    assert "-1 is never (default: nine tenths of --epochs); rigl: epoch after which" in words


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
