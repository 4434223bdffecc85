"""Compare a recipe of the attack networks with the published one on the same signals: AUC and seconds.

    python benchmarks/attack_recipes.py --shadows 8 --examples 10000             # two synthetic cells
    python benchmarks/attack_recipes.py --runs-dir runs --pairs dense_digits:0,static_0.95_digits:1 --synthetic 0
    python benchmarks/attack_recipes.py --synthetic 0 --made-up 1 --shadows 16 --examples 50000 --published earlier.csv

The published recipe of SAMIA takes 20 CPU milliseconds and more a step, 100 steps for 128 pairs: hours for large cells.
--compiled trains it in half the time (benchmarks/compiled_samia.py).

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
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks import network_training, networks
from attacks.arrays import BoolArray
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.metrics import evaluate_scores
from attacks.models import from_models
from attacks.registry import ATTACKS
from benchmarks import compiled_samia
from benchmarks.attacks import made_up
from cli.help_layout import HelpText
from configs.machine import Places
from evaluation.cells import find_cells, load_cell, queries_of

KEY = ("signals", "examples", "shadows", "attack")
NETWORKS = ("shokri_nn", "top3_nn", "class_label_nn", "samia", "neural_network")
Pair = tuple[str, AttackInputs, BoolArray]


def synthetic_pair(models: int, examples: int, seed: int) -> Pair:
    """Name, inputs of target 0 of a synthetic cell, and its membership, bool [n]."""
    rng, classes = np.random.default_rng(seed), 10
    labels = rng.integers(classes, size=examples)
    membership = rng.random((models, examples)).argsort(axis=0).argsort(axis=0) < models // 2
    margin = rng.gamma(2.0, 2.0, examples) - 1.0 + rng.normal(0.0, 1.0, (models, examples))
    margin += 0.8 * membership * rng.gamma(1.0, 1.0, examples)  # some examples are memorised far more than others
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


def made_up_pair(models: int, examples: int, seed: int) -> Pair:
    """The same of the cell that benchmarks/attacks.py times."""
    cell = made_up(models, examples, queries=2, seed=seed)
    return f"made_up:{seed}", cell.leave_out(0), cell.membership[0]


@dataclass(frozen=True)
class Trained:
    """One attack network: AUC on the target, seconds of learning, calibrating and scoring, and the plan that ran."""

    auc: float
    seconds: float
    cpu_seconds: float
    plan: str


def measure(name: str, recipe: str, inputs: AttackInputs, membership: BoolArray, seed: int) -> Trained:
    """seed: of the attack network. CPU seconds are those of all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    result = ATTACKS[name].run(inputs, AttackSettings(recipe=recipe, seed=seed))[name]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    auc = evaluate_scores(result.scores, membership, None, resamples=0)["auc"].value
    assert auc is not None
    return Trained(auc, seconds, cpu_seconds, result.note or "")


@dataclass(frozen=True)
class Several:
    """Attack networks of some seeds: mean AUC, its standard deviation (NaN for one seed), mean CPU seconds."""

    auc: float
    seeds: int
    sd: float
    cpu_seconds: float

    @classmethod
    def of(cls, found: list[Trained]) -> Several:
        """Their mean."""
        aucs = np.array([one.auc for one in found])
        sd = float(aucs.std(ddof=1)) if len(aucs) > 1 else np.nan
        return cls(float(aucs.mean()), len(aucs), sd, float(np.mean([one.cpu_seconds for one in found])))

    def columns(self, recipe: str) -> dict[str, float]:
        """Its columns of the table; empty where nothing was trained."""
        seeds = self.seeds or np.nan
        return {
            f"{recipe}_auc": round(self.auc, 4),
            f"{recipe}_seeds": seeds,
            f"{recipe}_sd": round(self.sd, 4),
            f"{recipe}_cpu_seconds": round(self.cpu_seconds, 1),
        }


NOTHING = Several(np.nan, 0, np.nan, np.nan)


