"""The scripts below `mia/`: one parser and one body, told apart by suite and folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from artifacts.missing import check_runs
from cli.parser import CHOICES, add_places, new_parser
from configs.config import AttackOptions, Machine
from configs.knobs import add_flags


def suite_parser(
    description: str | None, example: str, results_dir: str, *places: str, leave_out: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """Flags of a script that attacks what is trained already; `places` are its folder flags beside the results'."""
    parser = new_parser(description or "", example)
    add_flags(parser, AttackOptions, "attacks", CHOICES, leave_out=leave_out)
    add_places(parser, *places, "results_dir", "data_dir", results_dir=results_dir)
    add_flags(parser, Machine, "machine", CHOICES, only=("device", "num_threads"))
    return parser


def attack_all(args: argparse.Namespace, suites: Sequence[str], table: str = "mia_results.csv") -> int:
    """Attack every cell below --runs-dir; the wide table goes to --summary-dir where there is one."""
    check_runs(Path(args.runs_dir))
    from cli.evaluation import run_evaluation
    from sweep.cells import find_cells

    folder = Path(getattr(args, "summary_dir", args.results_dir))
    return run_evaluation(args, suites, find_cells(Path(args.runs_dir)), folder / table)
