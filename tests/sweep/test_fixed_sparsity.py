"""A method with one sparsity has one cell, whatever the grid is, and says what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.experiment import ExperimentConfig
from configs.sweep import SweepOptions
from models.registry import build_model
from pruning.weights import prunable_weights
from sweep.plan import plan_cells, plan_runs
from tests.cli.scripts import EXPERIMENT, TINY, call
from tests.training.interruptions import Make, train


def test_the_grid_has_one_cell_of_it(tmp_path: Path) -> None:
    grid = SweepOptions(
        methods=("dense", "two_four", "snip"),
        sparsities=(0.8, 0.9),
        replicates=1,
        replicate_cells=("two_four_0.5",),
    )
    cells = plan_cells(ExperimentConfig(dataset="synthetic", num_shadows=1), grid, "datasets")
    assert [(cell.method, cell.sparsity, cell.train_seed) for cell in cells] == [
        ("dense", 0.0, 0),
        ("two_four", 0.5, 0),
        ("two_four", 0.5, 1),
        ("snip", 0.8, 0),
        ("snip", 0.9, 0),
    ]
    folders = {planned.run.path.relative_to(tmp_path).as_posix() for planned in plan_runs(cells, tmp_path)}
    assert "two_four/sparsity_0.5/synthetic" in folders
    assert "two_four/sparsity_0.5/synthetic/train_seed_1/shadow_000" in folders


@pytest.mark.parametrize("sparsity", [[], ["--sparsity", "0.5"]])
def test_run_experiment_needs_no_sparsity_of_it(
    sparsity: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--prune", "--prune-method", "two_four", *sparsity, "--dry-run", "--runs-dir", str(tmp_path)]
    assert call(EXPERIMENT, [*TINY, *flags]) == 0
    assert "two_four/sparsity_0.5" in capsys.readouterr().out


def test_the_summary_has_the_sparsity_that_was_measured(make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="two_four", epochs=1, prune_epoch=1, augment="none")
    summary = train(config, tmp_path / "run").read_summary()
    sizes = {name: weight.numel() for name, weight in prunable_weights(build_model("resnet", 8, 1, 3, 10)).items()}
    first, *others = summary["layer_sparsities"].values()
    assert first == 0.0
    assert set(others) == {0.5}
    total, dense = sum(sizes.values()), next(iter(sizes.values()))
    assert summary["sparsity"] == 0.5
    assert summary["measured_sparsity"] == (total - dense) / 2 / total
