"""Shared by all tests: a small configuration, and the scripts as functions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Tests of exact resumes and equal bytes need one thread wherever they run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from matplotlib.figure import Figure

from attacks.network_training import Plan, Plans
from configs.experiment import ExperimentConfig
from pruning.registry import all_knobs
from sweep.plan import resolve

torch.set_num_threads(1)
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


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack networks train for 50 steps: for tests that do not ask how well they do."""
    short_training(monkeypatch)


def short_training(patch: pytest.MonkeyPatch) -> None:
    """`few_steps` for as long as the patch lasts."""
    choose = Plans.choose

    def chosen(plans: Plans, recipe: str, pairs: int) -> tuple[Plan, str]:
        plan, name = choose(plans, recipe, pairs)
        return dataclasses.replace(plan, steps=min(plan.steps, 50)), name

    patch.setattr(Plans, "choose", chosen)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written, but not rasterised, which takes most of a small evaluation's time."""

    def savefig(figure: Figure, stream: Any, **_: Any) -> None:
        stream.write(b"not drawn")

    monkeypatch.setattr(Figure, "savefig", savefig)
