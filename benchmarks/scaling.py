"""Does a sweep's cost grow linearly with its models, and its memory not at all? One toy cell, trained at several sizes.

    python benchmarks/scaling.py                          # 4, 8, 16 and 32 models, each size in turn, twice
    python benchmarks/scaling.py --models 4 64 --rounds 1

Every measurement is a `python train.py --no-mia` of one dense cell of the digits in a fresh folder: seconds of the
whole command, and the largest resident memory of any of its processes. seconds_per_model is the slope between a size
and the next smaller one, so that the start of Python and torch, which every command pays once, is no part of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from artifacts.children import REPOSITORY, cores
from cli.help_layout import HelpText

TOY = ["--methods", "dense", "--dataset", "digits", "--layers", "8", "--no-mia", "--quiet", "--device", "cpu"]


def measure(models: int, epochs: int, jobs: int) -> tuple[float, float]:
    """Seconds of the command, and MiB of its largest process."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--num-shadows", str(models - 1), "--epochs", str(epochs), "--jobs", str(jobs), "--runs-dir", "runs"]
        command = [sys.executable, str(REPOSITORY / "train.py"), *TOY, *flags]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        # wait4 reports this very command and the processes it waited for; others of this script do not mix in
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, usage.ru_maxrss / per_mib


def table(found: dict[int, list[tuple[float, float]]]) -> pd.DataFrame:
    """Medians over rounds, a row a size; the first has no smaller size to compare with."""
    rows, before = [], None
    for models, values in sorted(found.items()):
        seconds = float(np.median([value[0] for value in values]))
        slope = float("nan") if before is None else (seconds - before[1]) / (models - before[0])
        peak = max(value[1] for value in values)
        rows.append(
            {
                "models": models,
                "seconds": round(seconds, 1),
                "seconds_per_model": round(slope, 2),
                "peak_mib": round(peak),
            }
        )
        before = (models, seconds)
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--models", nargs="+", type=int, default=[4, 8, 16, 32], metavar="N", help="2 or more each")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the table to this CSV as well")
    args = parser.parse_args(argv)
    found: dict[int, list[tuple[float, float]]] = {models: [] for models in args.models}
    for _ in range(args.rounds):
        for models in args.models:
            found[models].append(measure(models, args.epochs, args.jobs))
            print(f"{models} models: {found[models][-1][0]:.1f} s", flush=True)
    frame = table(found).assign(jobs=args.jobs, epochs=args.epochs)
    print(frame.to_string(index=False), f"\n{platform.processor() or platform.machine()}, {cores()} cores")
    if args.output is not None:
        write_text(args.output, frame.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
