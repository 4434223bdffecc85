"""How long attack networks will train: which there are, by hand, and the line before an evaluation they make long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, Signals, save_signals
from attacks.registry import ATTACKS
from cli import evaluation
from configs.attacks import AttackOptions
from configs.experiment import ExperimentConfig
from configs.machine import Places
from evaluation.attack import Attacker
from evaluation.cells import Cell
from evaluation.gather import Evidence
from evaluation.network_time import BY_NAME, is_long, seconds, trainings

EXAMPLES, CLASSES = 1280, 4
NAMES = ("lira", "shokri_nn", "top3_nn", "samia")


@pytest.fixture
def cell(make_config: Callable[..., ExperimentConfig], tmp_path: Path) -> Cell:
    """A target and three shadow models in pairs, 1,280 examples of 4 classes; only the target's answers are there."""
    config = make_config()
    models = {index: RunDir(tmp_path / str(index)) for index in range(4)}
    models[0].path.mkdir()
    rng = np.random.default_rng(0)
    numbers, logits = np.arange(EXAMPLES), rng.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    arrays = (numbers, numbers % CLASSES, numbers % 2 == 0, logits, logits[:, :1], None)
    settings = QuerySettings(num_queries=1, samia=False)
    signals = Signals(*arrays, weights_hash="weights", data_hash="data", settings=settings)
    save_signals(models[0].signals, signals)
    return Cell(config, "a cell", tmp_path, models)


def test_all_attack_networks_are_known() -> None:
    assert set(BY_NAME) == {name for name, attack in ATTACKS.items() if attack.trains_network}


def test_networks_by_hand(cell: Cell) -> None:
    """Two of the three shadow models serve a target, the third is its partner: 2,560 pairs, 20 batches of 128 for 100
    epochs; of a class 640 for Shokri-NN, which has one plan; SAMIA on 128 examples has 256 pairs, two batches."""
    found = trainings([cell], NAMES, AttackOptions(samia_examples=128))
    steps = {one.attack: one.plan.steps for one in found}
    assert steps == {"shokri_nn": 300, "top3_nn": 2000, "samia": 200}
    assert {one.num_classes for one in found} == {CLASSES}
    two = AttackOptions(samia_examples=128, num_targets=2, attack_recipe="fast")
    assert len(trainings([cell], NAMES, two)) == 6
    assert max(one.plan.steps for one in trainings([cell], NAMES, two)) == 500
    cell.models[0].signals.write_bytes(b"damaged")
    assert trainings([cell], NAMES, two) == []
    cell.models[0].signals.unlink()
    assert trainings([cell], NAMES, two) == []


def test_a_line_before_a_long_evaluation_and_none_before_a_short_one(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluation, "gather", lambda cells, attacker: Evidence())
    with caplog.at_level(logging.INFO):
        evaluation.evaluate([cell], Attacker(NAMES, AttackOptions(), Places(), "cpu"))
        assert "attack networks to train" not in caplog.text
        many = AttackOptions(num_targets=4, attack_recipe="paper")
        evaluation.evaluate([cell] * 4, Attacker(NAMES, many, Places(), "cpu"))
    assert "48 attack networks to train, about " in caplog.text
    assert "(--attack-recipe paper; --attack-recipe fast takes seconds for each, and its figures differ)" in caplog.text


def test_steps_are_timed(cell: Cell) -> None:
    planned = trainings([cell], NAMES, AttackOptions())
    assert not is_long(planned)
    assert seconds(planned, "cpu") > 0
    assert seconds(planned * 2, "cpu") > 0
