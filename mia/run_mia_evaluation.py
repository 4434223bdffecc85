# PYTHON_ARGCOMPLETE_OK
"""Run the attacks on one cell, named by the folder of its target."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence

from cli.main import run_main
from cli.suites import suite_parser
from mia.registry import SUITES


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    example = "python mia/run_mia_evaluation.py --run-dir runs/static/sparsity_0.8/cifar10 --attacks lira samia"
    parser = suite_parser(__doc__, example, "results/cell", leave_out=("shadows_from",))  # there is one cell
    parser.add_argument_group("cell").add_argument(
        "--run-dir", required=True, metavar="DIR", help="folder of the cell's target model"
    )
    return parser


def body(args: argparse.Namespace) -> int:
    """Attack the cell in --run-dir."""
    from cli.evaluation import run_evaluation
    from sweep.cells import find_cell

    return run_evaluation(args, SUITES, [find_cell(Path(args.run_dir))], Path(args.results_dir) / "mia_results.csv")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
