"""The layer rule: imports only go down, packages' __init__ files stay empty, and nothing is called utils."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from repository import REPOSITORY

LAYERS = {
    "configs": 0,
    "data": 1,
    "models": 1,
    "pruning": 1,
    "artifacts": 1,
    "training": 2,
    "mia": 2,
    "sweep": 3,
    "reporting": 3,
    "evaluation": 4,
    "cli": 5,
}
ENTRY = 5
ENTRY_FILES = {
    *("train.py", "run_experiment.py", "test_mia.py", "mia/mia_advanced.py", "mia/mia_wemem.py"),
    *("mia/run_mia_evaluation.py", "mia/unified_mia_evaluation.py", "reporting/report.py"),
}
NEVER_MEET = {("training", "mia"), ("mia", "training")}


def sources() -> Iterator[tuple[str, int, str]]:
    """Every source file with its layer and package."""
    for package, layer in LAYERS.items():
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            yield name, ENTRY if name in ENTRY_FILES else layer, package
    for name in sorted(ENTRY_FILES):
        if "/" not in name:
            yield name, ENTRY, ""


def imported(path: Path) -> set[str]:
    """Top-level packages of this project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found & set(LAYERS)


def test_imports_only_go_down() -> None:
    wrong = []
    for name, layer, package in sources():
        for other in imported(REPOSITORY / name) - {package}:
            sideways = LAYERS[other] == layer and layer in (2, 3)
            if LAYERS[other] > layer or (sideways and layer == 2) or (layer < 4 and (package, other) in NEVER_MEET):
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_the_rule_covers_every_package() -> None:
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert packages == set(LAYERS)


def test_init_files_hold_a_docstring_at_most() -> None:
    for path in REPOSITORY.glob("*/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) <= 1, path
        assert not body or (isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)), path


def test_no_utils_and_no_unsafe_loading() -> None:
    for name, _, _ in sources():
        assert not name.endswith(("utils.py", "util.py"))
        for node in ast.walk(ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            keywords = {word.arg: word.value for word in node.keywords}
            for call, word, wanted in (("torch", "weights_only", True), ("np", "allow_pickle", False)):
                if (owner, node.func.attr) == (call, "load"):
                    value = keywords.get(word)
                    assert isinstance(value, ast.Constant), name
                    assert value.value is wanted, name
