"""The commands of the READMEs and their pages parse, links lead somewhere, both name the same, and tables hold what is
declared."""

from __future__ import annotations

import csv
import importlib
import re
import shlex

import pytest

from attacks.registry import Attack
from cli.parser import parse
from tests.repository import REPOSITORY

READMES = ("README.md", "README.ko.md")
KOREAN = "docs/ko"  # a page there has its English counterpart in docs/


def pages(readme: str) -> list[str]:
    """A README, and the pages that go on in its language."""
    names = sorted(path.name for path in (REPOSITORY / KOREAN).glob("*.md"))
    return [readme, *(f"{'docs' if readme == 'README.md' else KOREAN}/{name}" for name in names)]


def written(readme: str) -> str:
    """All that is written in its language."""
    return "\n".join((REPOSITORY / page).read_text(encoding="utf-8") for page in pages(readme))


def commands(readme: str) -> list[str]:
    """Every line of a code block that runs one of the scripts, of its pages as well."""
    blocks = re.findall(r"```\w*\n(.*?)```", written(readme), flags=re.DOTALL)
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
    for page in pages(readme):
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (REPOSITORY / page).parent.joinpath(target).exists(), (page, target)


def needs_of(attack: Attack) -> str:
    """As docs/attacks.md words it."""
    shadows = f"{attack.min_shadows} shadow model{'' if attack.min_shadows == 1 else 's'}" if attack.min_shadows else ""
    needs = ["logits" if attack.needs_logits else "phi", shadows]
    needs += ["noise queries"] if attack.needs_sensitivity else []
    needs += ["examples that no model holds"] if attack.needs_population else []
    return ", ".join(filter(None, needs))


def test_tables_hold_what_is_declared() -> None:
    """A row per method, network, data set and attack, in the words of its declaration."""
    from attacks.registry import ATTACKS
    from data.registry import DATASETS
    from models.registry import ARCHITECTURES
    from pruning.registry import METHODS

    text = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")
    summaries = {name: method.summary for name, method in METHODS.items()}
    summaries |= {name: entry.summary for name, entry in ARCHITECTURES.items()}
    summaries |= {name: entry.summary for name, entry in DATASETS.items()}
    for name, summary in summaries.items():
        assert f"\n| `{name}` | {summary} |\n" in text, name
    text = (REPOSITORY / "docs" / "attacks.md").read_text(encoding="utf-8")
    for name, attack in ATTACKS.items():
        row = f"| `{name}` | {needs_of(attack)} | {'yes' if attack.trains_network else 'no'} | {attack.suite} |"
        assert f"\n{row}\n" in text, row


@pytest.mark.parametrize("readme", READMES)
def test_every_declared_part_is_documented(readme: str) -> None:
    from attacks.registry import ATTACKS
    from data.registry import DATASETS
    from models.registry import ARCHITECTURES
    from pruning.registry import METHODS

    text = written(readme)
    for name in (*ATTACKS, *DATASETS, *ARCHITECTURES, *METHODS):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("readme", READMES)
def test_figures_of_who_is_at_risk_are_those_of_the_tables(readme: str) -> None:
    text = written(readme)
    zoo, digits = (_risks(study) for study in ("zoo", "digits"))
    dense, again = zoo["exposed", "dense_digits"], digits["exposed", "dense_digits_train_seed_1"]
    for name in ("share_found", "share_false_positives"):
        assert f"{100 * float(dense[name]):.0f} %" in text
    for row, sign in ((dense, ""), (again, "+")):
        low = f"{100 * float(row['difference_low']):{sign}.1f}"
        ends = f"[{low}, {100 * float(row['difference_high']):+.1f}]"
        assert ends in text
        assert f"{100 * float(row['difference']):+.1f}" in text
    exposed = {name: row for (kind, name), row in zoo.items() if kind == "exposed"}
    paired = [row for (kind, _), row in zoo.items() if kind == "paired"]
    assert (len(exposed), len(paired)) == (20, 19)
    assert [name for name, row in exposed.items() if float(row["p_holm"]) < 0.05] == []
    assert min(float(row["p_holm"]) for row in paired) > 0.05
    assert float(again["p_holm"]) < 0.05
    widths = [100 * (float(row["difference_high"]) - float(row["difference_low"])) for row in paired]
    assert re.search(rf"{min(widths):.0f}( to |~){max(widths):.0f}( points|%p)", text)


def _risks(study: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a recorded study about the most exposed tenth, by kind and experiment."""
    path = REPOSITORY / "benchmarks" / "results" / study / "risk.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return {(row["kind"], row["experiment"]): row for row in csv.DictReader(stream) if row["group"] == "top tenth"}
