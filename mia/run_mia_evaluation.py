# PYTHON_ARGCOMPLETE_OK
"""Run the attacks on one trained cell, or on other people's models by their signals in files."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.main import run_main
from cli.screen import add_screen_flag
from cli.suites import attack_one, suite_parser

if TYPE_CHECKING:
    pass


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    example = "python mia/run_mia_evaluation.py --run-dir runs/static/sparsity_0.8/cifar10 --attacks lira samia"
    parser = suite_parser(__doc__, example, "results/cell", leave_out=("shadows_from",))  # there is one cell
    cell = parser.add_argument_group("cell (one of the two)")
    cell.add_argument("--run-dir", metavar="DIR", help="folder of a trained cell's target model")
    cell.add_argument(
        "--signals",
        nargs="+",
        metavar="FILE",
        help="logits, labels and membership of models of any origin (.npz), or a table of their probabilities (.csv, "
        ".parquet), a cell a file, compared where they agree on who holds what (docs/signals.md)",
    )
    add_screen_flag(parser)
    return parser


def body(args: argparse.Namespace) -> int:
    """Attack the cell in --run-dir, or those in --signals."""
    return attack_one(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
