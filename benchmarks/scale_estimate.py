"""What a publication-size sweep costs: hours, money, storage. Prints the tables of docs/scale.md.

    python benchmarks/scale_estimate.py
    python benchmarks/scale_estimate.py --rates 12000 --prices 1.2 --gpus 4

Measured: pictures a second on two CPU cores, read from benchmarks/results/training.csv (`make bench`). Assumed: what a
GPU trains a second and costs an hour (--rates, --prices); no GPU was measured, so put your own figures there.

A model trains `epochs x members` pictures and is asked about `pool x passes + test` pictures, a third of a training
picture's work each. Hours of G devices = ceil(models / G) x seconds per model / 3600; money = G x hours x price, since
the last wave's idle devices are paid as well.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.children import REPOSITORY
from artifacts.signals import SHAPES, QuerySettings
from cli.help_layout import HelpText

MEASURED = REPOSITORY / "benchmarks" / "results" / "training.csv"
CELLS, MODELS = 11, 64  # dense, and static and DPF at five sparsities; a target and 63 shadow models
FEW = 8  # models per cell with which Bayes LiRA finds what LiRA finds with MODELS (benchmarks/evidence.py)
FORWARD = 1 / 3  # of a training picture, whose backward pass costs two forward passes
BYTES = {name: {"int64": 8, "float32": 4, "bool": 1, "bool_": 1}[kind.__name__] for name, (kind, _) in SHAPES.items()}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """A data set and a recipe: pool of which half trains each model, classes, test pictures, epochs, picture bytes."""

    name: str
    pool: int
    classes: int
    test: int
    epochs: int
    picture: int
    queries: int = 2
    population: int = 10_000

    @property
    def trained(self) -> int:
        """Pictures that one model trains on, all epochs together."""
        return self.epochs * self.pool // 2

    @property
    def asked(self) -> float:
        """Pictures that one finished model is asked about, those of SAMIA's noise included."""
        passes = self.queries + QuerySettings().draws
        return self.pool * passes + self.test + self.population * self.queries

    def work(self) -> float:
        """Training pictures that training and queries of one model amount to."""
        return self.trained + self.asked * FORWARD

    def signal_bytes(self, name: str) -> int:
        """Of one array of one model's signals."""
        sizes = {"n": self.pool, "C": self.classes, "Q": self.queries, "P": self.population}
        return math.prod(sizes[letter] for letter in SHAPES[name][1]) * BYTES[name]


CIFAR = Sizes("CIFAR-10", pool=50_000, classes=10, test=10_000, epochs=200, picture=3 * 32 * 32)
IMAGENET = Sizes("ImageNet", pool=1_281_167, classes=1000, test=50_000, epochs=90, picture=3 * 224 * 224)
SMALL_IMAGENET = dataclasses.replace(IMAGENET, name="ImageNet at 64 x 64", picture=3 * 64 * 64)


def hours(models: int, devices: int, rate: float, sizes: Sizes) -> float:
    """Wall hours of a sweep: waves of as many models as there are devices."""
    return math.ceil(models / devices) * sizes.work() / rate / 3600


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def measured_table() -> list[str]:
    """Cost of a model on the machine of training.csv, and of the whole sweep there."""
    with MEASURED.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "dense"]
    lines = []
    for row in rows:
        rate = float(row["project_per_s"])
        seconds = CIFAR.work() / rate
        days = [f"{CELLS * models * seconds / 86400:.1f}" for models in (FEW, MODELS)]
        cells = [row["network"], f"{rate:,.0f}", f"{seconds / 3600:.2f}", *days]
        lines.append(cells)
    head = [
        "network, 2 CPU cores",
        "pictures/s, measured",
        "hours a model",
        f"days for 11 x {FEW} models",
        f"days for 11 x {MODELS} models",
    ]
    return table(head, lines)


def gpu_table(rates: Sequence[float], prices: Sequence[float], gpus: Sequence[int]) -> list[str]:
    """Hours and money of the whole sweep over assumed GPUs."""
    rows = []
    for rate in rates:
        for count in gpus:
            time = hours(CELLS * MODELS, count, rate, CIFAR)
            money = [f"{count * time * price:,.0f}" for price in prices]
            rows.append([f"{rate:,.0f}", str(count), f"{CIFAR.work() / rate / 60:.1f}", f"{time:,.1f}", *money])
    head = ["pictures/s of a GPU, assumed", "GPUs", "minutes a model", "hours"]
    return table([*head, *(f"$ at {price:g} $/h" for price in prices)], rows)


def storage_table() -> list[str]:
    """Signals on disk and in memory, pictures in memory, and queries beside training."""
    small = ("pool", "labels", "membership", "phi", "population_phi")
    rows = []
    for sizes in (CIFAR, IMAGENET, SMALL_IMAGENET):
        lean = sum(sizes.signal_bytes(name) for name in small)
        full = lean + sizes.signal_bytes("logits") + sizes.signal_bytes("sensitivity")
        share = sizes.asked * FORWARD / sizes.trained
        figures = [lean / 1e6, full / 1e9, MODELS * full / 1e9, CELLS * MODELS * full / 1e12, MODELS * lean / 1e9]
        words = [f"{value:.3g}" for value in figures]
        rows.append([sizes.name, *words, f"{sizes.pool * sizes.picture / 1e9:.3g}", f"{100 * share:.1f}"])
    head = ["data", "phi and labels, MB a model", "all signals, GB a model", "GB a cell", "TB for 11 cells"]
    return table([*head, "phi alone, GB a cell", "pictures as uint8, GB", "queries, % of training"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--rates", nargs="+", type=float, default=[5_000, 20_000, 60_000], help="pictures/s of a GPU")
    parser.add_argument("--prices", nargs="+", type=float, default=[0.5, 2.0, 4.0], help="dollars an hour of a GPU")
    parser.add_argument("--gpus", nargs="+", type=int, default=[1, 8, 64])
    args = parser.parse_args(argv)
    blocks = (measured_table(), gpu_table(args.rates, args.prices, args.gpus), storage_table())
    print("\n\n".join("\n".join(block) for block in blocks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
