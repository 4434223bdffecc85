"""What the cheap attacks find with few shadow models, from recorded signals of trained cells.

    python benchmarks/evidence.py signals/*.npz
    python benchmarks/evidence.py cell.npz --a-side 2 3 --targets 8 --output evidence.csv

Each file holds one cell: `phi`, float [M, n, Q], the logit-scaled confidences of M models, and `membership`, bool
[M, n], who trained on what; file names name the cells. For every number k a side, the first targets are attacked, each
example keeping k of the other models that hold it and k of those that do not, drawn with the seed. A k that the cell
has too few models for is left out.

`base` is RMIA's online ratio p / p_bar (BASE, arXiv 2505.24089), the mean over queries of its logarithm: no population
is needed to rank by it. The table: AUC and TPR at 1 % FPR (in percent), means over targets; the CSV: a line for each
cell, k, attack and metric, with the standard error over targets (who share examples and shadow models, so it is a
guide) and the mean difference from Bayes LiRA on the same targets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks import statistics
from attacks.arrays import BoolArray, Float64Array, FloatArray
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.lira import lira
from attacks.lira_bayes import lira_bayes
from attacks.metrics import evaluate_scores
from attacks.rmia import confidence, log_ratio
from benchmarks.lira_spreads import leave_out, most_a_side, read_cell
from cli.help_layout import HelpText

BAYES = "lira_bayes_online"
OF_LIRA = ("lira_online_fixed", "lira_online", "lira_offline_fixed")
ATTACKS = ("loss", *OF_LIRA, "base", BAYES)
METRICS = ("auc", "tpr_at_fpr_0.01")


def base(inputs: AttackInputs) -> Float64Array:
    """The mean over queries of log(p / p_bar), [n]; p_bar: half the mean over IN plus half that over OUT shadows."""
    p, n = confidence(inputs.shadow_phi), inputs.num_examples
    inside, outside = (
        np.where(side[..., None], p, 0.0).sum(axis=1) / count
        for side, count in ((inputs.shadow_in, inputs.in_count), (inputs.shadow_out, inputs.out_count))
    )
    return np.asarray(log_ratio(inputs.target_phi, 0.5 * (inside + outside)).reshape(n, -1).mean(axis=1))


def scores_of(inputs: AttackInputs) -> dict[str, Float64Array]:
    """Scores of one target by attack, [n] each."""
    settings = AttackSettings(seed=inputs.seed, calibrate=False)
    of_lira = lira(inputs, settings)(inputs.target)
    of_bayes = lira_bayes(inputs, settings)(inputs.target)
    return {
        "loss": statistics.log_confidence(inputs.target_phi[:, 0]),
        **{key: of_lira[key].scores for key in OF_LIRA},
        "base": base(inputs),
        BAYES: of_bayes[BAYES].scores,
    }


def measure(scores: Float64Array, inside: BoolArray) -> list[float]:
    """METRICS of one target; NaN where one is not defined."""
    found = evaluate_scores(scores, inside, None, resamples=0)
    values = [found[metric].value for metric in METRICS]
    return [np.nan if value is None else value for value in values]


def compare(
    name: str, phi: FloatArray, membership: BoolArray, kept: int, targets: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The CSV's lines of one cell and one number of models a side."""
    found: dict[str, list[list[float]]] = {attack: [] for attack in ATTACKS}
    for target in range(min(targets, len(membership))):
        for attack, scores in scores_of(leave_out(phi, membership, target, kept, seed)).items():
            found[attack].append(measure(scores, membership[target]))
    values = {attack: np.array(rows) for attack, rows in found.items()}  # [targets, metrics]
    for attack, own in values.items():
        for column, metric in enumerate(METRICS):
            one, gap = own[:, column], own[:, column] - values[BAYES][:, column]
            root = np.sqrt(one.size)
            yield {
                "cell": name,
                "a_side": kept,
                "attack": attack,
                "metric": metric,
                "targets": one.size,
                "mean": one.mean(),
                "standard_error": one.std(ddof=1) / root if one.size > 1 else np.nan,
                "minus_bayes": gap.mean(),
                "minus_bayes_error": gap.std(ddof=1) / root if one.size > 1 else np.nan,
            }


def for_people(rows: pd.DataFrame) -> str:
    """A line for each cell and k, a column for each attack: AUC / TPR at 1 % FPR in percent."""
    wide = rows.pivot(index=["cell", "a_side", "attack"], columns="metric", values="mean")
    words = wide["auc"].map("{:.3f}".format) + " / " + (100.0 * wide[METRICS[1]]).map("{:.1f}".format)
    return str(words.unstack("attack")[list(ATTACKS)].to_string())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".npz with phi and membership of a cell")
    parser.add_argument("--a-side", nargs="+", type=int, default=[2, 3, 5, 7, 8, 31], metavar="K")
    parser.add_argument("--targets", type=int, default=40, metavar="T", help="of each cell, the first; at most")
    parser.add_argument("--seed", type=int, default=0, help="of the models that are kept")
    parser.add_argument("--output", type=Path, help="CSV file; default: the table is only printed")
    args = parser.parse_args(argv)
    if args.targets < 1:
        parser.error(f"argument --targets: {args.targets} is not at least 1")
    rows: list[dict[str, Any]] = []
    for path in args.files:
        phi, membership = read_cell(path)
        for kept in (kept for kept in args.a_side if 2 <= kept <= most_a_side(membership)):
            rows += compare(path.stem, phi, membership, kept, args.targets, args.seed)
    if not rows:
        parser.error("argument --a-side: no number is from 2 to what the cells have models for")
    table = pd.DataFrame(rows)
    print(for_people(table))
    if args.output is not None:
        write_text(args.output, table.round(5).to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
