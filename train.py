# PYTHON_ARGCOMPLETE_OK
"""Train a sweep of dense and pruned networks with their shadow models, attack them, and write tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.export import add_export_flag
from cli.main import run_main
from cli.own_parts import add_trust_flag
from cli.parser import CHOICES, add_places, add_training_flags, check_training_inputs, method_examples, new_parser
from cli.status import add_status_flags, show_status
from configs.attacks import AttackOptions
from configs.knobs import add_flags
from configs.sweep import SweepOptions


def build_parser() -> argparse.ArgumentParser:
    """The flags of train.py."""
    parser = new_parser(__doc__ or "", "python train.py --preset quick", *method_examples())
    add_status_flags(parser)
    add_flags(parser, SweepOptions, "sweep", CHOICES)
    add_training_flags(parser)
    attacks = add_flags(parser, AttackOptions, "attacks", CHOICES)
    attacks.add_argument("--no-mia", action="store_true", help="train only; attack nothing")
    add_export_flag(parser)
    add_trust_flag(parser)
    add_places(parser, "runs_dir", "results_dir", "summary_dir", "data_dir")
    return parser


def body(args: argparse.Namespace) -> int:
    """Show the state of a sweep, or run one."""
    if args.status or args.watch is not None:
        return show_status(Path(args.runs_dir), args.watch)
    if not args.print_config:
        check_training_inputs(args)
    from cli.sweep import run_sweep

    return run_sweep(args, build_parser())


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
