"""The scripts below `mia/`: one parser and one body, told apart by suite and folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.missing import check_file, check_runs
from attacks.registry import SUITES
from cli.export import check_export_signals
from cli.own_parts import add_trust_flag
from cli.parser import CHOICES, add_places, new_parser
from cli.screen import check_screen, run_screen
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.knobs import add_flags, from_args
from configs.machine import Machine

if TYPE_CHECKING:
    from evaluation.attackable import Attackable


def suite_parser(
    description: str | None, example: str, results_dir: str, *places: str, leave_out: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """Flags of a script that attacks what is trained already; `places` are its folder flags beside the results'."""
    parser = new_parser(description or "", example)
    add_flags(parser, AttackOptions, "attacks", CHOICES, leave_out=leave_out)
    add_trust_flag(parser)
    add_places(parser, *places, "results_dir", "data_dir", results_dir=results_dir)
    add_flags(parser, Machine, "machine", CHOICES, only=("device", "num_threads"))
    return parser


def attack_all(args: argparse.Namespace, suites: Sequence[str], table: str = "mia_results.csv") -> int:
    """Attack every cell below --runs-dir; the wide table goes to --summary-dir where there is one."""
    check_runs(Path(args.runs_dir))
    check_export_signals(getattr(args, "export_signals", None))
    if getattr(args, "screen", False):
        check_screen(args)
    from cli.evaluation import run_evaluation
    from evaluation.cells import find_cells

    if getattr(args, "screen", False):
        return run_screen(args, find_cells(Path(args.runs_dir)))
    folder = Path(getattr(args, "summary_dir", args.results_dir))
    return run_evaluation(args, suites, find_cells(Path(args.runs_dir)), folder / table)


def attack_one(args: argparse.Namespace) -> int:
    """Attack the trained cell in --run-dir, or the cells whose signals are the files of --signals."""
    if (args.run_dir is None) == (args.signals is None):
        raise UsageError("argument --run-dir: give either the folder of a trained cell, or --signals FILE.npz")
    for name in args.signals or ():
        check_file(Path(name), "--signals")
    if args.screen:
        check_screen(args)
    if args.run_dir is not None:
        check_runs(Path(args.run_dir), "--run-dir")
    from cli.evaluation import run_evaluation
    from evaluation.cells import find_cell
    from evaluation.foreign_cells import read_cells

    if args.signals is not None:
        options: AttackOptions = from_args(AttackOptions, args)
        cells: Sequence[Attackable] = read_cells([Path(name) for name in args.signals], options)
    else:
        cells = [find_cell(Path(args.run_dir))]
    if args.screen:
        return run_screen(args, cells)
    return run_evaluation(args, SUITES, cells, Path(args.results_dir) / "mia_results.csv")
