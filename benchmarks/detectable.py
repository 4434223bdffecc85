"""Which difference in AUC would the headline attack find with so many models per cell? From recorded signals.

    python benchmarks/detectable.py             # writes cli/detectable.csv, which `train.py --dry-run` quotes
    python benchmarks/detectable.py --check     # exit code 1 where the file differs; nothing is written

Of the recorded cells of STUDY (digits, split in pairs), every choice of so many PAIRS of models is evaluated
as if it were all: `lira_bayes`, every model a target, the others its shadows. A row per planned comparison
without a control and per number of models: the mean over choices of the comparison's `detectable`
(`attacks.intervals.difference`). Choices share models and are no independent draws; nothing is extrapolated.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.remake_tables import RESULTS, differences
from cli.detectable import FILE
from cli.main import DONE, FAILED, run_main
from cli.parser import new_parser
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.machine import Places
from evaluation.attack import Attacker
from evaluation.foreign_cells import read_cells
from evaluation.gather import gather
from reporting import tables

STUDY, DATASET = "digits", "digits"
CELLS = tuple(f"{name}_{DATASET}" for name in ("dense", "static_0.8", "static_0.95", "dpf_0.8", "dpf_0.95"))
KINDS = ("against_dense", "same_sparsity")
PAIRS = (3, 4)  # with two pairs the two shadow models are too few for `lira_bayes`
COLUMNS = ("dataset", "network", "num_examples", "experiment_a", "experiment_b", "num_models", "subsets", "detectable")


def build_parser() -> ArgumentParser:
    """The flags of this script."""
    parser = new_parser("Which differences so many models would find.", "python benchmarks/detectable.py --check")
    parser.add_argument("--check", action="store_true", help="compare with the file there, and write nothing")
    return parser


def body(args: Namespace) -> int:
    """Make or check the file."""
    rows = measured(PAIRS)
    if not args.check:
        tables.write_table(FILE, rows, COLUMNS)
        return DONE
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / FILE.name
        tables.write_table(made, rows, COLUMNS)
        wrong = list(differences(FILE, made))
    for line in wrong:
        print(line, file=sys.stderr)
    return FAILED if wrong else DONE


def measured(pairs: Sequence[int], cells: Sequence[str] = CELLS) -> list[dict[str, Any]]:
    """The rows of the file for these numbers of pairs."""
    rows = []
    for number in pairs:
        found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for models in subsets(number):
            for row in compared(models, cells):
                if row["kind"] in KINDS and row["detectable"] is not None:
                    found[row["experiment_a"], row["experiment_b"], row["n"]].append(row["detectable"])
        rows += [
            {
                "dataset": DATASET,
                "network": network(),
                "num_examples": n,
                "experiment_a": a,
                "experiment_b": b,
                "num_models": 2 * number,
                "subsets": len(values),
                "detectable": float(np.mean(values)),
            }
            for (a, b, n), values in found.items()
        ]
    return rows


def network() -> str:
    """The recorded cells' network, in words."""
    with np.load(RESULTS / STUDY / "signals" / f"{CELLS[0]}.npz", allow_pickle=False) as held:
        about = json.loads(held["meta"].tobytes())
    return f"{about['arch']} of {about['layers']} layers and {about['channels']} channels"


def subsets(pairs: int) -> Iterator[list[int]]:
    """Every choice of so many of the recorded pairs: indices of models, partners side by side."""
    for chosen in combinations(range(max(PAIRS)), pairs):
        yield [2 * pair + side for pair in chosen for side in range(2)]


def compared(models: Sequence[int], cells: Sequence[str]) -> list[dict[str, Any]]:
    """Comparisons of the AUC of `lira_bayes` between recorded cells, had only these models been trained."""
    options = AttackOptions(num_targets=ALL_TARGETS, shadows_from=("own",))
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{name}.npz" for name in cells]
        for file in files:
            with np.load(RESULTS / STUDY / "signals" / file.name, allow_pickle=False) as held:
                every = len(held["phi"])
                arrays = {name: held[name] for name in held.files}
            about = json.loads(arrays.pop("meta").tobytes())
            del about["split_hash"]  # that of all models, as they were drawn
            arrays = {name: one[models] if len(one) == every else one for name, one in arrays.items()}
            np.savez(file, **arrays, meta=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        evidence = gather(read_cells(files, options), Attacker(("lira_bayes",), options, Places(), "cpu"))
    return [row for row in evidence.comparisons if (row["attack"], row["metric"]) == ("lira_bayes", "auc")]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
