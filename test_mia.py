# PYTHON_ARGCOMPLETE_OK
"""Check a runs directory: is it fit for attacks, and do the attacks run on it?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from artifacts.missing import check_runs
from cli.main import run_main
from cli.own_parts import add_trust_flag
from cli.parser import CHOICES, add_places, new_parser
from configs.attacks import AttackOptions
from configs.knobs import add_flags
from configs.machine import Machine

# pytest must not take this script for a test module.
__test__ = False


def build_parser() -> argparse.ArgumentParser:
    """The flags of test_mia.py."""
    parser = new_parser(__doc__ or "", "python test_mia.py --runs-dir ./runs")
    add_flags(parser, AttackOptions, "attacks", CHOICES, leave_out=("shadows_from",))  # cells are checked one by one
    add_trust_flag(parser)
    add_places(parser, "runs_dir", "data_dir")
    add_flags(parser, Machine, "machine", CHOICES, only=("device", "num_threads"))
    return parser


def body(args: argparse.Namespace) -> int:
    """Run all checks; every line says what was found."""
    check_runs(Path(args.runs_dir))
    from cli.check_cells import check_cells

    return check_cells(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
