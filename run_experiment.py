# PYTHON_ARGCOMPLETE_OK
"""Train one model (dense, or pruned with --prune), the same way as train.py does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cli.export import add_export_flag
from cli.main import run_main
from cli.own_parts import add_trust_flag
from cli.parser import CHOICES, add_places, add_training_flags, check_training_inputs, new_parser
from configs.attacks import AttackOptions
from configs.experiment import ExperimentConfig
from configs.knobs import NamesAndForms, add_flags
from pruning.registry import BASELINE


def build_parser() -> argparse.ArgumentParser:
    """The flags of run_experiment.py."""
    parser = new_parser(
        __doc__ or "", "python run_experiment.py --name static_80 --prune --prune-method static --sparsity 0.8"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--name", metavar="NAME", help="folder below --runs-dir (default: <method>/sparsity_S/<dataset>)")
    run.add_argument(
        "--prune",
        action="store_true",
        help="train a pruned network; needs --prune-method, and --sparsity where the method has no fixed one",
    )
    pruned = NamesAndForms([name for name in CHOICES["methods"] if name != BASELINE], ("FILE.py:Class",))
    words = ", ".join([*pruned, *pruned.forms])
    run.add_argument("--prune-method", choices=pruned, metavar="NAME", help=f"how it is pruned: {words}")
    add_flags(parser, ExperimentConfig, "sparsity", CHOICES, only=("sparsity",))
    parser.set_defaults(sparsity=None)
    run.add_argument(
        "--train-shadows", action="store_true", help="train the --num-shadows shadow models of this target as well"
    )
    add_training_flags(parser)
    add_flags(parser, AttackOptions, "queries", CHOICES, only=("num_queries",))
    add_export_flag(parser)
    add_trust_flag(parser)
    add_places(parser, "runs_dir", "data_dir", "results_dir")
    results = next(action for action in parser._actions if action.dest == "results_dir")
    results.default, results.help = None, "with --export: the evaluation that the card quotes (default: results/mia)"
    return parser


def body(args: argparse.Namespace) -> int:
    """Train the model and print its figures."""
    if not args.print_config:
        check_training_inputs(args)
    from cli.experiment import run_one_experiment

    return run_one_experiment(args, build_parser())


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
