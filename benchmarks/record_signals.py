"""Keep the evidence of a study: the signals of every finished cell of a runs folder, a file per cell.

    python benchmarks/record_signals.py --runs-dir runs --output benchmarks/results/digits/signals --logits
    python benchmarks/remake_tables.py digits

docs/signals.md describes the files. What the networks answered is taken from their caches; nothing is trained, and a
network is asked again only where its cache lacks an answer. --logits keeps float16 logits, for the attacks that look at
all classes, where the study then stays under 10 MB. --no-population leaves out the test pictures that RMIA asks about,
which are more than the pool where that is small. --models keeps those models of every cell alone, so that a study in
pairs is kept pair by pair while it trains. The noise queries of SAMIA are not kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli.main import DONE, run_main
from cli.parser import CHOICES, add_places, new_parser
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.knobs import add_flags, from_args
from configs.machine import Machine, Places


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    example = "python benchmarks/record_signals.py --runs-dir runs --output benchmarks/results/digits/signals"
    parser = new_parser("Keep the signals of every finished cell of a runs folder, a file per cell.", example)
    kept = parser.add_argument_group("evidence")
    kept.add_argument("--output", required=True, metavar="DIR", help="folder of the files")
    kept.add_argument("--logits", action="store_true", help="keep float16 logits too; refused above 10 MB in all")
    kept.add_argument(
        "--no-population", action="store_true", help="ask about no population, without which rmia cannot be attacked"
    )
    kept.add_argument(
        "--models", nargs="+", type=int, default=[], metavar="M", help="keep these models alone, such as 0 1 2 3"
    )
    add_places(parser, "runs_dir", "data_dir")
    add_flags(parser, Machine, "machine", CHOICES, only=("device",))
    return parser


def body(args: argparse.Namespace) -> int:
    """Record every cell below --runs-dir."""
    from evaluation.cells import find_cells
    from evaluation.record import record

    cells = find_cells(Path(args.runs_dir))
    places: Places = from_args(Places, args)
    population = 0 if args.no_population else AttackOptions().rmia_population
    if args.models and (0 not in args.models or min(args.models) < 0 or len({*args.models}) < len(args.models)):
        raise UsageError("argument --models: needs 0, the target, and each of the others once")
    total = record(cells, places, args.device, Path(args.output), population, args.logits, args.models)
    print(f"{len(cells)} cells, {total:,} bytes, in {args.output}")
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
