"""How many models a device trains at once, and where: decisions by made-up numbers, one measurement for real."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import pytest
import torch

from configs.errors import RunError, UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine
from sweep import capacity
from sweep.capacity import best, check_models_per_device, fitting, next_count, processes, spread
from training.device import memory_errors

Make = Callable[..., ExperimentConfig]


def measured_until_known(rates: dict[int, float], most: int) -> tuple[int, list[int]]:
    """The choice, and what was measured for it, when k models give rates[k] together."""
    found: dict[int, float] = {}
    while (count := next_count(found, most)) is not None:
        found[count] = rates[count]
    return best(found), list(found)


@pytest.mark.parametrize(
    ("rates", "most", "chosen", "tried"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 310}, 64, 4, [1, 2, 4, 8]),
        ({1: 100, 2: 104}, 64, 1, [1, 2]),
        ({1: 100, 2: 105, 4: 50}, 64, 2, [1, 2, 4]),
        ({1: 100, 2: 190, 3: 280}, 3, 3, [1, 2, 3]),
        ({1: 100, 2: 190, 3: 195}, 3, 2, [1, 2, 3]),
        ({1: 100}, 1, 1, [1]),
    ],
)
def test_twice_as_many_while_that_pays(rates: dict[int, float], most: int, chosen: int, tried: list[int]) -> None:
    assert measured_until_known(rates, most) == (chosen, tried)


def test_nothing_measured_is_one_model() -> None:
    assert best({}) == 1


def test_models_that_fit() -> None:
    assert fitting(1, 10_000, 3_000) == 4  # 90 % of what is free holds 3 more
    assert fitting(2, 100, 3_000) == 2
    assert fitting(1, float("inf"), 0.0) == sys.maxsize


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"auto": ["cuda:0", "cuda:1", "cuda:2"], "cuda:1": ["cuda:1"]}
    monkeypatch.setattr(capacity, "cuda_names", lambda name: names[name])


def test_devices_take_turns(three_gpus: None, make_config: Make) -> None:
    def places(num_runs: int, **fields: object) -> tuple[list[str], int | None]:
        return spread(make_config(), Machine(**fields), "datasets", num_runs, cores=16)  # type: ignore[arg-type]

    every = ["cuda:0", "cuda:1", "cuda:2"]
    assert places(100, models_per_device=2) == (every * 2, 2)
    assert places(4, models_per_device=5) == ([*every, "cuda:0"], 2)
    assert places(100, device="cuda:1", models_per_device=3) == (["cuda:1"] * 3, 3)
    assert places(100, jobs=4) == ([*every, "cuda:0"], 2)
    assert places(100, jobs=2, models_per_device=4) == (every[:2], 1)
    assert places(1, models_per_device=4) == (["cuda:0"], 1)
    assert processes(Machine(), 100, cores=16) == every
    assert processes(Machine(models_per_device=2), 100, cores=16) == every * 2


def test_auto_asks_the_measurement(three_gpus: None, make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def measured(config: object, machine: object, device: str, data_dir: str, limit: int, runs: float) -> int:
        asked.append((device, limit, runs))
        return 2

    monkeypatch.setattr(capacity, "measured", measured)
    assert spread(make_config(), Machine(), "datasets", 30, cores=12) == (["cuda:0", "cuda:1", "cuda:2"] * 2, 2)
    assert asked == [("cuda:0", 4, 10.0)]


def test_on_a_cpu_jobs_say_how_many(make_config: Make) -> None:
    assert spread(make_config(), Machine(device="cpu"), "datasets", 9, cores=3) == (["cpu"] * 3, None)
    assert spread(make_config(), Machine(device="cpu", jobs=5), "datasets", 9, cores=3) == (["cpu"] * 5, None)
    assert spread(make_config(), Machine(device="cpu"), "datasets", 2, cores=3) == (["cpu"] * 2, None)
    assert processes(Machine(device="cpu"), 9, cores=3) == ["cpu"] * 3
    check_models_per_device(Machine(device="cpu"))
    with pytest.raises(UsageError, match=r"--models-per-device: concerns CUDA devices, and this is cpu; --jobs"):
        check_models_per_device(Machine(device="cpu", models_per_device=2))


def test_a_measurement(make_config: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Real processes; a CPU serves as the device."""
    monkeypatch.setattr(capacity, "MEASURED_SECONDS", 0.1)
    monkeypatch.setattr(capacity, "SHORT_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        chosen = capacity.measured(make_config(method="dpf", sparsity=0.5), Machine(), "cpu", "datasets", 2, runs=9)
    assert chosen in (1, 2)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"models per device: {chosen} (")
    assert "by models: 1: " in record.getMessage()
    assert ", 2: " in record.getMessage()


def test_a_probe_that_dies_leaves_what_was_known(
    make_config: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capacity, "together", lambda probes, seconds: None)
    with caplog.at_level(logging.INFO):
        assert capacity.measured(make_config(), Machine(), "cpu", "datasets", 4, runs=9) == 1
    assert "more did not run" in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), r"GPU; lower --batch-size \(64\) or --models-per-device"),
        (RuntimeError("CUDA error: out of memory"), r"GPU; lower --batch-size \(64\) or --models-per-device"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), r"machine; lower --batch-size \(64\) or --jobs"),
    ],
)
def test_no_memory_names_the_flags(error: Exception, words: str) -> None:
    with pytest.raises(RunError, match=f"out of memory on (the|this) {words}"), memory_errors(64):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(64):
        raise RuntimeError("shapes do not fit")
