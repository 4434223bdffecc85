"""Which devices the models of a sweep train on, and how many at once on each: as many as fit and as still pay.

Models on one CUDA device are processes of their own, so nothing about a model changes with its neighbours. The driver
runs such processes in turns, or at the same time under NVIDIA's MPS daemon (`nvidia-cuda-mps-control -d`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import sys
import threading
from collections.abc import Mapping
from typing import Any

from artifacts.children import start
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine
from training.device import cuda_names, pick_device

# What twice as many models must gain in pictures a second, all together.
GAIN = 1.05
# Of the free memory, what further models may take; the rest is for their queries.
SHARE = 0.9
MEASURED_SECONDS = 3.0
# A sweep that one model at a time a device finishes in this time is not worth measuring.
SHORT_SECONDS = 120.0
PATIENCE_SECONDS = 300.0
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a probe found: pictures a second, MiB that a process takes and MiB that are free beside it, and members."""

    per_second: float
    one_mib: float
    free_mib: float
    members: int


def check_models_per_device(machine: Machine) -> None:
    """UsageError where `--models-per-device` is given and the device is not a CUDA one."""
    device = pick_device(machine.device)
    if machine.models_per_device is not None and device.type != "cuda":
        raise UsageError(
            f"argument --models-per-device: concerns CUDA devices, and this is {device.type}; "
            "--jobs says how many models train at once"
        )


def spread(
    config: ExperimentConfig, machine: Machine, data_dir: str, num_runs: int, cores: int
) -> tuple[list[str], int | None]:
    """Device names, one for each process to start, and models per CUDA device (None where there is none).

    config: of the run that stands for all where throughput has to be measured.
    """
    names = cuda_names(machine.device)
    most = min(num_runs, machine.jobs or num_runs)
    if not names:
        return processes(machine, num_runs, cores), None
    each = machine.models_per_device
    if each is None and machine.jobs is None:
        limit = min(math.ceil(num_runs / len(names)), max(1, cores // len(names)))
        each = measured(config, machine, names[0], data_dir, limit, num_runs / len(names))
    each = min(each or most, math.ceil(most / len(names)))
    return (names * each)[:most], each


def processes(machine: Machine, num_runs: int, cores: int) -> list[str]:
    """Device names, one for each process that trains where nothing is measured: one a core of a CPU, else one a device
    unless a flag says more."""
    names = cuda_names(machine.device)
    most = min(num_runs, machine.jobs or num_runs)
    if not names:
        one_each = cores if pick_device(machine.device).type == "cpu" else 1
        return [machine.device] * min(most, machine.jobs or one_each)
    each = min(machine.models_per_device or 1, math.ceil(most / len(names)))
    return (names * each)[:most]


def best(rates: Mapping[int, float]) -> int:
    """The number of models beyond which more gained less than GAIN; rates: pictures a second by number of models."""
    chosen, *others = sorted(rates) or [1]
    for count in others:
        if rates[count] < GAIN * rates[chosen]:
            break
        chosen = count
    return chosen


def next_count(rates: Mapping[int, float], most: int) -> int | None:
    """How many models to measure next: twice as many while that pays and fits; None when the answer is known."""
    if not rates:
        return 1
    last = max(rates)
    return None if last >= most or best(rates) < last else min(2 * last, most)


def fitting(running: int, free_mib: float, one_mib: float) -> int:
    """How many models fit, when `running` of them leave `free_mib`."""
    return running + int(SHARE * free_mib // one_mib) if one_mib and math.isfinite(free_mib) else sys.maxsize


def measured(config: ExperimentConfig, machine: Machine, device: str, data_dir: str, limit: int, runs: float) -> int:
    """Models per device by trial: 1, 2, 4 ... processes train side by side for some seconds each.

    limit: no more than this. runs: how many models this device will have to train.
    """
    rates: dict[int, float] = {}
    probes: list[Probe] = []
    most, why = limit, "more would gain less than 5 %"
    timer = threading.Timer(PATIENCE_SECONDS, kill_all, [probes])
    timer.start()
    try:
        while limit > 1 and (count := next_count(rates, most)) is not None:
            probes += [Probe(config, machine, device, data_dir) for _ in range(count - len(probes))]
            readings = together(probes, MEASURED_SECONDS)
            if readings is None:
                why = "more did not run"
                break
            rates[count] = sum(reading.per_second for reading in readings)
            most = min(limit, fitting(count, min(one.free_mib for one in readings), readings[0].one_mib))
            if count == 1 and runs * config.total_epochs * readings[0].members < SHORT_SECONDS * rates[1]:
                why = "the sweep is too short to measure more"
                break
    finally:
        timer.cancel()
        for probe in probes:
            probe.end()
    chosen = best(rates)
    if limit > 1:
        shown = ", ".join(f"{count}: {rate:.0f}" for count, rate in rates.items()) or "none"
        why = why if chosen < most else "no more are wanted" if most == limit else "more do not fit"
        log.info("models per device: %d (%s; pictures a second on %s by models: %s)", chosen, why, device, shown)
    return chosen


class Probe:
    """A process that trains a model of this sweep, for measurement alone; it writes nothing."""

    def __init__(
        self, config: ExperimentConfig, machine: Machine, device: str, data_dir: str, threads: int = 1
    ) -> None:
        task: dict[str, Any] = {"config": config.flat(), "device": device, "data_dir": data_dir}
        task |= {"cuda_graphs": machine.cuda_graphs, "threads": threads}
        self.process = start("sweep.probe", json.dumps(task), threads=threads, quiet=True)
        self.ready = False

    def hear(self) -> dict[str, Any] | None:
        """Its next answer; None when it has ended."""
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            return dict(json.loads(self.process.stdout.readline()))
        return None

    def say(self, asked: float | dict[str, Any]) -> None:
        """Have it train for that long, or get ready to train a model of another configuration."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{json.dumps(asked)}\n")
            self.process.stdin.flush()
        self.ready = not isinstance(asked, dict)

    def end(self) -> None:
        """Kill it: it has nothing to save."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def kill_all(probes: list[Probe]) -> None:
    for probe in probes:
        probe.process.kill()


def together(probes: list[Probe], seconds: float) -> list[Reading] | None:
    """Readings while all train at once for that long; None when one of them could not."""
    for probe in probes:
        probe.ready = probe.ready or probe.hear() is not None
    if not all(probe.ready for probe in probes):
        return None
    for probe in probes:
        probe.say(seconds)
    answers = [probe.hear() for probe in probes]
    readings = [Reading(**answer) for answer in answers if answer is not None]
    return readings if len(readings) == len(probes) else None
