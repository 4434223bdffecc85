"""What test_mia.py does: check files, membership and attacks of every cell, a line per finding."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attacks.registry import ATTACKS, SUITES
from cli.evaluation import attacker_of, evaluate
from cli.main import DONE, SOME_FAILED
from configs.errors import RunError
from configs.knobs import from_args
from configs.machine import Places
from evaluation.cells import Cell, find_cells, load_cell, queries_of

Finding = tuple[bool, str]


def check_files(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Every run's files verify, every cell has its target and all of its shadows."""
    for cell in cells:
        for problem in cell.problems:
            yield False, problem
        wanted = cell.config.num_shadows
        complete = 0 in cell.models and cell.num_shadows == wanted
        state = "target" if 0 in cell.models else "no finished target"
        yield complete, f"{cell.experiment}: {state}, {cell.num_shadows} of {wanted} shadow models"


def check_membership(cells: Sequence[Cell], args: argparse.Namespace) -> Iterator[Finding]:
    """Membership is balanced, and members fit better than non-members, as they must if training used them."""
    for cell in cells:
        if cell.reason:
            yield False, f"{cell.experiment}: {cell.reason}"
            continue
        try:
            queries = queries_of(cell.config, args.num_queries, samia=False)
            signals = load_cell(cell, from_args(Places, args), args.device, queries)
        except RunError as error:
            yield False, f"{cell.experiment}: {error}"
            continue
        share = 100 * signals.membership.mean(axis=1)
        both = bool(share.min() > 0 and share.max() < 100)
        yield both, f"{cell.experiment}: members are {share.min():.1f} to {share.max():.1f} % of each model's pool"
        phi = signals.phi[:, :, 0]
        gaps = [float(p[inside].mean() - p[~inside].mean()) for p, inside in zip(phi, signals.membership, strict=True)]
        gap = float(np.mean(gaps))
        yield gap > 0, f"{cell.experiment}: members' mean phi is {gap:+.3f} from non-members'"


def check_attacks(cells: Sequence[Cell], args: argparse.Namespace) -> Iterator[Finding]:
    """Every attack that the cell's shadows allow runs and gives finite scores."""
    attacker = attacker_of(args, SUITES)
    for cell in cells:
        if cell.reason:
            continue
        wanted = tuple(name for name in attacker.names if ATTACKS[name].min_shadows <= cell.num_shadows)
        found = evaluate([cell], replace(attacker, names=wanted))
        ran = {row["attack"] for row in found.tidy}
        for name in wanted:
            auc = next((row["value"] for row in found.tidy if (row["attack"], row["metric"]) == (name, "auc")), None)
            yield name in ran, f"{cell.experiment}: {name} " + ("did not run" if auc is None else f"AUC {auc:.3f}")


def check_cells(args: argparse.Namespace) -> int:
    """Run all checks; every line says what was found."""
    cells = find_cells(Path(args.runs_dir))
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: check_files(cells),
        lambda: check_membership(cells, args),
        lambda: check_attacks(cells, args),
    )
    passed = failed = 0
    for check in checks:
        for good, text in check():
            print(f"{'ok  ' if good else 'FAIL'} {text}")
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} checks passed, {failed} failed")
    return SOME_FAILED if failed else DONE
