"""How far the time that train.py says beforehand is from the time that its training takes.

    python benchmarks/cost_estimate.py --output benchmarks/results/cost_estimate.csv      # the quick preset
    python benchmarks/cost_estimate.py --preset quick --methods dense --num-shadows 3

Takes the flags of train.py, whose models it trains in two halves: before the first, the time is estimated from timed
steps; before the second, from the runs of the first. A row per half: what `--dry-run` said, and the wall clock's
seconds of the training, start of the command included. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from artifacts.children import cores
from cli.help_layout import HelpText
from configs.errors import RunError
from train import main as train

UNITS = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
SAID = re.compile(r"([0-9]+) models? to train: about ([0-9.]+) (days|hours|minutes|seconds) .*; (.*)\); at most")


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script; all others are train.py's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText, allow_abbrev=False)
    parser.add_argument("--output", metavar="FILE", help="the table as CSV")
    parser.add_argument("--num-shadows", type=int, default=7, metavar="S", help="shadow models per cell (default: 7)")
    return parser


def estimated(flags: Sequence[str]) -> tuple[int, float, str]:
    """What `--dry-run` says: models, seconds, and what they rest on."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = train([*flags, "--dry-run"])
    found = SAID.search(out.getvalue())
    if code or found is None:
        raise RunError(f"train.py {' '.join(flags)} --dry-run says no time")
    models, number, unit, source = found.groups()
    return int(models), float(number) * UNITS[unit], re.sub(r"measured in .* s", "timed steps", source)


def half(flags: Sequence[str], models: Sequence[int]) -> dict[str, Any]:
    """Estimate and train these models of every cell; a row."""
    flags = [*flags, "--models", *map(str, models)]
    count, said, source = estimated(flags)
    started = time.perf_counter()
    if train([*flags, "--no-mia", "--quiet"]):
        raise RunError(f"train.py {' '.join(flags)} did not finish")
    took = time.perf_counter() - started
    row = {"models": count, "from": source, "estimated_s": said, "took_s": round(took, 1)}
    return {**row, "ratio": round(said / took, 3)}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    own, flags = build_parser().parse_known_args(argv)
    flags = [*(flags or ["--preset", "quick"]), "--num-shadows", str(own.num_shadows)]
    middle = (own.num_shadows + 1) // 2
    with tempfile.TemporaryDirectory() as folder:
        flags = [*flags, "--runs-dir", f"{folder}/runs", "--summary-dir", folder]
        rows = [half(flags, part) for part in (range(middle), range(middle, own.num_shadows + 1))]
    table = pd.DataFrame(rows)
    if own.output:
        table.to_csv(own.output, index=False, lineterminator="\n")
    print(table.to_string(index=False), f"\n{platform.processor() or platform.machine()}, {cores()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
