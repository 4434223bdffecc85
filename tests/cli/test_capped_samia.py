"""--samia-examples through train.py and the mia scripts: the same subset everywhere, honest counts, equal figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artifacts.signals import load_signals
from attacks import network_training, networks
from data.splits import draw_probed
from tests.cli.scripts import ONE_CELL, TINY, TRAIN, call, read

POOL, CAP = 120, 100
SWEEP = [
    *TINY,
    *(
        "--epochs",
        "1",
        "--pool-size",
        POOL,
        "--num-shadows",
        "3",
        "--methods",
        "dense",
        "static",
        "--sparsities",
        "0.5",
    ),
    *("--attacks", "samia", "loss", "--attack-recipe", "fast", "--num-targets", "2"),
]
CELLS = ("dense_synthetic", "static_0.5_synthetic")


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """A SAMIA of five steps: how well it attacks is no matter here."""
    with pytest.MonkeyPatch.context() as patch:
        plans = network_training.Plans(network_training.Plan(5, 64, lr=1e-3, adamw=True, warmup=0.1))
        patch.setattr(networks, "samia", replace(networks.samia, plans=plans))
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capped")
    places = ["--runs-dir", folder / "runs", "--results-dir", folder / "mia", "--summary-dir", folder]
    assert call(TRAIN, [*SWEEP, *places, "--samia-examples", CAP]) == 0
    return folder


def scores(folder: Path, cell: str) -> dict[str, np.ndarray]:
    with np.load(folder / "scores" / f"{cell}.npz", allow_pickle=False) as stored:
        return dict(stored)


def test_every_model_is_asked_about_the_same_examples(swept: Path) -> None:
    caches = sorted((swept / "runs").rglob("signals.npz"))
    assert len(caches) == 8
    expected = draw_probed(POOL, CAP, seed=0)
    for path in caches:
        signals = load_signals(path)
        assert signals.sensitivity is not None
        np.testing.assert_array_equal(~np.isnan(signals.sensitivity[:, 0]), expected)


def test_tables_count_the_examples_that_samia_scored(swept: Path) -> None:
    tidy = pd.read_csv(swept / "mia/tidy.csv")
    probed = draw_probed(POOL, CAP, seed=0)
    for cell in CELLS:
        stored = scores(swept / "mia", cell)
        for target in (0, 1):
            inside = stored[f"target_{target:03d}/membership"]
            found = stored[f"target_{target:03d}/samia"]
            np.testing.assert_array_equal(~np.isnan(found), probed)
            rows = tidy[(tidy.experiment == cell) & (tidy.target == target)]
            for attack, counts in (("samia", inside[probed]), ("loss", inside)):
                part = rows[rows.attack == attack]
                assert set(part.n_members) == {counts.sum()}
                assert set(part.n_non_members) == {(~counts).sum()}
    compared = pd.read_csv(swept / "mia/comparisons.csv")
    assert set(compared[compared.attack == "samia"].n) == {CAP}
    assert set(compared[compared.attack == "loss"].n) == {POOL}
    about = json.loads((swept / "mia/evaluation.json").read_text())
    assert about["options"]["samia_examples"] == CAP
    assert about["notes"][CELLS[0]]["samia"].startswith("its only recipe: 5 steps of 64 pairs")


def test_a_cap_of_the_pool_or_more_is_no_cap(swept: Path) -> None:
    tables = []
    for number, cap in enumerate(([], ["--samia-examples", POOL])):
        results = swept / f"whole_{number}"
        flags = ["--run-dir", swept / "runs/dense/synthetic", "--results-dir", results]
        assert call(ONE_CELL, [*flags, "--attacks", "samia", "--attack-recipe", "fast", *cap]) == 0
        tables.append([row for row in read(results / "tidy.csv") if row["attack"] == "samia"])
        assert not np.isnan(scores(results, CELLS[0])["target_000/samia"]).any()
    assert tables[0] == tables[1]
    assert int(tables[0][0]["n_members"]) + int(tables[0][0]["n_non_members"]) == POOL


def test_one_cell_takes_the_flag(swept: Path, tmp_path: Path) -> None:
    run = swept / "runs" / "dense" / "synthetic"
    flags = ["--run-dir", run, "--results-dir", tmp_path, "--attacks", "samia", "loss", "--attack-recipe", "fast"]
    assert call(ONE_CELL, [*flags, "--samia-examples", CAP]) == 0
    rows = [row for row in read(tmp_path / "tidy.csv") if row["attack"] == "samia"]
    assert {int(row["n_members"]) + int(row["n_non_members"]) for row in rows} == {CAP}
