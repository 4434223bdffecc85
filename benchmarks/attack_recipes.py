"""Compare the fast recipe of the attack networks with the published one on the same signals: AUC and seconds.

    python benchmarks/attack_recipes.py                                          # two synthetic cells
    python benchmarks/attack_recipes.py --runs-dir runs --pairs dense_digits:0,static_0.95_digits:1 --synthetic 0
    python benchmarks/attack_recipes.py --fast-only --shadows 16 --examples 50000 --attacks samia --threads 2

The published recipe of SAMIA takes minutes a target.

Synthetic signals are drawn, not trained: every example has its own difficulty; members get a higher margin on the true
class and a lower sensitivity.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.config import Places
from mia.interface import AttackInputs, AttackSettings, BoolArray, from_models
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS
from sweep.cells import find_cells, load_cell, queries_of

NETWORKS = ("shokri_nn", "top3_nn", "class_label_nn", "samia", "neural_network")
Pair = tuple[str, AttackInputs, BoolArray]


def synthetic_pair(models: int, examples: int, classes: int, gap: float, seed: int) -> Pair:
    """Name, inputs of target 0 of a synthetic cell, and its membership, bool [n]; gap: see --gap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=examples)
    membership = rng.random((models, examples)).argsort(axis=0).argsort(axis=0) < models // 2
    margin = rng.gamma(2.0, 2.0, examples) - 1.0 + rng.normal(0.0, 1.0, (models, examples))
    margin += gap * membership * rng.gamma(1.0, 1.0, examples)  # some examples are memorised far more than others
    logits = rng.normal(0.0, 1.2, (models, examples, classes)) + rng.normal(0.0, 1.2, (examples, classes))
    logits[:, np.arange(examples), labels] = margin + 2.0
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    sensitivity = p * (1.0 - p) * rng.lognormal(0.0, 0.4, p.shape) * np.where(membership, 0.9, 1.0)[:, :, None]
    phi = margin[:, :, None]  # the attack networks do not read it
    inputs = from_models(logits, phi, membership, labels, target=0, seed=seed, sensitivity=sensitivity)
    return f"synthetic:{seed}", inputs, membership[0]


def real_pairs(runs_dir: Path, wanted: list[str]) -> Iterator[Pair]:
    """The same of trained cells: those named EXPERIMENT:TARGET, or target 0 of every cell if none is named."""
    cells = {cell.experiment: cell for cell in find_cells(runs_dir) if not cell.reason}
    for pair in wanted or [f"{experiment}:0" for experiment in cells]:
        experiment, target = pair.rsplit(":", 1)
        if experiment not in cells:
            sys.exit(f"argument --pairs: {experiment} is not in {runs_dir}; there are {', '.join(cells)}")
        cell = cells[experiment]
        found = load_cell(cell, Places(runs_dir=str(runs_dir)), "cpu", queries_of(cell.config, None, samia=True))
        arrays = (found.logits, found.phi, found.membership, found.labels)
        inputs = from_models(*arrays, target=int(target), seed=cell.config.seed, sensitivity=found.sensitivity)
        yield pair, inputs, found.membership[int(target)]


def measure(name: str, recipe: str, inputs: AttackInputs, membership: BoolArray, seed: int) -> tuple[float, float]:
    """(AUC, seconds) of one attack."""
    start = time.perf_counter()
    result = ATTACKS[name].run(inputs, AttackSettings(recipe=recipe, seed=seed))[name]
    seconds = time.perf_counter() - start
    auc = evaluate_scores(result.scores, membership, None, resamples=0)["auc"].value
    assert auc is not None
    return auc, seconds


def compare(pairs: Iterator[Pair], args: argparse.Namespace) -> Iterator[dict[str, str | int | float]]:
    """One row of the table for each pair and attack."""
    for signals, inputs, membership in pairs:
        for name in args.attacks.split(","):
            row: dict[str, str | int | float] = {
                "signals": signals,
                "examples": inputs.num_examples,
                "shadows": inputs.num_shadows,
                "attack": name,
            }
            fast, fast_seconds = measure(name, "fast", inputs, membership, args.seed)
            paper, paper_seconds = np.nan, np.nan
            if not args.fast_only:
                paper, paper_seconds = measure(name, "paper", inputs, membership, args.seed)
            row |= {"paper_auc": round(paper, 4), "fast_auc": round(fast, 4), "difference": round(fast - paper, 4)}
            row |= {"paper_seconds": round(paper_seconds, 1), "fast_seconds": round(fast_seconds, 1)}
            yield row | {"machine": args.machine}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", default=",".join(NETWORKS))
    parser.add_argument("--fast-only", action="store_true", help="leave the published recipe out")
    parser.add_argument("--synthetic", type=int, default=2, help="synthetic cells")
    parser.add_argument("--shadows", type=int, default=8, help="of a synthetic cell")
    parser.add_argument("--examples", type=int, default=1400, help="of a synthetic cell")
    parser.add_argument("--classes", type=int, default=10, help="of a synthetic cell")
    parser.add_argument("--gap", type=float, default=0.8, help="mean extra margin of synthetic members, in logits")
    parser.add_argument("--runs-dir", type=Path, metavar="DIR", help="trained cells as well")
    parser.add_argument(
        "--pairs", metavar="EXPERIMENT:TARGET,...", help="of --runs-dir; default: target 0 of all cells"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the attack networks and of the first synthetic cell")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--machine", metavar="TEXT", help="how the table names this machine")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table as CSV")
    args = parser.parse_args(argv)
    if args.machine is None:
        processor = platform.processor() or platform.machine()
        args.machine = f"{os.cpu_count()} cores {processor}, torch {torch.__version__}, {args.threads} thread(s)"
    return args


def all_pairs(args: argparse.Namespace) -> Iterator[Pair]:
    for seed in range(args.seed, args.seed + args.synthetic):
        yield synthetic_pair(args.shadows + 1, args.examples, args.classes, args.gap, seed)
    if args.runs_dir is not None:
        yield from real_pairs(args.runs_dir, args.pairs.split(",") if args.pairs else [])


def main(argv: list[str] | None = None) -> None:
    """Print the table row by row, then the mean difference of each attack; write it with --output."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    rows = []
    for row in compare(all_pairs(args), args):
        print("  ".join(f"{key} {value}" for key, value in row.items() if key != "machine"), flush=True)
        rows.append(row)
    table = pd.DataFrame(rows)
    means = table.groupby("attack", sort=False)[["paper_auc", "fast_auc", "difference"]].mean()
    print(f"\nmean over signals\n{means.round(4).to_string()}")
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
