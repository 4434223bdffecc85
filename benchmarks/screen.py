"""How far figures of one network by itself order cells and examples as Bayes LiRA does, on recorded signals.

    python benchmarks/screen.py                  # the studies digits and zoo below benchmarks/results

For each study: Spearman's correlation over its cells of accuracy gap, loss gap and LOSS AUC (means over all models,
each a target) with the AUC of an attack, with an interval from 10,000 draws of cells; and over the examples of a
target that of the loss with the score of Bayes LiRA, averaged over targets and cells. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from artifacts.signals import Signals
from attacks.arrays import Float64Array
from attacks.screen import losses, screen
from cli.main import DONE, run_main
from cli.parser import new_parser
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.errors import UsageError
from configs.machine import Places
from evaluation.attack import Attacker, CellScores
from evaluation.foreign_cells import read_cells
from evaluation.gather import gather

RESULTS = Path(__file__).resolve().parent / "results"
BAYES = "lira_bayes"
STUDIES = ("digits", "zoo")  # of cells enough to be put in an order
FIGURES = ("accuracy_gap", "loss_gap", "loss_auc")
ATTACKS = (BAYES, "lira", "rmia")  # the headline attack, and what others say
EXAMPLES = {"level": "examples", "figure": "loss", "attack": BAYES}
RESAMPLES = 10_000


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = new_parser("What a screen without shadow models is worth.", "python benchmarks/screen.py zoo")
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help=f"folders below --results (default: {' '.join(STUDIES)})"
    )
    parser.add_argument("--results", default=str(RESULTS), metavar="DIR", help="folder of the studies")
    parser.add_argument("--output", default=str(RESULTS / "screen.csv"), metavar="FILE", help="(default: recorded)")
    return parser


def body(args: argparse.Namespace) -> int:
    """Measure every study and write the table."""
    root = Path(args.results)
    names = args.studies or STUDIES
    rows: list[dict[str, Any]] = []
    for name in names:
        files = sorted((root / name / "signals").glob("*.npz"))
        if not files:
            raise UsageError(f"argument STUDY: {root / name} has no recorded signals (signals/*.npz)")
        rows += [{"study": name, **row} for row in worth(files, pd.read_csv(root / name / "summary.csv"))]
    table = pd.DataFrame(rows)
    write_text(Path(args.output), table.to_csv(index=False, lineterminator="\n", float_format="%.3f"))
    print(table.to_string(index=False, float_format="%.3f"))
    return DONE


def worth(files: Sequence[Path], summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a study: level (cells, examples), figure, attack, Spearman's correlation, its interval and how many
    cells. summary: the study's summary.csv, with every attack's mean AUC."""
    options = AttackOptions(num_targets=ALL_TARGETS, shadows_from=("own",))
    evidence = gather(read_cells(files, options), Attacker((BAYES,), options, Places(), "cpu"))
    scored = [one for one in evidence.scored if BAYES in one.results]
    by_itself = np.array([cell_figures(one) for one in scored])
    aucs = summary[summary["metric"] == "auc"].pivot(index="experiment", columns="attack", values="mean")
    leakage = aucs.loc[[one.asked.experiment for one in scored]]
    rows = [
        {"level": "cells", "figure": figure, "attack": attack}
        | correlation(by_itself[:, i], leakage[attack].to_numpy(dtype=float))
        | {"num_cells": len(scored)}
        for attack in ATTACKS
        for i, figure in enumerate(FIGURES)
    ]
    within = [example_correlation(one) for one in scored]
    return [*rows, EXAMPLES | {"spearman": np.mean(within), "num_cells": len(scored)}]


def asked_of(one: CellScores) -> list[Signals]:
    """What the screen sees of each target: the plain query's answers."""
    cell = one.asked.cell
    queries = cell.queries(1, samia=False, population=0)
    return [cell.ask(target, Places(), "cpu", queries) for target in one.asked.targets]


def cell_figures(one: CellScores) -> list[float]:
    """Means over the cell's targets of FIGURES."""
    found = [screen(signals.phi[:, 0], signals.membership) for signals in asked_of(one)]
    trained = [one.asked.cell.summary_of(target) for target in one.asked.targets]
    gaps = [summary["train_accuracy"] - summary["heldout_accuracy"] for summary in trained]
    loss_aucs = [each.loss_auc.value for each in found if each.loss_auc.value is not None]
    return [float(np.mean(gaps)), float(np.mean([each.loss_gap for each in found])), float(np.mean(loss_aucs))]


def example_correlation(one: CellScores) -> float:
    """Mean over targets of Spearman's correlation, over the target's examples, of minus the loss with Bayes LiRA."""
    pairs = zip(asked_of(one), one.scores(BAYES), strict=True)
    of_targets = [
        stats.spearmanr(-losses(signals.phi[:, 0]), scores, nan_policy="omit").statistic for signals, scores in pairs
    ]
    return float(np.mean(of_targets))


def correlation(ours: Float64Array, leakage: Float64Array, seed: int = 0) -> dict[str, float]:
    """Spearman's correlation over cells, with the 95 % percentile interval of drawing cells anew."""
    drawn = np.random.default_rng(seed).integers(len(ours), size=(RESAMPLES, len(ours)))
    ranks = [stats.rankdata(values[drawn], axis=1) for values in (ours, leakage)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    norms = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    values = (centred[0] * centred[1]).sum(axis=1)[norms > 0] / norms[norms > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return {"spearman": float(stats.spearmanr(ours, leakage).statistic), "ci_low": low, "ci_high": high}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
