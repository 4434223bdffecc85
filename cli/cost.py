"""The line that says what training a plan will cost, before it begins."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.signals import QuerySettings
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import from_args
from configs.machine import EngineOptions, Machine
from configs.presets import PRESETS
from configs.sweep import SweepOptions
from data.registry import DATASETS, needs_download
from sweep.forks import ForkPlan
from sweep.plan import PlannedRun, plan_cells, plan_runs

if TYPE_CHECKING:
    from sweep.cost import Cost

# Epochs times members of a plan that is trained without saying first how long it takes: some minutes of a CPU.
SHORT_PLAN = 2_000_000
# Seconds on CPUs from which on the study that is meant for them is named.
LONG_ON_CPUS = 12 * 3600.0


def cost_in_words(
    planned: Sequence[PlannedRun],
    args: argparse.Namespace,
    queries: Callable[[ExperimentConfig], QuerySettings],
    forks: ForkPlan,
    everything: Sequence[PlannedRun],
) -> str:
    """A line: what training those runs takes that are to be trained, in time and on the disk; or why that is not known.
    Empty where there are none.

    everything: the whole plan, with what other commands train of it.
    """
    from artifacts.children import cores
    from data.inputs import open_data
    from sweep.capacity import processes
    from sweep.cost import cost_of, to_train
    from sweep.space import in_words
    from training.device import pick_device

    wanted = to_train(planned, args.overwrite)
    if not wanted:
        return ""
    options: EngineOptions = from_args(EngineOptions, args)
    if options.engine == "ray":
        return "how long training takes is not known: --engine ray trains on machines that are not measured from here"
    if args.dry_run and needs_download(planned[0].config.dataset, Path(args.data_dir)):
        return f"how long training takes is not known before {planned[0].config.dataset} is downloaded"
    machine: Machine = from_args(Machine, args)
    try:
        devices = processes(machine, len(wanted), cores())
        threads = machine.num_threads or max(1, cores() // len(devices))

        def cost_here(chosen: Sequence[PlannedRun], plan: Sequence[PlannedRun], forks: ForkPlan) -> Cost | None:
            data_dir: str = args.data_dir
            return cost_of(
                chosen,
                plan,
                forks,
                machine,
                data_dir,
                lambda one: open_data(one, data_dir)[0],
                queries,
                devices,
                threads,
            )

        cost = cost_here(planned, everything, forks)
        room = sum(folder_sizes(wanted, args, forks))
        if cost is None:
            return "how long training takes is not known: no step could be timed"
        smaller = ""
        if cost.seconds > LONG_ON_CPUS and pick_device(devices[0]).type == "cpu" and not DATASETS[args.dataset].table:
            laptop = laptop_plan(args)
            smaller = _of_laptop(args, cost, cost_here(laptop, laptop, ForkPlan(laptop, overwrite=False)))
    except UsageError as error:
        return f"how long training takes is not known: {error}"
    return f"{cost}; at most {in_words(room)} on the disk; attacks are not in it{smaller}"


def laptop_plan(args: argparse.Namespace) -> list[PlannedRun]:
    """The runs of `--preset laptop` with the data set of the flags, in a folder of their own."""
    from training.device import pick_device, pick_precision

    preset = PRESETS["laptop"] | {"dataset": args.dataset, "image_size": args.image_size}

    def fields(kind: type[ExperimentConfig | SweepOptions]) -> dict[str, Any]:
        names = {field.name for field in dataclasses.fields(kind)} & set(preset)
        return {name: tuple(preset[name]) if isinstance(preset[name], list) else preset[name] for name in names}

    template = ExperimentConfig(**fields(ExperimentConfig), precision=pick_precision("auto", pick_device("cpu")))
    cells = plan_cells(template, SweepOptions(**fields(SweepOptions)), args.data_dir)
    return plan_runs(cells, Path(args.runs_dir) / "laptop")


def _of_laptop(args: argparse.Namespace, cost: Cost, laptop: Cost | None) -> str:
    """What the same data set takes with `--preset laptop`, where that is half of the time or less."""
    from sweep.cost import duration

    if laptop is None or laptop.seconds > cost.seconds / 2:
        return ""
    flags = ["--dataset", args.dataset, "--data-dir", args.data_dir]
    if args.image_size is not None:
        flags += ["--image-size", str(args.image_size)]
    flags += ["--runs-dir", str(Path(args.runs_dir) / "laptop")]
    return f"; train.py --preset laptop {shlex.join(flags)}: {laptop.models} models, about {duration(laptop.seconds)}"


def trained_pictures(chosen: Sequence[PlannedRun], data_dir: str) -> float:
    """How many pictures the runs train on, all epochs together."""
    from data.inputs import open_data

    def members(config: ExperimentConfig) -> float:
        pool = len(open_data(config, data_dir)[0].train_labels)
        return min(config.pool_size or pool, pool) * config.train_fraction

    return sum(one.config.total_epochs * members(one.config) for one in chosen)


def folder_sizes(chosen: Sequence[PlannedRun], args: argparse.Namespace, forks: ForkPlan) -> list[int]:
    """Bytes of every run's folder at its largest."""
    from data.inputs import open_data
    from sweep.space import run_bytes

    asked = QuerySettings(args.num_queries or 2, samia=True, population=getattr(args, "rmia_population", 0))
    kinds = [(one.config.cell_fingerprint(), len(forks.of_run(one.run).keep)) for one in chosen]
    one_of_each = {kind: one.config for kind, one in zip(kinds, chosen, strict=True)}
    sizes = {
        kind: run_bytes(config, open_data(config, args.data_dir)[0], asked, kind[1], args.trace_losses)
        for kind, config in one_of_each.items()
    }
    return [sizes[kind] for kind in kinds]
