"""Iterative magnitude pruning: its rounds by hand, its masks against plain Python, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artifacts.checkpoint import load_model
from configs.errors import UsageError
from evaluation.compare import compare
from evaluation.pairing import pairs
from pruning.registry import METHODS, build_pruner
from reporting.verdicts import steps_field
from tests.cli.scripts import TRAIN, call
from tests.evaluation.asked_cells import asked
from tests.evaluation.test_compare import measured_targets
from tests.pruning import plain_masks
from tests.pruning.one_layer import Run, config_of
from tests.pruning.test_methods import STEPS, watched
from tests.training.interruptions import Make, train
from training.lr import learning_rate

TRAINED = [-5.125, -2.6125, 3.6125, -4.6125]  # four steps of SGD: 1 + 1.5 + 1.75 + 1.875 = 6.125 gradients


def test_rounds_of_fine_tuning_by_hand() -> None:
    config = config_of("imp", 0.75, rounds=2, round_epochs=1)
    assert config.total_epochs == 6
    run = Run(config).go(5)
    # half of what is left, twice: 1 - 0.25^(1/2) = 0.5; the momentum of the four steps is gone
    assert run.used[4] == pytest.approx([TRAINED[0], 0.0, 0.0, TRAINED[3]])
    assert run.weights == pytest.approx([TRAINED[0] - 1, 0.0, 0.0, TRAINED[3] - 0.1])
    assert run.pruner.state().target_sparsity == run.pruner.sparsity() == 0.5
    assert not run.pruner.at_target(5)
    run.go(1)
    assert run.used[5] == pytest.approx([TRAINED[0] - 1, 0.0, 0.0, 0.0])
    assert run.weights == pytest.approx([TRAINED[0] - 2, 0.0, 0.0, 0.0])
    assert run.pruner.state().target_sparsity == run.pruner.sparsity() == 0.75
    assert run.pruner.at_target(6)


def test_rewinding_by_hand() -> None:
    """Three epochs before the end there is one step behind: weights 0, -2.1, 3.1, -4.1."""
    run = Run(config_of("imp", 0.75, rounds=2, round_epochs=3, rewind="weights")).go(5)
    # the mask is that of the trained weights, of which the first was 0 when they were taken note of
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]
    assert run.used[4] == pytest.approx([0.0, 0.0, 0.0, -4.1], abs=1e-6)
    run.go(2)
    assert run.weights == pytest.approx([-4.25, 0.0, 0.0, -4.525])
    run.go(1)
    assert run.pruner.mask.tolist() == [0, 0, 0, 1]
    assert run.used[7] == pytest.approx([0.0, 0.0, 0.0, -4.1], abs=1e-6)
    assert run.go(2).weights == pytest.approx([0.0, 0.0, 0.0, -4.525])


@pytest.mark.parametrize("rewind", ["none", "weights"])
def test_masks_are_those_of_the_plain_implementation(rewind: str) -> None:
    pruner, seen = watched("imp", rounds=3, round_epochs=2, rewind=rewind)
    mask, starts = [1] * 224, [(4 + 2 * past) * STEPS for past in range(3)]
    assert len(seen) == starts[-1] + 2 * STEPS
    for step, (before, _, theirs, after) in enumerate(seen):
        if step in starts:
            sparsity = 1 - 0.3 ** ((starts.index(step) + 1) / 3)
            mask = plain_masks.shrunk(before, mask, round(224 * sparsity))
        assert theirs == mask, step
        assert all((weight == 0) == (not one) for weight, one in zip(after, mask, strict=True))
    assert mask.count(0) == round(0.7 * 224)
    assert pruner.sparsity() == pytest.approx(0.7, abs=0.5 / 224)


def test_each_round_takes_its_part_of_the_schedule() -> None:
    def rates(rewind: str) -> list[float]:
        config = config_of("imp", 0.5, rounds=2, round_epochs=2, rewind=rewind)
        return [round(learning_rate(config, step, 3) / config.lr, 6) for step in range(0, 3 * config.total_epochs, 3)]

    first = [1, 1, 0.1, 0.01]
    assert rates("none") == [*first, 0.01, 0.01, 0.01, 0.01]
    assert rates("rate") == rates("weights") == [*first, 0.1, 0.01, 0.1, 0.01]


def test_knobs() -> None:
    knobs = {epochs: METHODS["imp"].Knobs.completed({}, epochs) for epochs in (1, 2, 40)}
    assert {epochs: own.total_epochs(epochs) for epochs, own in knobs.items()} == {1: 4, 2: 5, 40: 100}
    with pytest.raises(UsageError, match="--round-epochs: 5 is past --epochs 4; give at most 4"):
        config_of("imp", 0.5, round_epochs=5)
    # a dense run's states serve until the first mask, or until the weights that it goes back to
    steps = {
        rewind: build_pruner(config_of("imp", 0.5, rewind=rewind), 10).dense_steps
        for rewind in ("none", "rate", "weights")
    }
    assert steps == {"none": 40, "rate": 40, "weights": 20}


def test_a_run_trains_all_its_rounds_and_begins_as_the_dense_one(make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="imp", sparsity=0.6, epochs=2, rounds=2, round_epochs=1, select="best")
    run, dense = train(config, tmp_path / "imp"), train(make_config(epochs=2), tmp_path / "dense")
    ours, theirs = ([row.split(",") for row in one.history.read_text().splitlines()] for one in (run, dense))
    assert len(ours) == 1 + 4
    assert [row[:4] for row in ours[:3]] == [row[:4] for row in theirs]  # names, then epoch, rate, loss and accuracy
    assert [row[0] for row in ours[1:]] == ["1", "2", "3", "4"]
    sparsity = ours[0].index("target_sparsity")
    assert [float(row[sparsity]) for row in ours[1:]] == pytest.approx([0.0, 0.0, 1 - 0.4**0.5, 0.6])
    assert ours[-1][ours[0].index("test_accuracy")]
    summary = run.read_summary()
    assert summary["optimizer_steps"] == 2 * dense.read_summary()["optimizer_steps"] == 8
    assert summary["selected_epoch"] == 4  # the only one at full sparsity
    masks = load_model(run.model).masks.values()
    total = sum(mask.numel() for mask in masks)
    assert sum(int((~mask).sum()) for mask in masks) == round(0.6 * total)


def test_a_dry_run_and_comparisons_say_what_it_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--preset", "quick", "--methods", "dense", "imp", "--sparsities", "0.8", "--dry-run"]
    assert call(TRAIN, [*argv, "--runs-dir", str(tmp_path)]) == 0
    assert "imp trains a model for 100 epochs, 2.5 times --epochs 40" in capsys.readouterr().out.splitlines()
    monkeypatch.setattr("evaluation.compare.METRICS", ("auc",))
    cells = [asked("dense", models=2), asked("imp", 0.9, models=2)]
    for cell, steps in zip(cells, (4_000, 8_000), strict=True):
        cell.summaries[0]["optimizer_steps"] = steps
    (pair,) = pairs(cells)
    found = measured_targets(np.array([0.6, 0.7]))
    (row,) = compare(pair, "loss", found, found)
    assert (row["optimizer_steps_a"], row["optimizer_steps_b"]) == (8_000, 4_000)
    assert steps_field(pd.Series(row)) == "8,000 / 4,000 (2)"
    row["optimizer_steps_b"] = 0
    assert steps_field(pd.Series(row)) == "8,000 / 0"
