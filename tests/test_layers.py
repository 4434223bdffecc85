"""The layer rule: imports only go down, packages' __init__ files stay empty, and nothing is called utils."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.repository import REPOSITORY

LAYERS = (
    ("attacks", "configs"),
    ("models", "pruning"),
    ("artifacts",),
    ("data",),
    ("reporting", "training"),
    ("sweep",),
    ("evaluation",),
    ("cli",),
    ("mia", "train.py", "run_experiment.py", "test_mia.py"),
    ("pruning_mia",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
PACKAGES = [name for name in LEVEL if not name.endswith(".py")]
NEVER_MEET = ("training", "attacks")


def sources() -> Iterator[tuple[str, str]]:
    """Every source file with the package, or the script, that it belongs to."""
    for name in LEVEL:
        for path in [REPOSITORY / name] if name.endswith(".py") else sorted((REPOSITORY / name).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), name


def imported(path: Path) -> set[str]:
    """Top-level packages of this project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.name if node.level else (node.module or "").split(".")[0]
            # attacks/ is also imported under other names: copied out, or as `pruning_mia.attacks`
            ours = package == path.parent.name == "attacks"
            assert node.level == ours, f"{path}: relative import" if node.level else f"{path}: imports attacks by name"
            found.add(package)
    return found & set(LEVEL)


def test_imports_only_go_down() -> None:
    """A package imports only those of lower levels: not one above, and none beside it."""
    wrong = [
        f"{name} imports {other}"
        for name, package in sources()
        for other in imported(REPOSITORY / name) - {package}
        if LEVEL[other] >= LEVEL[package] or (package, other) == NEVER_MEET
    ]
    assert wrong == []


def test_attacks_import_nothing_of_ours_and_no_torch_at_once() -> None:
    for path in (REPOSITORY / "attacks").glob("*.py"):
        assert imported(path) <= {"attacks"}, path
    code = "import sys, pkgutil, attacks, importlib\n"
    code += "for one in pkgutil.iter_modules(attacks.__path__): importlib.import_module('attacks.' + one.name)\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "False"


def test_attacks_work_outside_the_repository(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "attacks", tmp_path / "attacks", ignore=shutil.ignore_patterns("__pycache__"))
    code = """if True:
        import numpy as np
        from attacks.evaluate import evaluate
        from attacks.models import Models
        from attacks.statistics import phi
        rng = np.random.default_rng(0)
        membership = rng.random((9, 80)).argsort(axis=0) < 4
        labels = rng.integers(3, size=80)
        logits = rng.normal(size=(9, 80, 3)) + 3 * membership[:, :, None] * np.eye(3)[labels]
        models = Models(logits, phi(logits, labels)[:, :, None], membership, labels, seed=0)
        rows = evaluate(models.leave_out(0), membership[0], attacks=["lira", "confidence", "loss"])
        print({row["attack"]: round(row["value"], 3) for row in rows if row["metric"] == "auc"})
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = partial(subprocess.run, capture_output=True, text=True, check=True, cwd=tmp_path, env=clean)
    found = ast.literal_eval(run([sys.executable, "-c", code]).stdout)
    assert found["lira"] > 0.8
    assert found["loss"] > 0.8


def test_no_two_files_import_each_other() -> None:
    """Circles between files, also through imports for type checkers alone."""
    edges = {name: set(modules(REPOSITORY / name)) for name, _ in sources()}
    while edges:
        ends = [name for name, others in edges.items() if not others & edges.keys() - {name}]
        assert ends, f"circle among {sorted(edges)}"
        for name in ends:
            del edges[name]


def modules(path: Path) -> Iterator[str]:
    """The files of this project that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [path.parent.name if node.level else "", node.module]))
            for dotted in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                name = dotted.replace(".", "/") + ".py"
                if (REPOSITORY / name).is_file():
                    yield name


def test_the_rule_covers_every_package() -> None:
    # these are packages only so that their files have names of their own, whatever is installed (Opacus brings both
    # benchmarks and examples): they are in no layer, for nothing imports them
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks", "examples"} == set(PACKAGES)


def test_init_files_hold_a_docstring_at_most() -> None:
    for path in REPOSITORY.glob("*/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) <= 1, path
        assert not body or (isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)), path


def test_no_utils_and_no_unsafe_loading() -> None:
    for name, _ in sources():
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
