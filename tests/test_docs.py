"""The pages below docs/: they build as a site, their links lead somewhere, and both languages say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

LONGEST_README = 200  # lines: what a first reader needs; the rest is in the pages
KOREAN = sorted((REPOSITORY / "docs" / "ko").glob("*.md"))
PAIRS = [("README.md", "README.ko.md"), *((f"docs/{page.name}", f"docs/ko/{page.name}") for page in KOREAN)]
CELL_END = re.compile(r"(?<!\\)[|]")
WORDS = re.compile(r"\s+#.*| {2,}.*")  # what a block of code says beside its commands and paths
PAGES = [path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / "docs").rglob("*.md"))]


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def shape(page: str) -> list[str]:
    """A page as its sequence of headings, table rows by their number of cells, lines of code and pictures."""
    found, code = [], False
    for line in text(page).splitlines():
        if line.startswith("```"):
            code = not code
        elif code:
            found.append("code: " + WORDS.sub("", line))
        elif line.startswith("#"):
            found.append(f"heading of level {len(line) - len(line.lstrip('#'))}")
        elif line.startswith("|"):
            found.append(f"row of {len(CELL_END.findall(line)) - 1}")
        elif line.startswith(("![", "<img")):
            found.append("picture")
    return found


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_both_languages_have_the_same_headings_tables_and_commands(english: str, korean: str) -> None:
    assert shape(english) == shape(korean)


@pytest.mark.parametrize("page", PAIRS[0])
def test_the_readme_is_short(page: str) -> None:
    assert len(text(page).splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", text(page)):
        if "://" not in target:
            assert (REPOSITORY / page).parent.joinpath(target).exists(), target


def test_it_builds_as_a_site(tmp_path: Path) -> None:
    """A link or an anchor that leads nowhere, a page that the navigation misses and a module that is not found are
    errors; and no page loads anything from elsewhere."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert built >= {page.removeprefix("docs/").replace(".md", ".html") for page in PAGES}
    for page in built:
        loaded = re.findall(r'(?:src|<link[^>]*href)="(https?:[^"]*)"', (tmp_path / page).read_text(encoding="utf-8"))
        assert loaded == [], page
    assert "attacks.evaluate.evaluate" in (tmp_path / "api.html").read_text(encoding="utf-8")
