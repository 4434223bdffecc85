"""What train.py does: plan every model of a sweep, train what is missing, attack, write tables and exports."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.config_file import print_config
from cli.detectable import forecast, recorded
from cli.earlier import settled
from cli.export import export_targets
from cli.main import DONE, SOME_FAILED
from cli.training import exit_code, given_knobs, runs_folder, template_of, train_planned
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import from_args
from configs.machine import EngineOptions
from configs.sweep import SweepOptions
from sweep.plan import PlannedRun, of_shard, plan_cells, plan_runs
from sweep.planned import remember

if TYPE_CHECKING:
    from artifacts.signals import QuerySettings

log = logging.getLogger("train")


def run_sweep(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Plan, train what is missing, evaluate; the exit code."""
    engine: EngineOptions = from_args(EngineOptions, args)
    if args.export and engine.shard is not None:
        raise UsageError("argument --export: cannot go with --shard; the last command, which attacks, exports")

    def plan() -> Sequence[ExperimentConfig]:
        return plan_cells(template_of(args), from_args(SweepOptions, args), args.data_dir, given_knobs(args))

    cells = settled(args, plan)
    if args.attacks is not None and "attacks" not in args.named:
        args.attacks = _attacks_of_preset(args.attacks, args.num_shadows)
    options: AttackOptions = from_args(AttackOptions, args)
    if args.print_config:
        print_config(parser, args, cells)
        return DONE
    if not args.no_mia:
        from cli.evaluation import check_shadows

        check_shadows(options, args.num_shadows, "every cell")
        _check_names(cells, runs_folder(args), options)
    everything = plan_runs(cells, runs_folder(args))
    planned = of_shard(chosen_models(everything, args.models), engine)
    group = f"sweep-{args.dataset}-{args.arch}"
    trained = train_planned(
        planned, args, _queries(args, options), group, everything, before=lambda: remember(cells, runs_folder(args))
    )
    if trained is None:
        _print_forecast(cells, args, options)
        return DONE
    unfinished = trained.unfinished
    if engine.shard is not None:
        print(f"shard     {engine.shard}: {len(planned) - len(unfinished)} of its {len(planned)} runs are finished")
        print("next      after all shards, the same command with --skip-existing instead of --shard attacks")
        return exit_code(unfinished)
    if unfinished and len(unfinished) == len(planned):
        return exit_code(unfinished)  # nothing to attack
    code = _evaluate(args, group, trained=trained.any)
    if args.export:
        targets = [one.run for one in planned if one.config.model_index == 0 and one.run.summary.is_file()]
        if export_targets(targets, args.data_dir, Path(args.results_dir)):
            code = code or SOME_FAILED
    return exit_code(unfinished) or code


def _attacks_of_preset(names: Sequence[str], num_shadows: int) -> list[str]:
    """Those of a preset's attacks for which a flag leaves shadow models enough."""
    from attacks.registry import ATTACKS

    return [name for name in names if ATTACKS[name].min_shadows <= num_shadows]


def chosen_models(planned: Sequence[PlannedRun], models: Sequence[int]) -> list[PlannedRun]:
    """The runs of these models, all for none. UsageError for a model that no cell has."""
    most = max(run.config.num_shadows for run in planned)
    beyond = next((model for model in models if model > most), None)
    if beyond is not None:
        raise UsageError(f"argument --models: {beyond} is not planned; give 0 to {most}, or more --num-shadows")
    return [run for run in planned if not models or run.config.model_index in models]


def _print_forecast(cells: Sequence[ExperimentConfig], args: argparse.Namespace, options: AttackOptions) -> None:
    """`--dry-run`: which difference would be found, of a sweep that is attacked as the recorded cells were."""
    models = args.num_shadows + 1
    attacked = not args.no_mia and (options.attacks is None or "lira_bayes" in options.attacks)
    every_target = options.targets_of(trains_network=False) >= models
    if attacked and every_target and len(cells) > 1 and args.split == "pairs":
        print(forecast(models, *recorded()))


def _check_names(cells: Sequence[ExperimentConfig], runs_dir: Path, options: AttackOptions) -> None:
    """Refuse a --shadows-from that will name no cell before anything is trained, not after."""
    from artifacts.run_dir import RunDir, experiment_name
    from evaluation.attack import check_names
    from evaluation.cells import find_cells

    planned = [experiment_name(cell, RunDir.of(cell, runs_dir)) for cell in cells]
    named = set(options.shadows_from or ()) - {*planned, "all", "own"}
    there = [cell.experiment for cell in find_cells(runs_dir)] if named and runs_dir.is_dir() else []
    check_names(options, [*planned, *there])


def _queries(args: argparse.Namespace, options: AttackOptions) -> Callable[[ExperimentConfig], QuerySettings]:
    """What a trained model is asked: all that the attacks to come will want."""
    from attacks.registry import ATTACKS
    from evaluation.cells import queries_of

    wanted = ATTACKS if options.attacks is None else options.attacks
    attacks = [ATTACKS[name] for name in wanted] if args.num_shadows > 0 and not args.no_mia else []
    samia = any(attack.needs_sensitivity for attack in attacks)
    population = options.rmia_population if any(attack.needs_population for attack in attacks) else 0
    return lambda config: queries_of(config, args.num_queries, samia, population, options.samia_examples)


def _evaluate(args: argparse.Namespace, group: str, trained: bool) -> int:
    """Attack everything below --runs-dir (unless --no-mia) and write the two summary tables.

    trained: whether this command trained something, so that an older training table had to change.
    """
    import torch

    from artifacts.atomic_writes import clear_temporaries, file_hash
    from artifacts.children import cores
    from attacks.registry import SUITES
    from cli import evaluation
    from configs.machine import Tracking
    from evaluation.cells import find_cells
    from reporting import tables
    from training.tracking import Tracker

    torch.set_num_threads(args.num_threads or cores())
    cells = find_cells(Path(args.runs_dir))
    summary_dir = Path(args.summary_dir)
    training_file = summary_dir / "training_results.csv"
    clear_temporaries(summary_dir, training_file.name)
    before = file_hash(training_file) if training_file.is_file() else None
    after = tables.write_csv(training_file, tables.training_table(evaluation.training_rows(cells)))
    if not trained and before not in (None, after):
        log.warning("%s did not say what the runs say: it is written anew", training_file)
    if args.no_mia:
        print(f"training  {training_file}")
        return DONE
    attacker = evaluation.attacker_of(args, SUITES)
    wide = summary_dir / "comprehensive_mia_results.csv"
    tracker = Tracker(from_args(Tracking, args), group, Path(args.results_dir))
    with evaluation.results_folder(attacker, wide):
        code = evaluation.finish(evaluation.evaluate(cells, attacker), attacker, wide, tracker)
    print(f"training {training_file}")
    return code
