"""What training a plan will take on this machine, said before it begins: from seconds of runs that are finished, else
from some steps of every setting, taken by as many processes at once as will train."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from configs.machine import Machine
from data.base import DataSet
from sweep.capacity import Probe, kill_all, together
from sweep.forks import ForkPlan
from sweep.plan import PlannedRun
from training.device import describe_machine, pick_device
from training.run import epochs_between_tests

# Of a training picture's work, what a picture costs that is only asked about: a backward pass costs two forward passes.
FORWARD = 1 / 3
# Steps of one setting are timed for this long, and those of all settings for no longer than PATIENCE_SECONDS.
MEASURED_SECONDS = 1.0
PATIENCE_SECONDS = 60.0

OpenData = Callable[[ExperimentConfig], DataSet]
Queries = Callable[[ExperimentConfig], QuerySettings]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of the runs of a plan that are trained: how many they are, seconds in all, and what the seconds rest on."""

    models: int
    seconds: float
    at_once: int
    source: str

    def __str__(self) -> str:
        """A line for people."""
        trained = f"{self.models} model{'s' if self.models > 1 else ''} to train"
        return f"{trained}: about {duration(self.seconds)} on this machine ({self.at_once} at once; {self.source})"


def duration(seconds: float) -> str:
    """Two digits, or whole numbers, of the largest unit of which there are two."""
    sizes = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
    size, unit = next((one for one in sizes if seconds >= 2 * one[0]), sizes[-1])
    number = max(seconds / size, 1.0)
    return f"{number:.1f}".removesuffix(".0") + f" {unit}" if number < 10 else f"{number:.0f} {unit}"


def to_train(planned: Sequence[PlannedRun], overwrite: bool) -> list[PlannedRun]:
    """Those that a command trains: without `overwrite` none that is finished, failed for good or of another kind."""
    return [one for one in planned if overwrite or one.status.kind in ("new", "resume", "damaged")]


def pictures(
    config: ExperimentConfig, data: DataSet, queries: QuerySettings, machine: Machine, shared_epochs: int = 0
) -> float:
    """How many training pictures a run's work amounts to: its epochs, its test evaluations, and its questions.

    shared_epochs: of its epochs, those that its dense run does for it.
    """
    pool = min(config.pool_size or len(data.train_labels), len(data.train_labels))
    test = len(data.test_labels)
    epochs = config.total_epochs
    tests = epochs if config.select == "best" else max(1, epochs // epochs_between_tests(config, machine))
    noisy = min(queries.samia_examples or pool, pool) * queries.draws if queries.samia else 0
    asked = tests * test + test + (pool + min(queries.population, test)) * queries.num_queries + noisy
    return (epochs - shared_epochs) * pool * config.train_fraction + asked * FORWARD


def setting(config: ExperimentConfig) -> Hashable:
    """What the time of a step depends on."""
    network = (config.arch, config.arch_hash, config.layers, config.width_mult, config.channels, config.prune_layers)
    inputs = (config.dataset_name, config.image_size, config.batch_size, config.augment, config.precision)
    return (*network, *inputs, config.method, config.method_hash)


def cost_of(
    planned: Sequence[PlannedRun],
    everything: Sequence[PlannedRun],
    forks: ForkPlan,
    machine: Machine,
    data_dir: str,
    open_data: OpenData,
    queries: Queries,
    devices: Sequence[str],
    threads: int,
) -> Cost | None:
    """What those of the planned runs that will be trained take; None where there are none, or nothing could be timed.

    everything: the whole plan, whose finished runs say how fast the others will be. devices: one name for each process
    that will train; threads: CPU threads of each.
    """
    wanted = to_train(planned, forks.overwrite)
    if not wanted:
        return None
    device = pick_device(devices[0])

    def work(config: ExperimentConfig, shared_epochs: int) -> float:
        return pictures(config, open_data(config), queries(config), machine, shared_epochs)

    here = {**describe_machine(device), "threads": threads}  # of the processes that train, not of this one
    rates = finished_rates(everything, here, work)
    source = "from the runs that are finished"
    missing = {setting(one.config): one.config for one in wanted if setting(one.config) not in rates}
    if missing:
        started = time.perf_counter()
        timed = timed_rates(list(missing.values()), machine, devices, data_dir, threads)
        if not timed:
            return None
        source = f"measured in {time.perf_counter() - started:.0f} s"
        if len(timed) < len(missing):
            source += f", {len(missing) - len(timed)} of {len(missing)} settings taken for as slow as the slowest"
        slowest = min(timed.values())
        rates = {**rates, **{key: timed.get(key, slowest) for key in missing}}
    sure = {str(one.run.path) for one in wanted}
    seconds = [work(one.config, _shared(one.run, forks, sure)) / rates[setting(one.config)] for one in wanted]
    return Cost(len(wanted), max(sum(seconds) / len(devices), *seconds, 0.0), len(devices), source)


def _shared(run: RunDir, forks: ForkPlan, coming: set[str]) -> int:
    """Epochs that a run takes from a state that is there, or that a run of the same command will leave."""
    found = forks.of_run(run)
    there = found.state is not None and found.state.is_file()
    return found.epoch if there or found.source in coming else 0


def finished_rates(
    planned: Sequence[PlannedRun], here: dict[str, object], work: Callable[[ExperimentConfig, int], float]
) -> dict[Hashable, float]:
    """Pictures a second by setting, of planned runs that this kind of machine has finished."""
    done: dict[Hashable, list[tuple[float, float]]] = defaultdict(list)
    for one in planned:
        if one.status.kind != "finished":
            continue
        summary = one.run.read_summary()
        told = summary.get("machine") or {}
        if any(told.get(name) != here[name] for name in ("device", "processor", "threads")):
            continue
        seconds = float(summary["seconds"]) - float(summary.get("shared_seconds", 0.0))
        done[setting(one.config)].append((work(one.config, int(summary.get("shared_epochs", 0))), seconds))
    sums = {key: (sum(a for a, _ in pairs), sum(b for _, b in pairs)) for key, pairs in done.items()}
    return {key: amount / seconds for key, (amount, seconds) in sums.items() if seconds > 0}


def timed_rates(
    configs: Sequence[ExperimentConfig], machine: Machine, devices: Sequence[str], data_dir: str, threads: int
) -> dict[Hashable, float]:
    """Pictures a second of one of as many processes at once as there are devices, by setting; those are missing for
    which time did not suffice, or which did not run."""
    rates: dict[Hashable, float] = {}
    probes = [Probe(configs[0], machine, device, data_dir, threads) for device in devices]
    timer = threading.Timer(PATIENCE_SECONDS, kill_all, [probes])
    timer.start()
    try:
        for number, config in enumerate(configs):
            if number:
                for probe in probes:
                    probe.say(config.flat())
            readings = together(probes, MEASURED_SECONDS)
            if readings is None:
                break
            rates[setting(config)] = sum(reading.per_second for reading in readings) / len(readings)
    finally:
        timer.cancel()
        for probe in probes:
            with contextlib.suppress(OSError):
                probe.end()
    return rates
