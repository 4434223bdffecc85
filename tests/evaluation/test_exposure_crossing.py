"""Which trainings of two cells are crossed: only those of different train seeds, whichever these are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from attacks.exposure import STATISTICS
from attacks.metrics import example_weights
from evaluation.attack import Answers, CellScores
from evaluation.exposure_rows import exposure_rows

MODELS, EXAMPLES = 6, 60


def training(method: str, train_seed: int, membership: np.ndarray, rng: np.random.Generator) -> CellScores:
    """Stands for a scored cell as `exposure_rows` sees it; members have a larger phi."""
    phi = membership + rng.normal(size=membership.shape)
    names = {"experiment": f"{method}_{train_seed}", "method": method, "train_seed": train_seed}
    asked = SimpleNamespace(experiment=names["experiment"], cell=SimpleNamespace(names=names))
    return cast(CellScores, SimpleNamespace(asked=asked, answers=Answers(tuple(range(MODELS)), phi, membership)))


@pytest.mark.parametrize(
    ("seeds_a", "seeds_b", "crossed"),
    [
        ((0, 1), (0, 1), {(0, 1), (1, 0)}),
        ((0, 1), (0, 2), {(0, 2), (1, 0)}),
        ((0, 1), (2, 3), {(0, 3), (1, 2)}),
        ((0, 1), (1, 2), set()),
        ((0, 1, 5), (0, 1), {(0, 1), (1, 0)}),
    ],
)
def test_no_crossing_shares_a_train_seed(
    seeds_a: tuple[int, ...], seeds_b: tuple[int, ...], crossed: set[tuple[int, int]]
) -> None:
    rng = np.random.default_rng(0)
    membership = rng.random((MODELS, EXAMPLES)).argsort(axis=0) < MODELS // 2
    cells = [training("dense", seed, membership, rng) for seed in seeds_a]
    cells += [training("static", seed, membership, rng) for seed in seeds_b]
    rows = [row for row in exposure_rows(cells, example_weights(membership, 20, 0)) if row["kind"] == "crossed"]
    if not crossed:
        assert [row["reason"] for row in rows] == ["the trainings to be crossed share a train seed"]
        return
    assert {(row["train_seed_a"], row["train_seed_b"]) for row in rows} == crossed
    assert len(rows) == 2 * len(STATISTICS)
    assert all(
        (row["experiment_a"], row["experiment_b"]) == (f"dense_{a}", f"static_{b}")
        for row in rows
        for a, b in [(row["train_seed_a"], row["train_seed_b"])]
    )
