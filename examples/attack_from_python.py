"""Attack models from Python: arrays in, rows of figures out. No network is trained here and torch is not needed.

python examples/attack_from_python.py
python examples/attack_from_python.py --coins     # who holds what was drawn by a coin for each model and example
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# From another folder, put the repository on the path (or into PYTHONPATH); nothing has to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from attacks.evaluate import evaluate
from attacks.interface import AttackSettings
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.statistics import phi
from cli.help_layout import HelpText


def made_up_models(
    models: int = 17, examples: int = 600, classes: int = 5, seed: int = 0, coins: bool = False
) -> Models:
    """Stands for your own models: logits that are a little surer of the true class where a model held the example.

    coins: memberships drawn independently; else each example is in half of the models.
    """
    rng = np.random.default_rng(seed)
    luck = rng.random((models, examples))
    membership = luck < 0.5 if coins else luck.argsort(axis=0) < models // 2
    labels = rng.integers(classes, size=examples)
    hardness = rng.normal(size=(examples, classes))
    logits = hardness + rng.normal(size=(models, examples, classes))
    logits += (1.0 + 1.5 * membership)[:, :, None] * np.eye(classes)[labels]
    confidences = phi(logits, labels)[:, :, None]  # [M, n, Q] with one query
    return Models(logits, confidences, membership, labels, seed=seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Model 0 is the target, the others are its shadow models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--coins", action="store_true", help="memberships drawn independently, not balanced")
    models = made_up_models(coins=parser.parse_args(argv).coins)
    inputs = models.leave_out(0)  # an AttackInputs: checked, and trimmed so that counts give nothing away
    if inputs.scored is not None:
        print(f"{(~inputs.scored).sum()} examples have too few shadow models on a side and are not scored")
    attacks = ["lira", "confidence", "modified_entropy", "loss"]
    rows = evaluate(inputs, models.membership[0], attacks, AttackSettings(seed=0))
    print(f"{'attack':24}AUC    95 % interval")
    for row in rows:
        if row["metric"] == "auc" and row["attack"] in ATTACKS:
            title = ATTACKS[str(row["attack"])].title
            print(f"{title:24}{row['value']:.3f}  [{row['ci_low']:.3f}, {row['ci_high']:.3f}]")


if __name__ == "__main__":
    main()
