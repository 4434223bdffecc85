"""What run_experiment.py does: train one model, print its figures, export it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cli.config_file import print_config
from cli.earlier import settled
from cli.export import export_targets
from cli.main import DONE, SOME_FAILED
from cli.training import exit_code, given_knobs, runs_folder, template_of, train_planned
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import from_args
from configs.machine import EngineOptions, Places
from evaluation.cells import queries_of
from pruning.registry import METHODS
from sweep.plan import check_knobs_apply, plan_runs, resolve

if TYPE_CHECKING:
    from artifacts.run_dir import RunDir
    from artifacts.signals import QuerySettings


def run_one_experiment(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Train the target (and its shadow models), print the target's figures; the exit code."""
    method = _method_of(args)
    if args.results_dir is not None and not args.export:
        raise UsageError("argument --results-dir: needs --export, whose model card quotes that evaluation")
    check_knobs_apply(given_knobs(args), (method,))

    def plan() -> list[ExperimentConfig]:
        template = template_of(args, method=method, sparsity=args.sparsity or 0.0)
        return [resolve(template, args.data_dir, given_knobs(args))]

    (cell,) = settled(args, plan, args.name)
    if args.print_config:
        print_config(parser, args, [cell])
        return DONE
    args.results_dir = args.results_dir or Places.results_dir
    everything = plan_runs([cell], runs_folder(args), args.name, shadows=args.train_shadows)
    engine: EngineOptions = from_args(EngineOptions, args)

    def queries(config: ExperimentConfig) -> QuerySettings:
        return queries_of(config, args.num_queries, samia=False)

    group = args.name or f"{method}-{args.dataset}"
    trained = train_planned(engine.share(everything), args, queries, group, everything)
    if trained is None:
        return DONE
    target = everything[0].run
    code = exit_code(trained.unfinished)
    if target.summary.is_file():
        _print_figures(target)
        if args.export and export_targets([target], args.data_dir, Path(args.results_dir)):
            return code or SOME_FAILED
    return code


def _print_figures(target: RunDir) -> None:
    summary = target.read_summary()
    print(f"run       {target.path}")
    for name in ("train_accuracy", "heldout_accuracy", "test_accuracy", "measured_sparsity"):
        value = summary[name]
        print(f"{name.split('_')[0]:9} {name.split('_')[1]} {'-' if value is None else f'{100 * value:.2f} %'}")


def _method_of(args: argparse.Namespace) -> str:
    if not args.prune:
        for name in ("prune_method", "sparsity"):
            if getattr(args, name) is not None:
                raise UsageError(f"argument --{name.replace('_', '-')}: needs --prune")
        return next(name for name, method in METHODS.items() if not method.prunes)
    if args.prune_method is None:
        raise UsageError("argument --prune: needs --prune-method as well")
    method = str(args.prune_method)
    fixed = METHODS[method].fixed_sparsity
    if fixed is None and args.sparsity is None:
        raise UsageError("argument --prune: needs --sparsity as well")
    if fixed is not None and args.sparsity not in (None, fixed):
        raise UsageError(f"argument --sparsity: {method} is always at {fixed:g}; leave the flag out")
    return method
