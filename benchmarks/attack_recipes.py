"""Compare the fast recipe of the attack networks with the published one on synthetic signals: AUC and seconds.

    python benchmarks/attack_recipes.py --examples 1400 --attacks top3_nn,samia

Signals are drawn, not trained: every example has its own difficulty; members get a higher margin on the true class and
a lower sensitivity. No real target's membership is used to choose hyper-parameters.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mia.interface import AttackInputs, AttackSettings, from_models
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS

NETWORKS = ("shokri_nn", "top3_nn", "class_label_nn", "samia", "neural_network")


def synthetic_cell(models: int, examples: int, classes: int, gap: float, seed: int) -> tuple[AttackInputs, np.ndarray]:
    """Inputs for target 0 of a synthetic cell, and its membership, bool [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=examples)
    order = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    membership = order < models // 2
    margin = rng.gamma(2.0, 2.0, examples) - 1.0 + rng.normal(0.0, 1.0, (models, examples))
    margin += gap * membership * rng.gamma(1.0, 1.0, examples)  # some examples are memorised far more than others
    logits = rng.normal(0.0, 1.2, (models, examples, classes)) + rng.normal(0.0, 1.2, (examples, classes))
    logits[:, np.arange(examples), labels] = margin + 2.0
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    noise = rng.lognormal(0.0, 0.4, p.shape) * np.where(membership, 0.9, 1.0)[:, :, None]
    own = np.take_along_axis(logits, labels[None, :, None].repeat(models, 0), axis=2)
    rest = logits.copy()
    np.put_along_axis(rest, labels[None, :, None].repeat(models, 0), -np.inf, axis=2)
    phi = own - np.log(np.exp(rest).sum(axis=2, keepdims=True))
    inputs = from_models(logits, phi, membership, labels, target=0, seed=seed, sensitivity=p * (1.0 - p) * noise)
    return inputs, membership[0]


def measure(name: str, recipe: str, inputs: AttackInputs, membership: np.ndarray, seed: int) -> tuple[float, float]:
    """(AUC, seconds) of one attack."""
    start = time.perf_counter()
    result = ATTACKS[name].function()(inputs, AttackSettings(recipe=recipe, seed=seed))[name]
    seconds = time.perf_counter() - start
    auc = evaluate_scores(result.scores, membership, None, resamples=0)["auc"].value
    assert auc is not None
    return auc, seconds


def main(argv: list[str] | None = None) -> None:
    """Print one line for each cell, attack and recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--examples", type=int, default=1400)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--gap", type=float, default=0.8, help="mean extra margin of members, in logits")
    parser.add_argument("--cells", type=int, default=1, help="independent cells")
    parser.add_argument("--seed", type=int, default=0, help="of the first cell and of the attacks")
    parser.add_argument("--attacks", default=",".join(NETWORKS))
    parser.add_argument("--recipes", default="fast,paper")
    args = parser.parse_args(argv)
    print(f"{'cell':>4} {'attack':16} {'recipe':6} {'auc':>7} {'seconds':>8}", flush=True)
    for cell in range(args.cells):
        inputs, membership = synthetic_cell(args.shadows + 1, args.examples, args.classes, args.gap, args.seed + cell)
        for name in args.attacks.split(","):
            for recipe in args.recipes.split(","):
                auc, seconds = measure(name, recipe, inputs, membership, args.seed)
                print(f"{cell:4} {name:16} {recipe:6} {auc:7.4f} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
