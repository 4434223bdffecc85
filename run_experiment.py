# PYTHON_ARGCOMPLETE_OK
"""Train one model (dense, or pruned with --prune), the same way as train.py does."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.export import add_export_flag, export_targets
from cli.main import DONE, SOME_FAILED, run_main
from cli.parser import CHOICES, add_places, add_training_flags, check_training_inputs, new_parser
from configs.config import AttackOptions, EngineOptions, ExperimentConfig, Places
from configs.errors import UsageError
from configs.knobs import add_flags, from_args
from pruning.registry import METHODS

if TYPE_CHECKING:
    from artifacts.signals import QuerySettings

log = logging.getLogger("run_experiment")


def build_parser() -> argparse.ArgumentParser:
    """The flags of run_experiment.py."""
    parser = new_parser(
        __doc__ or "", "python run_experiment.py --name static_80 --prune --prune-method static --sparsity 0.8"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--name", metavar="NAME", help="folder below --runs-dir (default: <method>/sparsity_S/<dataset>)")
    run.add_argument("--prune", action="store_true", help="train a pruned network; needs --prune-method and --sparsity")
    pruned = [name for name, method in METHODS.items() if method.prunes]
    run.add_argument("--prune-method", choices=pruned, help="how it is pruned")
    add_flags(parser, ExperimentConfig, "sparsity", CHOICES, only=("sparsity",))
    parser.set_defaults(sparsity=None)
    run.add_argument(
        "--train-shadows", action="store_true", help="train the --num-shadows shadow models of this target as well"
    )
    add_training_flags(parser)
    add_flags(parser, AttackOptions, "queries", CHOICES, only=("num_queries",))
    add_export_flag(parser)
    add_places(parser, "runs_dir", "data_dir", "results_dir")
    results = next(action for action in parser._actions if action.dest == "results_dir")
    results.default, results.help = None, "with --export: the evaluation that the card quotes (default: results/mia)"
    return parser


def body(args: argparse.Namespace) -> int:
    """Check, train, and print the figures of the target."""
    if not args.print_config:
        check_training_inputs(args)
    from cli.config_file import print_config
    from cli.training import choose_runs, exit_code, prepare_runs, print_plan, runs_folder, template_of, train_runs
    from sweep.cells import queries_of
    from sweep.plan import check_knobs_apply, plan_runs, resolve

    method = _method_of(args)
    if args.results_dir is not None and not args.export:
        raise UsageError("argument --results-dir: needs --export, whose model card quotes that evaluation")
    template = template_of(args, method=method, sparsity=args.sparsity or 0.0)
    check_knobs_apply(template, (method,))
    cell = resolve(template, args.data_dir)
    if args.print_config:
        print_config(build_parser(), args, [cell])
        return DONE
    args.results_dir = args.results_dir or Places.results_dir
    engine: EngineOptions = from_args(EngineOptions, args)
    everything = plan_runs([cell], runs_folder(args), args.name, shadows=args.train_shadows)
    planned = engine.share(everything)
    if args.dry_run:
        print_plan(planned, engine.shard)
        return DONE
    chosen = choose_runs(planned, args.skip_existing, args.overwrite)
    prepare_runs(chosen, args, planned)

    def queries(config: ExperimentConfig) -> QuerySettings:
        return queries_of(config, args.num_queries, samia=False)

    unfinished = train_runs(chosen, args, queries, group=args.name or f"{method}-{args.dataset}")
    target = everything[0].run
    if target.summary.is_file():
        summary = target.read_summary()
        print(f"run       {target.path}")
        for name in ("train_accuracy", "heldout_accuracy", "test_accuracy", "measured_sparsity"):
            value = summary[name]
            print(f"{name.split('_')[0]:9} {name.split('_')[1]} {'-' if value is None else f'{100 * value:.2f} %'}")
        if args.export and export_targets([target], args.data_dir, Path(args.results_dir)):
            return exit_code(unfinished) or SOME_FAILED
    return exit_code(unfinished)


def _method_of(args: argparse.Namespace) -> str:
    if not args.prune:
        for name in ("prune_method", "sparsity"):
            if getattr(args, name) is not None:
                raise UsageError(f"argument --{name.replace('_', '-')}: needs --prune")
        return "dense"
    if args.prune_method is None or args.sparsity is None:
        missing = "--prune-method" if args.prune_method is None else "--sparsity"
        raise UsageError(f"argument --prune: needs {missing} as well")
    return str(args.prune_method)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
