"""A pruning method, a network, an attack and a data set are added by a file and a line of a registry each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.scripts import read
from tests.repository import REPOSITORY
from tests.test_layers import LEVEL

PARTS = Path(__file__).parents[1] / "fixtures" / "own_parts"
# By registry: the folder that the file goes to, the line that is added, and the line that it follows.
ADDED = {
    "pruning/registry.py": (
        "rounds.py",
        '    "rounds": "pruning.rounds:RoundsPruner",\n',
        '    "dpf": "pruning.dpf:DPFPruner",\n',
    ),
    "models/registry.py": (
        "plain.py",
        '    "plain": Architecture("models.plain:build", "two convolutions"),\n',
        "ARCHITECTURES = {\n",
    ),
    "attacks/registry.py": (
        "margin.py",
        '    "margin": Attack("margin", "baseline", "Margin", "attacks.margin:margin", 1, ("margin",)),\n',
        'LiRA, global threshold", "attacks.lira:lira_global", 0, ("lira_global",)\n    ),\n',
    ),
    "data/registry.py": (
        "stripes.py",
        '    "stripes": DatasetEntry("data.stripes:load", False, "stripes: 96 + 32, 1x8x8"),\n',
        "DATASETS = {\n",
    ),
}
SWEEP = [
    *("--methods", "dense", "static", "rounds", "--sparsities", "0.5", "--stages", "3", "--dataset", "stripes"),
    *("--arch", "plain", "--attacks", "margin", "loss", "--epochs", "12", "--batch-size", "16", "--num-shadows", "3"),
    *("--augment", "none", "--precision", "float32", "--device", "cpu", "--jobs", "2", "--num-threads", "1"),
]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the four parts in it."""
    project = tmp_path_factory.mktemp("project")
    for name in LEVEL:
        copy = shutil.copyfile if name.endswith(".py") else shutil.copytree
        copy(REPOSITORY / name, project / name)
    for registry, (file, line, after) in ADDED.items():
        shutil.copyfile(PARTS / file, (project / registry).parent / file)
        text = (project / registry).read_text(encoding="utf-8")
        assert text.count(after) == 1
        (project / registry).write_text(text.replace(after, after + line), encoding="utf-8")
    return project


def run(project: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *argv], cwd=project, env=clean, capture_output=True, text=True, check=False)


MAINS = """
import contextlib, io, json, sys
import train
done = []
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = train.main(argv)
        except SystemExit as stop:
            code = stop.code
    done.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""


def train_calls(project: Path, *argvs: list[str]) -> list[tuple[int, str, str]]:
    """Several commands of train.py in one process: the exit code, output and errors of each."""
    done = run(project, "-c", MAINS, json.dumps(argvs))
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


def test_flags_and_checks_follow(extended: Path) -> None:
    shown = " ".join(run(extended, "train.py", "--help").stdout.split())
    assert "--stages N rounds: steps to the full sparsity (default: 2)" in shown
    assert "--last-epoch N rounds: epoch of the last step (default: half of --epochs)" in shown
    refusals = (
        (["--stages", "0"], "argument --stages: '0' is not allowed; give a whole number of at least 1"),
        (["--last-epoch", "13"], "argument --last-epoch: 13 is past --epochs 12; give at most 12"),
        (["--layers", "8"], "--layers 8: plain has one depth; leave the flag out"),
        (["--methods", "dense"], "argument --stages: applies to rounds only; leave the flag out"),
    )
    found = train_calls(extended, *([*SWEEP, *refused] for refused, _ in refusals))
    for (code, _, error), (_, words) in zip(found, refusals, strict=True):
        assert code == 2
        assert words in error
    assert not (extended / "runs").exists()


def test_a_sweep_goes_through_worker_processes_to_the_report(extended: Path) -> None:
    done = run(extended, "train.py", *SWEEP, "--export")
    assert done.returncode == 0, done.stderr
    folder = extended / "runs/rounds/sparsity_0.5/stripes"
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (stored["stages"], stored["last_epoch"], stored["layers"], stored["prune_freq"]) == (3, 6, None, None)
    static = json.loads((extended / "runs/static/sparsity_0.5/stripes/config.json").read_text(encoding="utf-8"))
    assert "stages" not in static
    cells = {row["method"]: row for row in read(extended / "results/mia/cells.csv")}
    assert list(cells) == ["dense", "static", "rounds"]
    assert (cells["rounds"]["stages"], cells["rounds"]["last_epoch"]) == ("3", "6")
    assert (cells["static"]["stages"], cells["static"]["prune_epoch"], cells["static"]["layers"]) == ("", "6", "")
    summary = {(row["method"], row["attack"]) for row in read(extended / "results/mia/summary.csv")}
    assert {("rounds", "margin"), ("dense", "margin"), ("dense", "loss")} <= summary
    kinds = {(row["kind"], row["method_a"], row["method_b"]) for row in read(extended / "results/mia/comparisons.csv")}
    assert {("against_dense", "rounds", "dense"), ("same_sparsity", "rounds", "static")} <= kinds
    (trained,) = [row for row in read(extended / "training_results.csv") if row["method"] == "rounds"]
    assert (trained["stages"], trained["last_epoch"], trained["measured_sparsity"]) == ("3", "6", "0.5")
    report = (extended / "results/mia/report.html").read_text(encoding="utf-8")
    assert "Rounds 50 %" in report
    assert "Margin" in report
    card = (folder / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| stages | 3 |" in card
    assert "build(in_channels=1, num_classes=2)" in card


def test_the_tests_of_the_registries_expect_what_is_declared(extended: Path) -> None:
    shutil.copytree(REPOSITORY / "tests", extended / "tests", ignore=shutil.ignore_patterns("faults", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "README.ko.md"):
        shutil.copyfile(REPOSITORY / name, extended / name)
    files = ["models/test_architectures.py", "data/test_data_registry.py", "pruning/test_pruners.py"]
    files += ["attacks/test_attacks.py", "reporting/test_reporting_figures.py"]
    of_the_four = "(registry or margin or rounds or plain or stripes or look or colour) and not test_readme"
    argv = ["-vvv", "-n", "0", *(f"tests/{file}" for file in [*files, "test_readme.py"])]
    done = run(extended, "-m", "pytest", *argv, "-k", f"{of_the_four} or declared_part")
    assert done.returncode == 1, done.stdout
    ended = dict(re.findall(r"^(tests/\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, re.MULTILINE))
    assert all(any(f"[{name}" in test for test in ended) for name in ("margin", "rounds", "stripes")), done.stdout
    # the README's tables lack the four, and the test says so; all others pass
    failed = {test for test, how in ended.items() if how != "PASSED"}
    assert failed
    assert all(test.startswith("tests/test_readme.py::") for test in failed), done.stdout
    shutil.rmtree(extended / "tests")


def test_another_value_of_a_knob_is_another_experiment(extended: Path) -> None:
    (_, kept, _), (_, other, _) = train_calls(extended, [*SWEEP, "--dry-run"], [*SWEEP, "--stages", "2", "--dry-run"])
    assert "12 runs: 12 finished" in kept
    assert "12 runs: 8 finished, 4 stale" in other
    assert "stages: 3 -> 2" in other
