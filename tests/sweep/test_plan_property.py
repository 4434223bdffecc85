"""Any mix of run folders: each gets the right action, and nothing else is touched, byte for byte."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import run_experiment
from artifacts.locks import locked
from artifacts.run_dir import RunDir, inspect_run

MODELS = ("", "shadow_000", "shadow_001")
STATES = ("absent", "empty", "finished", "partial", "damaged", "stale", "unreadable", "foreign", "failed", "locked")
# What the command finds in the folder's way, what it trains, and what another process or a past failure keeps it from.
REFUSED_WITHOUT_OVERWRITE = ("stale", "unreadable", "foreign")
IN_THE_WAY = ("finished", "damaged", "failed")
BOOKKEEPING = (".lock", ".lock.holder", "run.log")
CELL = Path("runs/dense/synthetic")
FLAGS = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "1", "--pool-size", "20", "--batch-size", "10"),
    *("--augment", "none", "--precision", "float32", "--device", "cpu", "--jobs", "1", "--num-threads", "1"),
    *("--train-shadows", "--num-shadows", str(len(MODELS) - 1), "--quiet"),
]
Snapshot = dict[Path, tuple[bytes, int]]
numbers = itertools.count()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cell with all three models finished."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_experiment.main(FLAGS) == 0
    return folder / CELL


def lay(state: str, source: Path, folder: Path) -> None:
    """Make one run folder what `state` says, from the finished run in `source`."""
    if state == "absent":
        return
    folder.mkdir(parents=True, exist_ok=True)
    if state == "empty":
        return
    for path in source.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
    run = RunDir(folder)
    if state in ("partial", "failed", "locked"):
        for path in (run.summary, run.model, run.signals, run.history):
            path.unlink()
    if state == "failed":
        run.write_failure(run.read_config(), "the loss is not finite in epoch 1 (step 1)")
    elif state == "damaged":
        run.model.write_bytes(run.model.read_bytes()[:-1])
    elif state == "stale":
        run.config.write_text(dataclasses.replace(run.read_config(), epochs=7).to_json())
    elif state == "unreadable":
        run.config.write_text("{")
    elif state == "foreign":
        run.config.unlink()


def snapshot(folder: Path) -> Snapshot:
    """Bytes and time of change of every file, less what a process that only looks may write."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in BOOKKEEPING)
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def own(snap: Snapshot, folder: Path) -> Snapshot:
    """The files of one run: not those of runs below it."""
    return {path: seen for path, seen in snap.items() if path.parent == folder}


@contextlib.contextmanager
def held(folders: list[Path]) -> Iterator[None]:
    """Other processes have these folders."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(locked(folder))
        yield


def actions(states: tuple[str, ...], flag: str) -> dict[str, str] | None:
    """By model, what is to be done: keep, train, name (as failed) or leave (to its holder); None: refuse everything."""
    overwrite = flag == "--overwrite"
    if not overwrite and set(states) & set(REFUSED_WITHOUT_OVERWRITE):
        return None
    if not flag and set(states) & set(IN_THE_WAY):
        return None
    kept = {"finished": "keep", "failed": "name"} if not overwrite else {}
    return {
        model: "leave" if state == "locked" else kept.get(state, "train")
        for model, state in zip(MODELS, states, strict=True)
    }


def expected_code(wanted: dict[str, str] | None) -> int:
    """0 done, 2 refused, 3 some failed, 4 all that is left is held by others."""
    if wanted is None:
        return 2
    left = [action for action in wanted.values() if action in ("name", "leave")]
    return 0 if not left else 4 if set(left) == {"leave"} else 3


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.tuples(*[st.sampled_from(STATES)] * len(MODELS)),
    flag=st.sampled_from(["", "--skip-existing", "--overwrite"]),
)
def test_each_folder_gets_its_action_and_nothing_else_is_touched(
    states: tuple[str, ...], flag: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / str(next(numbers))
    cell = home / CELL
    home.mkdir()
    monkeypatch.chdir(home)
    for model, state in zip(MODELS, states, strict=True):
        lay(state, finished / model, cell / model)
    # what is none of the command's business: another cell, another seed's, and files of the user's
    shutil.copytree(finished, home / "runs/static/sparsity_0.5/synthetic")
    shutil.copytree(finished, cell / "seed_3")
    for place in (home, home / "runs", cell, cell / "shadow_007"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "notes.txt").write_text("mine")
    wanted = actions(states, flag)
    busy = [cell / model for model, state in zip(MODELS, states, strict=True) if state == "locked"]
    with held(busy):
        before = snapshot(home)
        code = run_experiment.main([*FLAGS, *([flag] if flag else [])])
        after = snapshot(home)
    assert code == expected_code(wanted)
    trained = [cell / model for model, action in (wanted or {}).items() if action == "train"]
    for path, seen in before.items():
        ours = path.parent in trained and path.name != "notes.txt"
        assert ours or after.get(path) == seen, f"{path.relative_to(home)} was touched"
    assert {path.parent for path in after.keys() - before.keys()} <= set(trained)
    for folder in trained:
        run = RunDir(folder)
        assert inspect_run(run, run.read_config()).kind == "finished"
        model = folder.name if folder != cell else ""
        assert run.model.read_bytes() == (finished / model / run.model.name).read_bytes()
