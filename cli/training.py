"""Planning and training, shared by train.py and run_experiment.py."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.locks import locked
from artifacts.signals import QuerySettings
from cli.cost import SHORT_PLAN, cost_in_words, folder_sizes, trained_pictures
from cli.main import DONE, LOCKED, SOME_FAILED
from cli.progress import SweepBar
from configs.errors import RunLocked, UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import from_args
from configs.machine import EngineOptions, Machine, Places, Tracking
from data.registry import DATASETS
from pruning.registry import all_knobs, is_private
from sweep.forks import ForkPlan
from sweep.plan import SPLIT_FIELDS, PlannedRun

if TYPE_CHECKING:
    from sweep.engine import DoneHook, EpochHook
    from sweep.worker import Job, Outcome

log = logging.getLogger(__name__)
IN_THE_WAY_SHOWN = 3


def template_of(args: argparse.Namespace, **overrides: object) -> ExperimentConfig:
    """The configuration that the flags describe; `auto` precision becomes what this machine computes in."""
    from sweep.capacity import check_models_per_device
    from training.device import pick_device, pick_precision

    device = pick_device(args.device)
    if getattr(args, "engine", "local") == "local":  # Ray's workers may have what this machine has not
        check_models_per_device(from_args(Machine, args))
    return from_args(ExperimentConfig, args, precision=pick_precision(args.precision, device), **overrides)


def given_knobs(args: argparse.Namespace) -> dict[str, Any]:
    """The values of methods' own knobs that flags give; None where they leave it to the method."""
    return {name: getattr(args, name, None) for name in all_knobs()}


def print_plan(runs: Sequence[PlannedRun], forks: ForkPlan, shard: str | None = None) -> None:
    """`--dry-run`: a line per run, how many of each state, and how many epochs need not be trained more than once."""
    for planned in runs:
        detail = f"  ({planned.status.detail})" if planned.status.detail else ""
        print(f"{planned.status.kind:9}{planned.run.path}{detail}")
    kinds = [planned.status.kind for planned in runs]
    counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    of_shard = f" of shard {shard}" if shard else ""
    print(f"{len(runs)} runs{of_shard}: {', '.join(counts) or 'nothing to train'}")
    saved, every = forks.saved_epochs(runs)
    if saved:
        shared = "what pruned runs share with their dense run is trained once"
        print(f"{every - saved:,} epochs to train instead of {every:,}: {shared}")
    chained = sum(one.config.pretrained_run is not None for one in runs)
    if chained:
        print(f"{chained} runs start from the finished dense run of their number")
    for line in dict.fromkeys(filter(None, (_cost_of(planned.config) for planned in runs))):
        print(line)


def _cost_of(config: ExperimentConfig) -> str:
    """What a method that trains longer than the others takes, in words."""
    if config.total_epochs == config.epochs:
        return ""
    times = config.total_epochs / config.epochs
    return (
        f"{config.method} trains a model for {config.total_epochs} epochs, {times:.3g} times --epochs {config.epochs}"
    )


def choose_runs(runs: Sequence[PlannedRun], skip_existing: bool, overwrite: bool) -> list[PlannedRun]:
    """The runs to train. Refuses, before anything is written, what would need a run to be replaced unasked.

    A damaged run is trained again with --skip-existing (it does not verify); a folder with another experiment is only
    ever replaced by --overwrite. A run that failed for good stays among the chosen, to be named as failed again;
    `training.run.run_one` trains it only once --overwrite has cleared its folder.
    """
    stale = [planned for planned in runs if planned.status.kind == "stale"]
    if stale and not overwrite:
        first = stale[0]
        raise UsageError(
            f"{first.run.path} holds another experiment ({first.status.detail}); give another --runs-dir"
            + (f" ({len(stale)} folders are in the way)" if len(stale) > 1 else "")
            + ", or --overwrite to replace it"
        )
    there = [planned for planned in runs if planned.status.kind in ("finished", "damaged", "failed")]
    if there and not (skip_existing or overwrite):
        shown = ", ".join(str(planned.run.path) for planned in there[:IN_THE_WAY_SHOWN])
        more = f" and {len(there) - IN_THE_WAY_SHOWN} more" if len(there) > IN_THE_WAY_SHOWN else ""
        raise UsageError(f"finished already: {shown}{more}; --skip-existing keeps them, --overwrite trains them again")
    keep = set() if overwrite else {"finished"}
    return [planned for planned in runs if planned.status.kind not in keep]


