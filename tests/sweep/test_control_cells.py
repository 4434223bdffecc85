"""Controls in plans, folders and names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir, experiment_name, inspect_run
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.sweep import SweepOptions
from evaluation.cells import find_cells
from models.registry import build_model
from sweep.plan import plan_cells, plan_runs
from sweep.planned import remember, remembered
from sweep.status import survey
from tests.sweep.test_replicate_cells import laid
from training.lr import learning_rate

Make = Callable[..., ExperimentConfig]


def plan(template: ExperimentConfig, **options: object) -> list[tuple[str, int, str | None, int]]:
    """Method, epochs, what it is a control for, and train seed of every cell."""
    sweep = SweepOptions(**{"methods": ("static", "dense"), "sparsities": (0.8,), **options})  # type: ignore[arg-type]
    cells = plan_cells(template, sweep, "datasets")
    return [(cell.method, cell.epochs, cell.control, cell.train_seed) for cell in cells]


@pytest.mark.parametrize(
    ("epochs", "options", "rungs"),
    [
        (40, {}, []),
        (40, {"controls": ("accuracy",)}, [5, 10, 20]),
        (200, {"controls": ("accuracy",)}, [25, 50, 100]),
        (3, {"controls": ("accuracy",)}, [1, 2]),
        (2, {"controls": ("accuracy",)}, [1]),
        (40, {"control_epochs": (30, 7)}, [30, 7]),
        (40, {"control_epochs": (7,), "controls": ("accuracy",)}, [7]),
    ],
)
def test_rungs_follow_the_dense_cell(
    epochs: int, options: dict[str, object], rungs: list[int], make_config: Make
) -> None:
    cells = [("static", epochs, None, 0), ("dense", epochs, None, 0)]
    assert plan(make_config(epochs=epochs), **options) == [*cells, *(("dense", e, "accuracy", 0) for e in rungs)]


def test_a_rung_is_dense_training_of_so_many_epochs(make_config: Make) -> None:
    """With its whole schedule scaled; that it is a control decides no weights."""
    whole = make_config(epochs=40)
    sweep = SweepOptions(methods=("dense",), control_epochs=(8,))
    rung = plan_cells(whole, sweep, "datasets")[1]
    assert dataclasses.replace(rung, control=None) == make_config(epochs=8)
    assert rung.fingerprint() == make_config(epochs=8).fingerprint() != whole.fingerprint()
    rates = [learning_rate(rung, epoch, 1) for epoch in range(8)]
    assert rates == [learning_rate(whole, 5 * epoch, 1) for epoch in range(8)]
    assert rates[0] > rates[4] > rates[7]


def test_rungs_are_trained_again_with_all_cells_or_by_name(make_config: Make) -> None:
    template = make_config(epochs=8)
    asked = {"methods": ("dense",), "control_epochs": (2,), "replicates": 1}
    both = [("dense", 8, None), ("dense", 2, "accuracy")]
    assert plan(template, **asked) == [(*cell, seed) for cell in both for seed in (0, 1)]
    assert plan(template, **asked, replicate_cells=("dense",)) == [(*both[0], 0), (*both[0], 1), (*both[1], 0)]
    assert plan(template, **asked, replicate_cells=("dense_epochs_2",)) == [(*both[0], 0), (*both[1], 0), (*both[1], 1)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"control_epochs": (8,)}, "--control-epochs: 8 is not below --epochs 8"),
        ({"control_epochs": (2, 2)}, "--control-epochs: 2 is given twice"),
        ({"control_epochs": (0,)}, "--control-epochs: 0 is not allowed"),
        ({"control_epochs": (2,), "methods": ("static",)}, "--control-epochs: controls are dense cells; add dense"),
        ({"controls": ("accuracy",), "methods": ("static",)}, "--controls: controls are dense cells; add dense"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], words: str, make_config: Make) -> None:
    with pytest.raises(UsageError, match=words):
        plan(make_config(epochs=8), **options)


def parameters(config: ExperimentConfig) -> int:
    model = build_model("resnet", 8, 1, 1, 10, config.channels)
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_narrower_cell_for_each_size(make_config: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Parameters of ResNet-8 by hand, 1 picture channel, 10 classes: 19,810 with 8 channels, 5,142 with 4."""
    template = make_config(dataset="digits")
    sweep = SweepOptions(methods=("dense", "static", "dpf"), sparsities=(0.05, 0.75, 0.95, 0.99), controls=("size",))
    cells = plan_cells(template, sweep, "datasets")
    narrow = [cell for cell in cells if cell.control == "size"]
    assert [(cell.channels, parameters(cell)) for cell in narrow] == [(8, 19_810), (4, 5_142)]
    assert cells[1:3] == narrow
    assert {cell.channels for cell in cells if cell.control is None} == {None}
    # kept: 77,754 minus the zeros among 76,432 convolution weights
    for cell, sparsity in zip(narrow, (0.75, 0.95), strict=True):
        assert abs(parameters(cell) / (77_754 - sparsity * 76_432) - 1) <= 0.15
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2  # static and dpf at 99 %; at 5 % dense itself is as large
    assert "static 0.99 keeps 2,086 parameters, and no dense resnet comes within 15 % of them (2 channels" in lines[0]
    run = RunDir.of(narrow[1], Path("runs"))
    assert run.path == Path("runs/dense/digits/channels_4")
    assert experiment_name(narrow[1], run) == "dense_digits_channels_4"