class Published:
    """The published recipe: of an earlier table for the same signals, or trained."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._train, self._compiled = not args.without_published, args.compiled
        self._seeds = range(args.seed, args.seed + args.published_seeds)
        self._known: dict[tuple[str, ...], Several] = {}
        if args.published is not None:
            for row in pd.read_csv(args.published).dropna(subset=["paper_auc"]).to_dict("records"):
                known = Several(row["paper_auc"], int(row["paper_seeds"]), row["paper_sd"], row["paper_cpu_seconds"])
                self._known[tuple(str(row[name]) for name in KEY)] = known

    def measure(self, key: dict[str, str | int], inputs: AttackInputs, membership: BoolArray) -> Several:
        """NOTHING where it is neither known nor to be trained."""
        known = self._known.get(tuple(str(key[name]) for name in KEY))
        if known is not None or not self._train:
            return known or NOTHING
        name = str(key["attack"])
        fit = compiled_samia.fit if self._compiled and name == "samia" else network_training.fit
        with patch.object(networks, "fit", fit):
            return Several.of([measure(name, "paper", inputs, membership, seed) for seed in self._seeds])


def compare(pairs: Iterator[Pair], args: argparse.Namespace) -> Iterator[dict[str, str | int | float]]:
    """One row of the table for each pair and attack; loss_auc: of the loss threshold, which trains nothing."""
    published = Published(args)
    for signals, inputs, membership in pairs:
        loss = measure("loss", args.recipe, inputs, membership, args.seed).auc
        for name in args.attacks.split(","):
            key: dict[str, str | int] = {
                "signals": signals,
                "examples": inputs.num_examples,
                "shadows": inputs.num_shadows,
                "attack": name,
            }
            seeds = range(args.seed, args.seed + args.network_seeds)
            found = [measure(name, args.recipe, inputs, membership, seed) for seed in seeds]
            ours = paper = Several.of(found)
            if not found[0].plan.startswith(("the published", "its only")):
                paper = published.measure(key, inputs, membership)
            row = key | paper.columns("paper") | ours.columns(args.recipe)
            row |= {"difference": round(ours.auc - paper.auc, 4)}
            row |= {f"{args.recipe}_seconds": round(np.mean([one.seconds for one in found]), 1)}
            yield row | {"loss_auc": round(loss, 4), "plan": found[0].plan, "machine": args.machine}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--attacks", default=",".join(NETWORKS))
    parser.add_argument("--recipe", choices=("auto", "fast"), default="auto", help="the one beside the published one")
    parser.add_argument("--published", type=Path, metavar="FILE", help="earlier table to take published AUCs from")
    parser.add_argument("--without-published", action="store_true", help="do not train by the published recipe")
    parser.add_argument("--compiled", action="store_true", help="train SAMIA's published recipe compiled")
    parser.add_argument("--network-seeds", type=int, default=1, metavar="N", help="attack networks by --recipe")
    parser.add_argument("--published-seeds", type=int, default=1, metavar="N", help="attack networks as published")
    parser.add_argument("--synthetic", type=int, default=2, metavar="N", help="synthetic cells")
    parser.add_argument("--made-up", type=int, default=0, metavar="N", help="cells of benchmarks/attacks.py")
    parser.add_argument("--shadows", type=int, default=8, help="of a drawn cell")
    parser.add_argument("--examples", type=int, default=1400, help="of a drawn cell")
    parser.add_argument("--runs-dir", type=Path, metavar="DIR", help="trained cells as well")
    parser.add_argument(
        "--pairs", metavar="EXPERIMENT:TARGET,...", help="of --runs-dir; default: target 0 of all cells"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first attack network and of the first drawn cell")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--machine", metavar="TEXT", help="how the table names this machine")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table as CSV, a row at a time")
    args = parser.parse_args(argv)
    if args.machine is None:
        processor = platform.processor() or platform.machine()
        args.machine = f"{os.cpu_count()} cores {processor}, torch {torch.__version__}, {args.threads} thread(s)"
    return args


def all_pairs(args: argparse.Namespace) -> Iterator[Pair]:
    for seed in range(args.seed, args.seed + args.synthetic):
        yield synthetic_pair(args.shadows + 1, args.examples, seed)
    for seed in range(args.seed, args.seed + args.made_up):
        yield made_up_pair(args.shadows + 1, args.examples, seed)
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
        if args.output is not None:
            # after each row: hours of training must not be lost with the next
            args.output.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(args.output, index=False, lineterminator="\n")
    table = pd.DataFrame(rows)
    means = table.groupby("attack", sort=False)[["paper_auc", f"{args.recipe}_auc", "difference"]].mean()
    print(f"\nmean over signals\n{means.round(4).to_string()}")


if __name__ == "__main__":
    main()
