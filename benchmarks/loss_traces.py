"""What the loss traces of a training are worth: how far they rank its members as Bayes LiRA does, on recorded cells.

    python train.py --preset quick --sparsities 0.95 --no-mia --trace-losses --runs-dir runs
    python benchmarks/loss_traces.py --record runs     # keeps two figures a member beside the study's signals
    python benchmarks/loss_traces.py                   # the table from what is kept, in seconds; nothing is trained

For each target Spearman's correlation over its members with Bayes LiRA's score on that target, and how many of the
tenth that a figure puts first Bayes LiRA puts among its own first tenth (chance: a tenth); means over the targets of a
cell with 95 % t intervals over targets, which share shadow models. Figures: the interquartile range of a member's
losses over epochs (`attacks.screen.trace_iqr`), their mean, and the finished network's loss. `permuted` is the null:
the range dealt out to the members anew, NULL_DRAWS times, with the mean and the 2.5 and 97.5 percentiles of the cell's
means. Nothing of the traces enters the attack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import write_atomic, write_text
from attacks.arrays import BoolArray, Float64Array, FloatArray
from attacks.evaluate import learn_each, score
from attacks.interface import AttackSettings
from attacks.screen import losses, trace_iqr
from cli.main import DONE, run_main
from cli.parser import new_parser
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.machine import Places
from evaluation.attackable import Attackable
from evaluation.cells import Cell, find_cells, load_cell
from evaluation.foreign_cells import read_cells
from evaluation.screen import BAYES
from evaluation.write import pack_arrays

STUDY = Path(__file__).resolve().parent / "results" / "digits"
KEPT = ("iqr", "mean")  # of a trace
FIRST = 0.1  # the share of members that a figure puts first
NULL, NULL_DRAWS = "permuted", 200
MEASURES = ("spearman", "first_tenth")


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = new_parser("How far loss traces rank members as Bayes LiRA does.", "python benchmarks/loss_traces.py")
    kept = parser.add_argument_group("evidence")
    kept.add_argument(
        "--study", default=str(STUDY), metavar="DIR", help="folder with signals/*.npz (default: recorded)"
    )
    kept.add_argument(
        "--record", metavar="DIR", help="keep the figures of the runs in this folder, of the very networks of the study"
    )
    return parser


def body(args: argparse.Namespace) -> int:
    """Record, or write the table."""
    study = Path(args.study)
    files = sorted((study / "signals").glob("*.npz"))
    if not files:
        raise UsageError(f"argument --study: {study} has no recorded signals (signals/*.npz)")
    recorded = {cell.experiment: cell for cell in read_cells(files, AttackOptions())}
    path = study / "loss_traces.npz"
    if args.record is not None:
        figures = kept_figures(find_cells(Path(args.record), "--record"), recorded)
        write_atomic(path, lambda stream: pack_arrays(stream, figures))
    arrays: dict[str, Any] = dict(read_arrays(path))
    names = sorted({name.partition("/")[0] for name in arrays})
    found = {name: of_cell(recorded[name], {one: arrays[f"{name}/{one}"] for one in KEPT}) for name in names}
    table = pd.DataFrame(rows_of(found))
    write_text(study / "loss_traces.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    print(table.to_string(index=False, float_format="%.3f"))
    return DONE


def kept_figures(cells: Sequence[Cell], recorded: Mapping[str, Attackable]) -> dict[str, Any]:
    """By cell and figure, float16 [M, n], NaN for non-members.

    UsageError where a model has no traces, or is not the network whose signals the study keeps.
    """
    arrays: dict[str, Any] = {}
    for cell in cells:
        if cell.experiment not in recorded:
            raise UsageError(f"argument --record: the study has no cell {cell.experiment}")
        figures: dict[str, Any] = {}
        for row, index in enumerate(sorted(cell.models)):
            both = (cell, recorded[cell.experiment])
            ours, theirs = (one.ask(index, Places(), "cpu", plain(one)) for one in both)
            traces = cell.traces_of(index)
            if traces is None:
                raise UsageError(f"argument --record: {cell.origin(index)} was trained without --trace-losses")
            if not np.array_equal(ours.phi[:, 0], theirs.phi[:, 0]):
                raise UsageError(f"argument --record: {cell.origin(index)} is not the network whose signals are kept")
            for name, values in zip(
                KEPT, (trace_iqr(traces.losses), traces.losses.mean(axis=0, dtype=float)), strict=True
            ):
                shape = len(cell.models), len(ours.pool)
                figures.setdefault(name, np.full(shape, np.nan, np.float16))[row, ours.membership] = values
        arrays |= {f"{cell.experiment}/{name}": values for name, values in figures.items()}
    return arrays


def plain(cell: Attackable) -> Any:
    """The plain query."""
    return cell.queries(1, samia=False, population=0)


def of_cell(cell: Attackable, figures: Mapping[str, FloatArray]) -> dict[str, Float64Array]:
    """By figure, MEASURES of each target, [T, 2]; of the null for each draw, [T, NULL_DRAWS, 2]."""
    signals = load_cell(cell, Places(), "cpu", plain(cell))
    models, targets = signals.models(cell.seed), range(len(signals.indices))
    found: dict[str, list[Any]] = {}
    learned = learn_each(models, targets, (BAYES,), AttackSettings(seed=cell.seed))
    for target, knowledge in zip(targets, learned, strict=True):
        inside = signals.membership[target]
        scores = score(knowledge, models.outputs(target))[BAYES].spread()[inside]
        ranges, means = (figures[name][target, inside].astype(np.float64) for name in KEPT)
        ranks = {"trace_iqr": ranges, "trace_mean": means, "loss": losses(signals.phi[target, inside, 0])}
        for name, values in ranks.items():
            found.setdefault(name, []).append(measured(values, scores))
        draws = np.random.default_rng((cell.seed, target))
        null = [measured(draws.permutation(ranges), scores) for _ in range(NULL_DRAWS)]
        found.setdefault(NULL, []).append(null)
    return {name: np.array(values) for name, values in found.items()}


def measured(ours: Float64Array, theirs: Float64Array) -> tuple[float, float]:
    """MEASURES of two rankings [n] of the same members: Spearman's correlation, and what share of those that ours puts
    first theirs puts first."""
    return float(stats.spearmanr(ours, theirs).statistic), float(first(theirs)[first(ours)].mean())


def first(values: Float64Array) -> BoolArray:
    """Bool [n], the FIRST share of the largest; the earlier of equal ones."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(-values, kind="stable")[: round(FIRST * len(values))]] = True
    return chosen


def rows_of(found: Mapping[str, Mapping[str, Float64Array]]) -> list[dict[str, Any]]:
    """A row per cell and figure."""
    rows = []
    for cell, figures in found.items():
        for name, values in figures.items():
            row: dict[str, Any] = {"experiment": cell, "figure": name, "num_targets": len(values)}
            low, high = null_range(values) if name == NULL else t_interval(values)
            for place, column in enumerate(MEASURES):
                row |= {column: values[..., place].mean()}
                row |= {f"{column}_low": low[place], f"{column}_high": high[place]}
            rows.append(row)
    return rows


def t_interval(values: Float64Array) -> Float64Array:
    """Ends [2, k] of the 95 % t interval of the mean over targets, of values [T, k]."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.stack([values.mean(axis=0) - half, values.mean(axis=0) + half])


def null_range(values: Float64Array) -> Float64Array:
    """Ends [2, k] of what 95 % of draws give as their mean over targets, of values [T, draws, k]."""
    ends: Float64Array = np.percentile(values.mean(axis=0), [2.5, 97.5], axis=0)
    return ends


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
