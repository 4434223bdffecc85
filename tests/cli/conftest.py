"""One sweep for all tests of the command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.scripts import SWEEP, TRAIN, call
from tests.conftest import no_drawing, short_training


@pytest.fixture(scope="module", autouse=True)
def light(request: pytest.FixtureRequest) -> Iterator[None]:
    """In this process attack networks train for some steps only, for no test here asks how well they do; and figures
    are made, but drawn only in modules that set DRAWN."""
    with pytest.MonkeyPatch.context() as patch:
        short_training(patch)
        if not getattr(request.module, "DRAWN", False):
            no_drawing(patch)
        yield


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole sweep has been run once, by two processes; tests in other processes have copies."""
    own = tmp_path_factory.getbasetemp()
    once = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "swept_once"
    with FileLock(f"{once}.lock"):
        if not (once / "finished").is_file():
            shutil.rmtree(once, ignore_errors=True)
            once.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                short_training(patch)
                no_drawing(patch)
                patch.chdir(once)
                assert call(TRAIN, SWEEP) == 0
            (once / "finished").touch()
    folder = own / "sweep"
    shutil.copytree(once, folder, ignore=shutil.ignore_patterns("finished"))
    return folder


@pytest.fixture
def home(swept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the current folder."""
    monkeypatch.chdir(swept)
    return swept
