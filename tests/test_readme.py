"""The READMEs' commands parse, their links lead somewhere, and both name the same commands."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

from cli.parser import parse
from tests.repository import REPOSITORY

READMES = ("README.md", "README.ko.md")


def commands(readme: str) -> list[str]:
    """Every line of a code block that runs one of the scripts."""
    text = (REPOSITORY / readme).read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python ")]


@pytest.mark.parametrize("command", sorted({line for readme in READMES for line in commands(readme)}))
def test_commands_parse(command: str) -> None:
    script, *argv = shlex.split(command)[1:]
    if script == "-m":
        script, *argv = [argv[0].replace(".", "/") + ".py", *argv[1:]]
    path = REPOSITORY / script
    assert path.is_file(), script
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    if hasattr(module, "build_parser") and "benchmarks" not in script:
        parse(module.build_parser(), argv)


def test_both_languages_give_the_same_commands() -> None:
    assert commands("README.md") == commands("README.ko.md")
    assert len(commands("README.md")) >= 15


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_to_files(readme: str) -> None:
    text = (REPOSITORY / readme).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (REPOSITORY / target).exists(), target


@pytest.mark.parametrize("readme", READMES)
def test_every_declared_part_is_documented(readme: str) -> None:
    from attacks.registry import ATTACKS
    from data.registry import DATASETS
    from models.registry import ARCHITECTURES
    from pruning.registry import METHODS

    text = (REPOSITORY / readme).read_text(encoding="utf-8")
    for name in (*ATTACKS, *DATASETS, *ARCHITECTURES, *METHODS):
        assert f"`{name}`" in text, name