def check_inputs(configs: Iterable[ExperimentConfig], data_dir: str) -> dict[tuple[Any, ...], dict[str, str]]:
    """Open the data and draw the split of every cell once, so that bad data stops a sweep before it starts.

    Says where examples of a pool are equal. Returns the hashes of both for each setting (`_setting`).
    """
    from data.inputs import open_data, open_duplicates, open_split

    hashes = {}
    for setting, config in {_setting(config): config for config in configs}.items():
        data, data_hash = open_data(config, data_dir)
        hashes[setting] = {"data_hash": data_hash, "split_hash": open_split(config, data).split_hash()}
        duplicates = open_duplicates(config, data_dir).in_words()
        if duplicates:
            log.warning("%s: %s", config.dataset_name, duplicates)
    return hashes


def _setting(config: ExperimentConfig) -> tuple[Any, ...]:
    """What data and split depend on."""
    return tuple(getattr(config, name) for name in ("dataset", "image_size", *SPLIT_FIELDS, "num_shadows"))


def prepare_runs(
    chosen: Sequence[PlannedRun], args: argparse.Namespace, planned: Sequence[PlannedRun], forks: ForkPlan
) -> None:
    """Check what the runs read, and only then clear the folders of those that are trained again.

    Data that is at hand anyway is also compared with what the kept runs were trained on.
    """
    options: EngineOptions = from_args(EngineOptions, args)
    if chosen and options.engine == "ray":
        from sweep.ray_cluster import check_ray

        check_ray(from_args(Machine, args), options.ray_address or "auto")
    _try_out(chosen, args)
    read = [one for one in planned if one in chosen or DATASETS[one.config.dataset].is_own]
    hashes = check_inputs([one.config for one in read], args.data_dir)
    for one in planned:
        if one.status.kind == "finished" and not args.overwrite:
            _check_data(one, hashes.get(_setting(one.config), {}))
    _warn_of_space(chosen, args, forks)
    for one in chosen:
        if one.status.kind == "damaged":
            log.warning("%s is trained again: %s", one.run.path, one.status.detail)
        if args.overwrite and one.status.kind != "new":
            with contextlib.suppress(RunLocked), locked(one.run.path):  # one that is held is named when its turn comes
                one.run.clear()


def _try_out(chosen: Sequence[PlannedRun], args: argparse.Namespace) -> None:
    """What is wrong in code of the user's own is said here, and not by every worker."""
    from data.inputs import open_data
    from training.trial import needed, try_out

    for config in needed(one.config for one in chosen):
        try_out(config, open_data(config, args.data_dir)[0])


def _warn_of_space(chosen: Sequence[PlannedRun], args: argparse.Namespace, forks: ForkPlan) -> None:
    from sweep.space import shortfall

    missing = shortfall(folder_sizes(chosen, args, forks), Path(args.runs_dir))
    if missing is not None:
        log.warning("%s; make room, or the last runs will fail (a run that fails for it can go on later)", missing)


def _check_data(planned: PlannedRun, hashes: dict[str, str]) -> None:
    summary = planned.run.read_summary()
    for name, value in hashes.items():
        if summary.get(name) != value:
            raise UsageError(
                f"{planned.run.path} holds another experiment (its {name.replace('_hash', '')} differs from what "
                "--data-dir gives now); give another --runs-dir, or --overwrite to replace it"
            )


@dataclasses.dataclass(frozen=True)
class Trained:
    """any: whether there was something to train. unfinished: the outcomes of the runs that are not finished."""

    any: bool
    unfinished: list[Outcome]


def train_planned(
    planned: Sequence[PlannedRun],
    args: argparse.Namespace,
    queries: Callable[[ExperimentConfig], QuerySettings],
    group: str,
    everything: Sequence[PlannedRun],
    before: Callable[[], None] = lambda: None,
) -> Trained | None:
    """Choose, check and train planned runs; None after `--dry-run`, which prints them.

    queries: what each model is asked once it is trained. everything: the whole plan, with what other commands train of
    it. before: called once all is checked, if anything is to train.
    """
    forks = ForkPlan(everything, args.overwrite)
    if args.trace_losses:
        _check_traced(planned)
        if not args.overwrite:
            _say_untraced(planned)
    if args.dry_run:
        print_plan(planned, forks, getattr(args, "shard", None))
        if not args.quiet and (line := cost_in_words(planned, args, queries, forks, everything)):
            print(line)
        return None
    chosen = choose_runs(planned, args.skip_existing, args.overwrite)
    prepare_runs(chosen, args, planned, forks)
    if chosen:
        before()
        if not args.quiet and trained_pictures(chosen, args.data_dir) > SHORT_PLAN:
            log.info(cost_in_words(chosen, args, queries, forks, everything))
    try:
        return Trained(bool(chosen), train_runs(chosen, args, queries, group, forks))
    finally:
        forks.tidy()


