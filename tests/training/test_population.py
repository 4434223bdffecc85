"""Population queries: which examples, what is kept in the cache, and what a later question costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artifacts.atomic_writes import file_hash
from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings, Signals, load_signals, phi, save_signals
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from data.augment import augmenter_for
from data.inputs import open_data
from data.splits import draw_population
from training import ask
from training.ask import ensure_signals, load_for_query
from training.device import pick_device
from training.query import predict_logits
from training.run import run_one

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def trained(make_config: Make, tmp_path: Path) -> tuple[ExperimentConfig, RunDir]:
    config, run = make_config(epochs=1), RunDir(tmp_path / "run")
    run_one(config, run, Places(), Machine(device="cpu"), QuerySettings(2, samia=False, population=20))
    return config, run


def test_it_is_phi_of_the_test_examples_drawn(trained: tuple[ExperimentConfig, RunDir]) -> None:
    config, run = trained
    data, _ = open_data(config, "datasets")
    index = draw_population(len(data.test_labels), 20)
    device = pick_device("cpu")
    model = load_for_query(config, data, run, device, file_hash(run.model))
    augmenter = augmenter_for(data, "none", device)
    labels = data.test_labels.numpy()[index]
    found = load_signals(run.signals).population_phi
    assert found is not None
    assert found.shape == (20, 2)
    for query in (0, 1):
        logits = predict_logits(model, data.test_inputs[index], augmenter, query)
        np.testing.assert_allclose(found[:, query], phi(logits, labels), rtol=1e-5)


def test_only_what_is_missing_is_asked_and_nothing_is_lost(
    trained: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = trained
    first = load_signals(run.signals)
    asked: list[str] = []

    def noting(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            asked.append(name)
            return original(*args)

        return noted

    for name in ("ask", "ask_population"):
        monkeypatch.setattr(ask, name, noting(name, getattr(ask, name)))

    def question(**settings: object) -> QuerySettings:
        return dataclasses.replace(QuerySettings(2, samia=False), **settings)  # type: ignore[arg-type]

    def signals(wanted: QuerySettings) -> Signals:
        return ensure_signals(run, config, Places(), "cpu", wanted)

    for wanted in (question(), question(population=20), question(population=5), question(num_queries=1)):
        assert signals(wanted).settings == first.settings
    assert asked == []
    more = signals(question(population=30))
    assert asked == ["ask_population"]
    assert more.population_phi is not None
    assert first.population_phi is not None
    np.testing.assert_array_equal(more.population_phi[:20], first.population_phi)
    np.testing.assert_array_equal(more.phi, first.phi)
    both = signals(question(samia=True))
    assert asked == ["ask_population", "ask", "ask_population"]  # a whole new question asks the population as well
    assert both.settings == QuerySettings(2, samia=True, population=30)
    signals(question(population=30))
    signals(question(samia=True))
    assert len(asked) == 3


def test_a_small_test_set_is_asked_whole_and_once(trained: tuple[ExperimentConfig, RunDir]) -> None:
    config, run = trained
    size = len(open_data(config, "datasets")[0].test_labels)
    found = ensure_signals(run, config, Places(), "cpu", QuerySettings(2, samia=False, population=10_000))
    assert found.population_phi is not None
    assert len(found.population_phi) == size
    stamp = run.signals.stat().st_mtime_ns
    ensure_signals(run, config, Places(), "cpu", QuerySettings(2, samia=False, population=10_000))
    assert run.signals.stat().st_mtime_ns == stamp


def test_a_cache_from_before_there_was_a_population_still_reads(
    trained: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = trained
    old = dataclasses.replace(load_signals(run.signals), population_phi=None)
    original = dataclasses.asdict

    def without(settings: QuerySettings) -> dict[str, object]:
        return {name: value for name, value in original(settings).items() if name != "population"}

    monkeypatch.setattr("artifacts.signals.dataclasses.asdict", without)
    save_signals(run.signals, old)
    monkeypatch.undo()
    back = load_signals(run.signals)
    assert back.population_phi is None
    assert back.audited is None
    assert back.settings.population == 0
