"""Replicates in plans, folders and names, and what --pretrained starts them from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir, experiment_name
from artifacts.signals import QuerySettings
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places, Tracking
from configs.sweep import SweepOptions
from evaluation.cells import find_cell, find_cells
from sweep.plan import plan_cells, plan_runs, with_start
from sweep.planned import remember, remembered
from sweep.worker import Job

Make = Callable[..., ExperimentConfig]
GRID = {"methods": ("dense", "dpf"), "sparsities": (0.8, 0.95)}


def plan(template: ExperimentConfig, **options: object) -> list[tuple[str, float, int]]:
    """Method, sparsity and train seed of every cell."""
    sweep = SweepOptions(**GRID, **options)  # type: ignore[arg-type]
    return [(cell.method, cell.sparsity, cell.train_seed) for cell in plan_cells(template, sweep, "datasets")]


def laid(config: ExperimentConfig, folder: Path) -> RunDir:
    """What is there of a finished run for who only starts from its weights."""
    run = RunDir(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    run.config.write_text(config.to_json(), encoding="utf-8")
    run.model.write_text(str(folder), encoding="utf-8")
    run.history.write_text("epoch\n", encoding="utf-8")
    run.write_summary({})
    return run


def test_a_cells_replicates_follow_it(make_config: Make) -> None:
    template = make_config()
    cells = [("dense", 0.0), ("dpf", 0.8), ("dpf", 0.95)]
    assert plan(template) == [(*cell, 0) for cell in cells]
    assert plan(template, replicates=2) == [(*cell, seed) for cell in cells for seed in (0, 1, 2)]
    later = dataclasses.replace(template, train_seed=4)
    assert plan(later, replicates=1) == [(*cell, seed) for cell in cells for seed in (4, 5)]


@pytest.mark.parametrize(
    ("names", "again"),
    [
        (("dense",), [("dense", 0.0)]),
        (("dpf",), [("dpf", 0.8), ("dpf", 0.95)]),
        (("dpf_0.95", "dense"), [("dense", 0.0), ("dpf", 0.95)]),
        (("dpf_0.95", "dpf"), [("dpf", 0.8), ("dpf", 0.95)]),
    ],
)
def test_named_cells_alone_are_trained_again(
    names: tuple[str, ...], again: list[tuple[str, float]], make_config: Make
) -> None:
    found = plan(make_config(), replicates=1, replicate_cells=names)
    assert [(method, sparsity) for method, sparsity, seed in found if seed == 1] == again
    assert len(found) == 3 + len(again)


def test_a_cell_that_is_not_planned_is_refused_with_those_that_are(make_config: Make) -> None:
    with pytest.raises(
        UsageError, match=r"--replicate-cells: 'dpf_0.9' .* dense, dpf, dpf_0.8, dpf_0.95; did you mean"
    ):
        plan(make_config(), replicates=1, replicate_cells=("dpf_0.9",))
    with pytest.raises(UsageError, match=r"--replicate-cells: dense is given twice"):
        SweepOptions(replicates=1, replicate_cells=("dense", "dense"))
    with pytest.raises(UsageError, match="--replicate-cells: needs --replicates"):
        SweepOptions(replicate_cells=("dense",))
    with pytest.raises(UsageError, match="--train-seed"):
        plan(dataclasses.replace(make_config(), train_seed=2**31 - 1), replicates=1)


@pytest.mark.parametrize(
    ("fields", "name", "folder", "experiment"),
    [
        ({}, None, "dense/synthetic/train_seed_1", "dense_synthetic_train_seed_1"),
        ({"seed": 3}, None, "dense/synthetic/seed_3/train_seed_1", "dense_synthetic_seed_3_train_seed_1"),
        (
            {"method": "dpf", "sparsity": 0.5, "split": "disjoint"},
            None,
            "dpf/sparsity_0.5/synthetic/disjoint/train_seed_1",
            "dpf_0.5_synthetic_disjoint_train_seed_1",
        ),
        ({}, "mine", "mine/train_seed_1", "mine_train_seed_1"),
        ({}, "train_seed_1", "train_seed_1/train_seed_1", "train_seed_1_train_seed_1"),
    ],
)
def test_folder_and_name(
    fields: dict[str, object], name: str | None, folder: str, experiment: str, make_config: Make
) -> None:
    target = make_config(train_seed=1, **fields)
    run = RunDir.of(target, Path("runs"), name)
    assert run.path == Path("runs") / folder
    assert experiment_name(target, run) == experiment
    shadow = dataclasses.replace(target, model_index=2)
    run = RunDir.of(shadow, Path("runs"), name)
    assert run.path == Path("runs") / folder / "shadow_001"
    assert experiment_name(shadow, run) == experiment


def test_a_first_training_may_be_called_like_a_replicate(make_config: Make) -> None:
    config = make_config()
    assert experiment_name(config, RunDir.of(config, Path("runs"), "train_seed_1")) == "train_seed_1"


def test_planned_replicates_that_never_started_are_cells(make_config: Make, tmp_path: Path) -> None:
    first, again = make_config(), make_config(train_seed=1)
    laid(first, RunDir.of(first, tmp_path).path)
    remember([first, again], tmp_path)
    assert remembered(tmp_path) == [first, again]
    cells = find_cells(tmp_path)
    assert [(cell.experiment, cell.started) for cell in cells] == [
        ("dense_synthetic", True),
        ("dense_synthetic_train_seed_1", False),
    ]
    assert "not started" in cells[1].reason


def test_cells_found_in_order_and_one_by_one(make_config: Make, tmp_path: Path) -> None:
    for fields in ({"method": "static", "sparsity": 0.5}, {"train_seed": 10}, {"train_seed": 2}, {}, {"seed": 1}):
        config = make_config(**fields)
        for index in (0, 1):
            model = dataclasses.replace(config, model_index=index)
            laid(model, RunDir.of(model, tmp_path).path)
    assert [(cell.experiment, len(cell.models)) for cell in find_cells(tmp_path)] == [
        ("dense_synthetic", 2),
        ("dense_synthetic_train_seed_2", 2),
        ("dense_synthetic_train_seed_10", 2),
        ("static_0.5_synthetic", 2),
        ("dense_synthetic_seed_1", 2),
    ]
    dense = tmp_path / "dense" / "synthetic"
    for folder, train_seed in ((dense, 0), (dense / "train_seed_2", 2)):
        cell = find_cell(folder)
        assert (cell.folder, cell.config.train_seed, sorted(cell.models)) == (folder, train_seed, [0, 1])


def test_names_are_unique_whatever_folders_are_called(make_config: Make, tmp_path: Path) -> None:
    first, again = make_config(), make_config(train_seed=1)
    laid(first, tmp_path / "dense_synthetic_train_seed_1")
    laid(again, RunDir.of(again, tmp_path).path)
    longer = make_config(epochs=9)
    laid(longer, tmp_path / "dense" / "synthetic_train_seed_1")
    names = [cell.experiment for cell in find_cells(tmp_path)]
    assert len(set(names)) == len(names) == 3


def test_a_replicate_travels_to_a_worker(make_config: Make) -> None:
    job = Job(
        make_config(train_seed=3), "runs/x", Places(), Machine(), QuerySettings(1, samia=False), Tracking(), "sweep"
    )
    assert Job.from_json(job.to_json()) == job


class TestPretrained:
    """Every model of every training has a start of its own where a cell's folder is given."""

    def test_a_planned_cell_is_described_as_the_trained_one(self, make_config: Make, tmp_path: Path) -> None:
        laid(make_config(), tmp_path)
        planned = make_config(method="static", sparsity=0.5, pretrained=str(tmp_path))
        assert with_start(planned).described() == planned.described()
        assert planned.described()["pretrained"] == "yes"

    def test_each_training_starts_from_its_own_counterpart(self, make_config: Make, tmp_path: Path) -> None:
        dense = tmp_path / "dense"
        for train_seed, folder in ((0, dense), (1, dense / "train_seed_1")):
            laid(make_config(train_seed=train_seed), folder)
            laid(make_config(train_seed=train_seed, model_index=1), folder / "shadow_000")
        for given in (dense, dense / "train_seed_1"):
            chain = make_config(method="static", sparsity=0.5, pretrained=str(given))
            starts = [
                with_start(dataclasses.replace(chain, train_seed=train_seed, model_index=index)).pretrained
                for train_seed in (0, 1)
                for index in (0, 1)
            ]
            folders = [dense, dense / "shadow_000", dense / "train_seed_1", dense / "train_seed_1" / "shadow_000"]
            assert starts == [str(folder / "best_model.pth") for folder in folders]

    def test_a_replicate_never_shares_a_start(self, make_config: Make, tmp_path: Path) -> None:
        laid(make_config(), tmp_path)
        chain = make_config(method="static", sparsity=0.5, pretrained=str(tmp_path), train_seed=1)
        with pytest.raises(UsageError, match=r"train_seed_1 holds no finished run .* train seed 1 starts from one of"):
            with_start(chain)
        laid(make_config(), tmp_path / "train_seed_1")
        with pytest.raises(UsageError, match="has train seed 0, here 1"):
            with_start(chain)

    def test_a_moved_replicate_is_one(self, make_config: Make, tmp_path: Path) -> None:
        laid(make_config(train_seed=1), tmp_path / "moved")
        chain = make_config(method="static", sparsity=0.5, pretrained=str(tmp_path / "moved"), train_seed=1)
        assert with_start(chain).pretrained == str(tmp_path / "moved" / "best_model.pth")

    def test_one_file_for_all_is_said(
        self, make_config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        weights = tmp_path / "weights.pth"
        weights.write_bytes(b"weights")
        chain = make_config(pretrained=str(weights))
        plan_runs([chain], tmp_path / "runs")
        assert caplog.text == ""
        plan_runs([chain, dataclasses.replace(chain, train_seed=1)], tmp_path / "runs")
        assert "all train seeds start from" in caplog.text
