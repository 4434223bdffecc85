"""Shared by all tests: a small configuration, and the scripts as functions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests of exact resumes and equal bytes need one thread wherever they run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from matplotlib.figure import Figure

from attacks.network_training import Plan, Plans
from configs.experiment import ExperimentConfig
from pruning.registry import all_knobs
from sweep import cost
from sweep.plan import resolve

torch.set_num_threads(1)


def one_thread(nthreads: int) -> None:
    """A command asks for a thread per core, and torch keeps them for all tests that follow. Of several test processes,
    each would then wait for the others in every operation of a tiny network, and keep both cores busy with it."""


torch.set_num_threads = one_thread
# Files of few and long tests, which wait more than they compute: begun first, none of them is what the others wait for.
LONGEST = ("sweep/test_ray_engine.py", "sweep/test_engines_agree.py", "faults/test_share.py", "cli/test_evidence.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in their order."""
    names = [str(Path(__file__).parent / name) for name in LONGEST]
    items.sort(key=lambda item: names.index(str(item.path)) if str(item.path) in names else len(names))


@pytest.fixture
def make_config() -> Callable[..., ExperimentConfig]:
    """A resolved configuration of a tiny run on the synthetic data; keyword arguments override."""

    def make(**fields: object) -> ExperimentConfig:
        base = ExperimentConfig(
            dataset="synthetic",
            layers=8,
            epochs=4,
            batch_size=32,
            augment="none",
            precision="float32",
            pool_size=120,
            num_shadows=3,
            lr=0.05,
        )
        knobs = {name: fields.pop(name) for name in all_knobs() if name in fields}
        return resolve(dataclasses.replace(base, **fields), "datasets", knobs)  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def untimed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan is timed before it is trained, which takes seconds, but in the tests of that."""
    if request.path.name != "test_cost.py":
        monkeypatch.setattr(cost, "timed_rates", lambda *_: {})


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack networks train for 5 steps: for tests that do not ask how well they do."""
    short_training(monkeypatch)


def short_training(patch: pytest.MonkeyPatch) -> None:
    """`few_steps` for as long as the patch lasts."""
    choose = Plans.choose

    def chosen(plans: Plans, recipe: str, pairs: int) -> tuple[Plan, str]:
        plan, name = choose(plans, recipe, pairs)
        return dataclasses.replace(plan, steps=min(plan.steps, 5)), name

    patch.setattr(Plans, "choose", chosen)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written, but not rasterised, which takes most of a small evaluation's time."""
    no_drawing(monkeypatch)


def no_drawing(patch: pytest.MonkeyPatch) -> None:
    """`undrawn` for as long as the patch lasts."""
    patch.setattr(Figure, "savefig", lambda figure, stream, **_: stream.write(b"not drawn"))
    patch.setattr("reporting.style.for_page", lambda png: png)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even made: for tests of a page's words and tables that write it several times."""
    monkeypatch.setattr("reporting.figures.save_figure", lambda *_: b"not drawn")