def _check_traced(planned: Sequence[PlannedRun]) -> None:
    """UsageError where a method's batches leave members out by chance: such an epoch has no loss of each."""
    private = next((one.config.method for one in planned if is_private(one.config.method)), None)
    if private is not None:
        raise UsageError(
            f"argument --trace-losses: {private} draws its batches by chance, and an epoch leaves members out; leave "
            "the flag out, or train that method by a command of its own"
        )


def _say_untraced(planned: Sequence[PlannedRun]) -> None:
    """A finished run is not trained again for traces unasked."""
    without = [one for one in planned if one.status.kind == "finished" and not one.run.traces.is_file()]
    if without:
        log.warning(
            "finished runs that get no loss traces, for they were trained without --trace-losses: %d of %d "
            "(--overwrite trains them again)",
            len(without),
            len(planned),
        )


def train_runs(
    chosen: Sequence[PlannedRun],
    args: argparse.Namespace,
    queries: Callable[[ExperimentConfig], QuerySettings],
    group: str,
    forks: ForkPlan,
) -> list[Outcome]:
    """Train the chosen runs with the engine that the flags name; the outcomes of those that are not finished.

    queries: what each model is asked once it is trained.
    """
    from sweep.worker import Job

    if not chosen:
        return []
    places: Places = from_args(Places, args)
    machine: Machine = from_args(Machine, args)
    tracking: Tracking = from_args(Tracking, args)

    def job(planned: PlannedRun) -> Job:
        asked = queries(planned.config)
        shared = forks.of_run(planned.run)
        return Job(planned.config, str(planned.run.path), places, machine, asked, tracking, group, shared)

    for line in dict.fromkeys(filter(None, (_cost_of(planned.config) for planned in chosen))):
        log.info(line)
    epochs = {str(planned.run.path): planned.config.total_epochs for planned in chosen}
    with SweepBar(len(chosen), sum(epochs.values()), args.quiet) as bar:

        def done(outcome: Outcome) -> None:
            words = outcome.reason if outcome.status == "failed" else f"{outcome.status}: {outcome.reason}"
            bar.done(outcome.folder, outcome.finished, epochs[outcome.folder], words)
            forks.tidy(Path(outcome.folder))

        outcomes = _run([job(planned) for planned in chosen], machine, from_args(EngineOptions, args), bar.epoch, done)
    return [outcome for outcome in outcomes if not outcome.finished]


def _run(
    jobs: Sequence[Job], machine: Machine, options: EngineOptions, on_epoch: EpochHook, on_done: DoneHook
) -> list[Outcome]:
    from artifacts.children import cores
    from sweep.capacity import spread
    from sweep.engine import Rules
    from sweep.local import run_here, run_jobs

    given: dict[str, Any] = {"retries": options.retries, "timeout": options.timeout, "silence": options.silence}
    rules = Rules(**{name: value for name, value in given.items() if value is not None})
    if options.engine == "ray":
        from sweep.ray_engine import run_on_ray

        return run_on_ray(jobs, machine, options.ray_address or "auto", rules, on_epoch, on_done)
    devices, each = spread(jobs[0].config, machine, jobs[0].places.data_dir, len(jobs), cores())
    threads = machine.num_threads or max(1, cores() // len(devices))
    log.info("training %d models, %d at once, %d CPU threads each", len(jobs), len(devices), threads)
    jobs = [dataclasses.replace(job, machine=dataclasses.replace(machine, models_per_device=each)) for job in jobs]
    if not options.watches and (len(jobs) == 1 or machine.jobs == 1):
        return run_here(jobs, threads, on_epoch, on_done)
    return run_jobs(jobs, devices, threads, rules, on_epoch, on_done)


def exit_code(unfinished: Sequence[Outcome]) -> int:
    """Says which runs did not finish; 4 where other processes hold them all, else 3, and 0 when there are none."""
    for outcome in unfinished:
        log.error("%s: %s: %s", outcome.status, outcome.folder, outcome.reason)
    if not unfinished:
        return DONE
    return LOCKED if all(outcome.status == "locked" for outcome in unfinished) else SOME_FAILED


def runs_folder(args: argparse.Namespace) -> Path:
    """`--runs-dir`, refused when it is a file."""
    folder = Path(args.runs_dir)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"argument --runs-dir: {folder} is a file; give a folder")
    return folder
