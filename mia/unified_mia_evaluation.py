# PYTHON_ARGCOMPLETE_OK
"""Run every attack on every cell of a runs directory and write one combined table."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence

from attacks.registry import SUITES
from cli.export import add_export_signals_flag
from cli.gate import add_gate_flag
from cli.main import run_main
from cli.screen import add_screen_flag
from cli.suites import attack_all, suite_parser


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    example = "python mia/unified_mia_evaluation.py --runs-dir ./runs"
    parser = suite_parser(__doc__, example, "results/mia", "runs_dir", "summary_dir")
    add_screen_flag(parser)
    add_gate_flag(parser)
    add_export_signals_flag(parser)
    return parser


def body(args: argparse.Namespace) -> int:
    """Attack every cell below --runs-dir."""
    return attack_all(args, SUITES, "comprehensive_mia_results.csv")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
