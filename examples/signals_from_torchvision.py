"""Train a torchvision ResNet-18 and some shadow models in a few lines of your
own, and write what the attacks need.

    python examples/signals_from_torchvision.py --output resnet18.npz
    python mia/run_mia_evaluation.py --signals resnet18.npz

Nothing of this project is imported: the file is plain numpy (docs/signals.md).
Replace `train` and the data by yours.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18


def build_parser() -> argparse.ArgumentParser:
    """The flags of this example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="resnet18.npz", metavar="FILE.npz", help="(default: resnet18.npz)")
    parser.add_argument("--models", type=int, default=9, metavar="M", help="the target and its shadows (default: 9)")
    parser.add_argument("--quick", action="store_true", help="few examples and steps: to see that it runs")
    return parser


def train(images: torch.Tensor, labels: torch.Tensor, steps: int, seed: int) -> torch.nn.Module:
    """Your training. Images [n, 3, 8, 8] float32, labels int64 [n]: the members of one model, and nothing else."""
    torch.manual_seed(seed)
    model = resnet18(num_classes=10)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = torch.randint(len(images), (64,))
        optimiser.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    return model.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Draw who holds what, train every model on its members, ask every model about all examples, write the file."""
    args = build_parser().parse_args(argv)
    pool, steps = (60, 4) if args.quick else (600, 40)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().div(16)[:, None].expand(-1, 3, -1, -1)
    labels = torch.from_numpy(digits.target).long()
    if args.quick:
        images, labels = images[: pool + 200], labels[: pool + 200]
    rng = np.random.default_rng(0)
    # Each example in half of the models, drawn before training and kept: membership is never guessed afterwards.
    rank = rng.random((args.models, pool)).argsort(axis=0).argsort(axis=0)
    membership = rank < args.models // 2 + rng.integers(args.models % 2 + 1, size=pool)
    asked, population = slice(0, pool), slice(pool, pool + 200)
    logits, population_logits, accuracies = [], [], []
    for index, members in enumerate(membership):
        held = torch.from_numpy(np.flatnonzero(members))
        model = train(images[held], labels[held], steps, seed=index)
        with torch.no_grad():
            answers = model(images)
        logits.append(answers[asked].numpy())
        population_logits.append(answers[population].numpy())
        right = answers.argmax(dim=1) == labels
        accuracies.append(float(right[pool:].float().mean()))
        print(f"model {index}: {100 * accuracies[-1]:.1f} % of what no model holds")
    np.savez_compressed(
        args.output,
        logits=np.stack(logits),  # [M, n, C], the target first
        labels=labels[asked].numpy(),  # [n]
        membership=membership,  # [M, n]
        population_logits=np.stack(population_logits),  # [M, P, C], of examples that no model holds: for RMIA
        population_labels=labels[population].numpy(),  # [P]
        test_accuracy=np.array(accuracies),  # [M]
    )
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
