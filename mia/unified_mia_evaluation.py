"""Run every attack on every cell of a runs directory and write one combined table."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence

from cli.main import run_main
from cli.parser import CHOICES, add_places, new_parser
from configs.config import AttackOptions, Machine
from configs.knobs import add_flags

SUITES = ("advanced", "wemem", "baseline")


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = new_parser(__doc__ or "", "python mia/unified_mia_evaluation.py --runs-dir ./runs")
    add_flags(parser, AttackOptions, "attacks", CHOICES)
    add_places(parser, "runs_dir", "results_dir", "summary_dir", "data_dir", results_dir="results/mia")
    add_flags(parser, Machine, "machine", CHOICES, only=("device", "num_threads"))
    return parser


def body(args: argparse.Namespace) -> int:
    """Attack every cell below --runs-dir."""
    from cli.evaluation import run_evaluation
    from sweep.cells import find_cells

    return run_evaluation(
        args, SUITES, find_cells(Path(args.runs_dir)), Path(args.summary_dir) / "comprehensive_mia_results.csv"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
