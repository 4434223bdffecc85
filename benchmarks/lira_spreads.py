"""From how many shadow models per side does LiRA gain from per-example spreads? Measured on signals of trained cells.

    python benchmarks/lira_spreads.py digits_dense.npz digits_dpf_90.npz
    python benchmarks/lira_spreads.py cell.npz --a-side 4 8 16 --output spreads.csv

Each file holds one cell: `phi`, float [M, n, Q], the logit-scaled confidences of M models, and `membership`, bool
[M, n], who trained on what; file names name the cells. For every number k a side, every model plays the target once,
and each example keeps k of the other models that hold it and k of those that do not, drawn with the seed. A k that the
cell has too few models for is left out.

The table: a line for each file, k and metric, with the means over targets of both variants, and of their difference
(per-example minus fixed spread) also the 95 % t interval over targets. Targets share examples and shadow models, so
that interval is a guide, not a test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks.arrays import BoolArray, FloatArray
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.metrics import evaluate_scores
from attacks.registry import ATTACKS
from cli.help_layout import HelpText

METRICS = ("auc", "tpr_at_fpr_0.01")
PER_EXAMPLE, FIXED = "lira_online", "lira_online_fixed"


def read_cell(path: Path) -> tuple[FloatArray, BoolArray]:
    """phi [M, n, Q] and membership [M, n] of a signals file."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["phi"], arrays["membership"]


def draw(side: BoolArray, kept: int, rng: np.random.Generator) -> BoolArray:
    """`kept` models of a side for each example, chosen at random. side: bool [S, n], no column with fewer."""
    order = np.argsort(np.where(side, rng.random(side.shape), 2.0), axis=0)
    chosen = np.zeros_like(side)
    np.put_along_axis(chosen, order[:kept], True, axis=0)
    return chosen


def leave_out(phi: FloatArray, membership: BoolArray, target: int, kept: int, seed: int) -> AttackInputs:
    """Model `target` attacked with `kept` of the others a side; LiRA reads phi alone, so logits are zeros."""
    rng = np.random.default_rng([seed, target, kept])
    others, held = np.delete(phi, target, axis=0), np.delete(membership, target, axis=0)
    return AttackInputs(
        labels=np.zeros(phi.shape[1], dtype=np.int64),
        target_logits=np.zeros((phi.shape[1], 2)),
        target_phi=phi[target],
        shadow_logits=np.zeros((len(others), phi.shape[1], 2)),
        shadow_phi=others,
        shadow_in=draw(held, kept, rng),
        shadow_out=draw(~held, kept, rng),
        seed=seed,
    )


def most_a_side(membership: BoolArray) -> int:
    """How many models a side every example has, whichever model is the target."""
    held = membership.sum(axis=0)
    return int(min(held.min(), (len(membership) - held).min())) - 1


def compare(name: str, phi: FloatArray, membership: BoolArray, kept: int, seed: int) -> Iterator[dict[str, Any]]:
    """The table's lines of one cell and one number of models per side."""
    values: dict[tuple[str, str], list[float]] = {}
    for target, inside in enumerate(membership):
        results = ATTACKS["lira"].run(leave_out(phi, membership, target, kept, seed), AttackSettings(seed=seed))
        for variant in (PER_EXAMPLE, FIXED):
            found = evaluate_scores(results[variant].scores, inside, None, resamples=0)
            for metric in METRICS:
                value = found[metric].value
                values.setdefault((variant, metric), []).append(np.nan if value is None else value)
    for metric in METRICS:
        ours, theirs = (np.array(values[variant, metric]) for variant in (PER_EXAMPLE, FIXED))
        gain = ours - theirs
        half = stats.t.ppf(0.975, gain.size - 1) * gain.std(ddof=1) / np.sqrt(gain.size)
        yield {
            "cell": name,
            "a_side": kept,
            "metric": metric,
            "targets": gain.size,
            PER_EXAMPLE: ours.mean(),
            FIXED: theirs.mean(),
            "difference": gain.mean(),
            "ci_low": gain.mean() - half,
            "ci_high": gain.mean() + half,
            "targets_won": int((gain > 0).sum()),
        }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".npz with phi and membership of a cell")
    parser.add_argument("--a-side", nargs="+", type=int, default=[8, 12, 16, 24, 31], metavar="K")
    parser.add_argument("--seed", type=int, default=0, help="of the models that are kept")
    parser.add_argument("--output", type=Path, help="CSV file; default: the table is only printed")
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for path in args.files:
        phi, membership = read_cell(path)
        for kept in (kept for kept in args.a_side if 2 <= kept <= most_a_side(membership)):
            rows += compare(path.stem, phi, membership, kept, args.seed)
    table = pd.DataFrame(rows).round(4)
    print(table.to_string(index=False))
    if args.output is not None:
        write_text(args.output, table.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
