"""One sweep for all tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.scripts import SWEEP, TRAIN, call


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole sweep has been run once, by two processes."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(TRAIN, SWEEP) == 0
    return folder


@pytest.fixture
def home(swept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the current folder."""
    monkeypatch.chdir(swept)
    return swept
