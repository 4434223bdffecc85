"""What the project says of itself to others: licence, citation, hooks, workflow."""

from __future__ import annotations

import re

import yaml

from configs.version import VERSION
from tests.repository import REPOSITORY


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_citation_and_licence_agree_with_the_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert str(citation["version"]) == VERSION
    assert citation["license"] == "MIT"
    assert text("LICENSE").startswith("MIT License")
    assert citation["authors"][0]["name"] in text("LICENSE")


def test_hooks_are_the_checks_of_make_test() -> None:
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    recipe = [line.strip().removesuffix(" .") for line in text("Makefile").splitlines()]
    assert len(hooks) == 3
    for hook in hooks:
        assert hook["entry"].replace(".venv/bin", "$(BIN)") in recipe


def test_the_workflow_calls_continuous_integration_on_oldest_and_newest_python() -> None:
    job = yaml.safe_load(text(".github/workflows/tests.yml"))["jobs"]["tests"]
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.13"]
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_issue_forms_ask_for_something() -> None:
    forms = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for form in forms:
        body = yaml.safe_load(form.read_text(encoding="utf-8"))["body"]
        assert any(part.get("validations", {}).get("required") for part in body)
        assert len({part["id"] for part in body}) == len(body)


def test_contributing_names_files_and_commands_that_there_are() -> None:
    page = text("CONTRIBUTING.md")
    for path in re.findall(r"\b(?:tests|benchmarks|docs|attacks|artifacts|sweep|training)/[\w/.]*", page):
        assert (REPOSITORY / path.rstrip(".")).exists(), path
    targets = re.findall(r"^([a-z-]+):", text("Makefile"), flags=re.MULTILINE)
    for target in re.findall(r"\bmake ([a-z-]+)$", page, flags=re.MULTILINE) + re.findall(r"`make ([a-z-]+)`", page):
        assert target in targets


def test_the_package_is_of_this_licence_and_its_extras_of_the_listed_floors() -> None:
    page = text("pyproject.toml")
    assert '\nlicense = "MIT"\n' in page
    assert VERSION not in page  # it stands in configs/version.py alone
    listed = text("requirements.txt") + text("requirements-ray.txt")
    extras = re.findall(r'^(?!requires)\w+ = \["([\w-]+>=[\d.]+)"\]$', page, flags=re.MULTILINE)
    assert len(extras) == 5
    assert all(re.search(rf"^(# )?{re.escape(extra)}\b", listed, flags=re.MULTILINE) for extra in extras)
