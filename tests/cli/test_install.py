"""The project as an installed package: its wheel, in an environment of its own, used from a folder elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from pruning_mia.__main__ import COMMANDS
from tests.cli.scripts import SCRIPTS, TINY
from tests.repository import REPOSITORY
from tests.test_layers import LEVEL

NEEDED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements.txt")
PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
IGNORED = shutil.ignore_patterns("__pycache__")


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


def pip(*words: object, cwd: Path) -> None:
    done = run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel; the packages it needs are those of the tests."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    folder = tmp_path_factory.mktemp("install")
    source, home = folder / "source", folder / "environment"
    source.mkdir()
    for name in [*LEVEL, *NEEDED]:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=IGNORED)
        else:
            shutil.copyfile(path, source / name)
    pip("wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    venv.create(home, with_pip=False)
    (home / PACKAGES / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (wheel,) = folder.glob("*.whl")
    pip("--python", home / "bin/python", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    return home


def test_one_name_is_installed_with_every_file_of_every_package(installed: Path) -> None:
    there = {path.name for path in (installed / PACKAGES).iterdir()} - {"of_the_tests.pth"}
    (about,) = [name for name in there if name.endswith(".dist-info")]
    assert there == {"pruning_mia", about}
    package = installed / PACKAGES / "pruning_mia"
    found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    sources = {
        path for name in LEVEL for path in [REPOSITORY / name, *(REPOSITORY / name).rglob("*")] if path.is_file()
    }
    expected = {path.relative_to(REPOSITORY).as_posix().removeprefix("pruning_mia/") for path in sources}
    compiled = "__pycache__"
    assert {name for name in found if compiled not in name} == {name for name in expected if compiled not in name}
    assert "py.typed" in found


def test_every_script_is_a_command_with_its_flags(installed: Path, tmp_path: Path) -> None:
    # the older name of a script is no command
    assert set(COMMANDS.values()) == {*SCRIPTS, "mia.report"} - {"mia.mia_classic"}
    shown = run(installed / "bin/pruning-mia", "--help", cwd=tmp_path).stdout
    assert all(f"    {name}" in shown for name in COMMANDS)
    assert max(map(len, shown.splitlines())) <= 80
    door = run(installed / "bin/pruning-mia", "attack", "--help", cwd=tmp_path).stdout
    script = run(sys.executable, REPOSITORY / "mia/unified_mia_evaluation.py", "--help", cwd=tmp_path).stdout
    assert "--fail-above" in script
    assert door == re.sub(r"(python mia/)?unified_mia_evaluation\.py", "pruning-mia attack", script)


def test_a_wrong_command_is_one_line(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin/pruning-mia", "trian", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("pruning-mia: error: argument COMMAND: 'trian' is unknown")
    assert done.stderr.endswith("did you mean train?\n")
    assert done.stderr.count("\n") == 1


def test_commands_and_their_flags_complete(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    for line, expected in (
        ("pruning-mia att", {"attack", "attack-cell"}),
        ("pruning-mia train --methods st", {"static"}),
    ):
        answer = tmp_path / "answer"
        asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
        run(installed / "bin/pruning-mia", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)), **asked)
        assert {word.strip() for word in answer.read_text(encoding="utf-8").split("\n")} == expected


def test_a_sweep_and_its_report_in_a_folder_with_modules_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    """Worker processes, too, import the project's own `models` and `data`."""
    (tmp_path / "models").mkdir()
    for name in ("models/__init__.py", "data.py"):
        (tmp_path / name).write_text("raise SystemExit('not of the project')\n", encoding="utf-8")
    flags = [*TINY, "--epochs", "1", "--num-threads", "1", "--num-shadows", "1", "--methods", "dense"]
    done = run(installed / "bin/pruning-mia", "train", *flags, "--attacks", "loss", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run 2/2 runs/dense/synthetic/shadow_000 finished" in done.stderr
    page = tmp_path / "results/mia/report.html"
    page.unlink()
    done = run(installed / "bin/python", "-m", "pruning_mia", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert page.is_file()


LIBRARY = """
import sys
before = list(sys.path)
import pruning_mia
import numpy as np
from pruning_mia.attacks.evaluate import evaluate
from pruning_mia.attacks.models import Models
from pruning_mia.attacks.statistics import phi
rng = np.random.default_rng(0)
membership = rng.random((9, 80)).argsort(axis=0) < 4
labels = rng.integers(3, size=80)
logits = rng.normal(size=(9, 80, 3)) + 3 * membership[:, :, None] * np.eye(3)[labels]
models = Models(logits, phi(logits, labels)[:, :, None], membership, labels, seed=0)
rows = evaluate(models.leave_out(0), membership[0], attacks=["lira_bayes", "confidence"])
assert min(row["value"] for row in rows if row["metric"] == "auc") > 0.8
assert sys.path == before and "attacks" not in sys.modules
"""
TYPED = "from pruning_mia.attacks.streams import stream; stream('no number', 1)"


def test_the_attacks_are_a_typed_library(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin/python", "-c", LIBRARY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = run(installed / "bin/python", "-m", "mypy", "--cache-dir", os.devnull, "-c", TYPED, cwd=tmp_path)
    assert 'has incompatible type "str"; expected "int"' in checked.stdout, checked.stdout
