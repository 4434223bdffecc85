"""Make the recorded tables of a study again from its recorded signals, or check that they are what would be made.

    python benchmarks/remake_tables.py                    # every study below benchmarks/results that has signals
    python benchmarks/remake_tables.py digits --check     # exit code 1 where a table differs; nothing is written

A study is a folder with `signals/*.npz` (benchmarks/record_signals.py). Its tables are those of KEPT, of every attack
that trains no network, with every model as a target; of OWN_SHADOWS without transfer. Nothing is trained. Not made
again: the figures of the attack networks, for these are trained, and of SAMIA, whose noise queries are not kept.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks.registry import ATTACKS
from cli.main import DONE, FAILED, run_main
from cli.parser import new_parser
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.errors import RunError, UsageError
from configs.machine import Places
from evaluation.attack import Attacker
from evaluation.compare import PRIMARY_METRICS
from evaluation.foreign_cells import read_cells
from evaluation.gather import Evidence, gather
from evaluation.pairing import PLANNED
from reporting import tables

RESULTS = Path(__file__).resolve().parent / "results"
KEPT = ("cells", "summary", "comparisons", "releases", "exposure", "risk", "transfer")
# Studies whose cells meet their own shadow models alone, and have no transfer: all pairs of so many cells, or of so
# many examples, would take hours.
OWN_SHADOWS = ("zoo", "chain", "study")
CHEAP = tuple(name for name, attack in ATTACKS.items() if not attack.trains_network)
CLOSE = 1e-9  # absolute and relative: other processors differ in last bits


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = new_parser(
        "Make recorded tables again from recorded signals.", "python benchmarks/remake_tables.py digits"
    )
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="folders below --output (default: all with signals)"
    )
    made = parser.add_argument_group("tables")
    made.add_argument("--output", default=str(RESULTS), metavar="DIR", help="folder of the studies (default: recorded)")
    made.add_argument("--check", action="store_true", help="compare with the tables there, and write nothing")
    return parser


def body(args: argparse.Namespace) -> int:
    """Make or check the tables of every study."""
    root = Path(args.output)
    names = args.studies or sorted(path.parent.name for path in root.glob("*/signals"))
    studies = [(name, sorted((root / name / "signals").glob("*.npz"))) for name in names]
    for name, files in studies:
        if not files:
            raise UsageError(f"argument STUDY: {root / name} has no recorded signals (signals/*.npz)")
    wrong = [line for name, files in studies for line in _study(root / name, files, args.check)]
    for line in wrong:
        print(line, file=sys.stderr)
    return FAILED if wrong else DONE


def _study(folder: Path, files: Sequence[Path], check: bool) -> list[str]:
    """Make a study's tables; what differs from those there, in words, where they are only checked."""
    own = folder.name in OWN_SHADOWS
    evidence = evaluated(files, own)
    kept = [name for name in KEPT if not (own and name == "transfer")]
    if own:  # of so many cells, what was planned alone, by every attack: all pairs and metrics would be megabytes
        evidence.comparisons = [row for row in evidence.comparisons if is_planned(row)]
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) if check else folder
        for name in kept:
            tables.write_table(made / f"{name}.csv", getattr(evidence, name), tables.EVIDENCE_TABLES[name])
        if check:
            return [line for name in kept for line in differences(folder / f"{name}.csv", made / f"{name}.csv")]
    print(f"{folder.name}: {', '.join(kept)} from {len(files)} files")
    return []


def is_planned(row: Mapping[str, Any]) -> bool:
    """Whether a row of comparisons.csv is of a planned kind, or of a replicate, their null, and of a planned metric, by
    whatever attack."""
    return row["kind"] in (*PLANNED, "replicate") and row["metric"] in PRIMARY_METRICS


def evaluated(files: Sequence[Path], own_shadows: bool = False) -> Evidence:
    """What an evaluation of these signals finds, with transfer unless each cell meets its own shadow models alone.

    RunError where a cell cannot be attacked or a file not be used.
    """
    options = AttackOptions(num_targets=ALL_TARGETS, shadows_from=("own",) if own_shadows else None)
    cells = read_cells(files, options)
    evidence = gather(cells, Attacker(CHEAP, options, Places(), "cpu"))
    wrong = [*evidence.problems, *(row["reason"] for row in evidence.cells if row["reason"])]
    if wrong:
        raise RunError(f"the recorded signals cannot be evaluated: {wrong[0]}")
    return evidence


def differences(kept: Path, made: Path) -> Iterator[str]:
    """The first difference between two tables, in words; numbers may differ by CLOSE."""
    if not kept.is_file():
        yield f"{kept} does not exist"
        return
    ours, theirs = _rows(kept), _rows(made)
    if len(ours) != len(theirs) or ours[0] != theirs[0]:
        yield f"{kept}: {len(ours)} lines and {len(ours[0])} columns, made again {len(theirs)} and {len(theirs[0])}"
        return
    for number, (row, again) in enumerate(zip(ours, theirs, strict=True), start=1):
        for column, a, b in zip(ours[0], row, again, strict=True):
            if not _same(a, b):
                yield f"{kept}, line {number}: {column} is {a!r}, made again {b!r}"
                return


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def _same(a: str, b: str) -> bool:
    if a == b:
        return True
    try:
        return math.isclose(float(a), float(b), rel_tol=CLOSE, abs_tol=CLOSE)
    except ValueError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