def test_of_one_epoch_there_is_no_shorter_training(make_config: Make) -> None:
    with pytest.raises(UsageError, match="--controls: accuracy trains for fewer epochs than --epochs 1"):
        plan(make_config(epochs=1), controls=("accuracy",))


@pytest.mark.parametrize(
    ("fields", "name", "folder", "experiment"),
    [
        ({}, None, "dense/synthetic/epochs_5", "dense_synthetic_epochs_5"),
        (
            {"seed": 3, "split": "disjoint", "train_seed": 1},
            None,
            "dense/synthetic/seed_3/disjoint/epochs_5/train_seed_1",
            "dense_synthetic_seed_3_disjoint_epochs_5_train_seed_1",
        ),
        ({}, "mine", "mine/epochs_5", "mine_epochs_5"),
        ({}, "epochs_5", "epochs_5/epochs_5", "epochs_5_epochs_5"),
    ],
)
def test_folder_and_name(
    fields: dict[str, object], name: str | None, folder: str, experiment: str, make_config: Make
) -> None:
    target = dataclasses.replace(make_config(epochs=5, **fields), control="accuracy")
    for config, last in ((target, ""), (dataclasses.replace(target, model_index=2), "shadow_001")):
        run = RunDir.of(config, Path("runs"), name)
        assert run.path == Path("runs") / folder / last
        assert experiment_name(config, run) == experiment


def test_a_stored_control_is_one_and_an_unknown_one_is_refused(make_config: Make, tmp_path: Path) -> None:
    rung = dataclasses.replace(make_config(epochs=2), control="accuracy")
    run = laid(rung, RunDir.of(rung, tmp_path).path)
    assert run.read_config() == rung
    assert rung.described()["control"] == "accuracy"
    run.config.write_text(rung.to_json().replace('"accuracy"', '"../.."'), encoding="utf-8")
    status = inspect_run(run, rung)
    assert (status.kind, "no control" in status.detail) == ("stale", True)


def test_found_planned_and_surveyed_behind_their_dense_cell(make_config: Make, tmp_path: Path) -> None:
    template = make_config(epochs=4, num_shadows=1)
    sweep = SweepOptions(methods=("dense", "static"), sparsities=(0.5,), control_epochs=(1, 2))
    cells = plan_cells(template, sweep, "datasets")
    remember(cells, tmp_path)
    assert remembered(tmp_path) == cells
    folders = ["dense/synthetic", *(f"dense/synthetic/epochs_{e}" for e in (1, 2)), "static/sparsity_0.5/synthetic"]
    assert [cell.folder.relative_to(tmp_path).as_posix() for cell in survey(tmp_path)] == folders
    for planned in plan_runs(cells, tmp_path):
        if planned.config.epochs != 2:
            laid(planned.config, planned.run.path)
    names = ["dense_synthetic", "dense_synthetic_epochs_1", "dense_synthetic_epochs_2", "static_0.5_synthetic"]
    found = find_cells(tmp_path)
    assert [(cell.experiment, len(cell.models), cell.started) for cell in found] == [
        (name, 0 if name.endswith("_2") else 2, not name.endswith("_2")) for name in names
    ]
