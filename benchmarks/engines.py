"""What a second worker brings: one sweep by one and by two one-thread workers, with the local engine and with Ray.

    python benchmarks/engines.py                              # nothing else should run meanwhile
    python benchmarks/engines.py --engines local --epochs 5 --rounds 1

Every measurement is a whole `python train.py --no-mia` of one dense cell of the digits in a fresh folder, the start of
Python, torch and Ray included. Medians over rounds; speedup is the seconds of one worker over those of the row.
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


def measure(engine: str, workers: int, models: int, epochs: int) -> float:
    """Seconds of the command."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["--num-shadows", str(models - 1), "--epochs", str(epochs), "--runs-dir", "runs"]
        # --retries makes one worker a process of its own as well
        crew = ["--engine", engine, "--jobs", str(workers), "--num-threads", "1", "--retries", "1"]
        command = [sys.executable, str(REPOSITORY / "train.py"), *TOY, *size, *crew]
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
        return time.perf_counter() - started


def table(found: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    """A row for each engine and number of workers."""
    medians = {key: float(np.median(values)) for key, values in found.items()}
    rows = [
        {"engine": engine, "workers": workers, "seconds": round(seconds, 1), "speedup": medians[engine, 1] / seconds}
        for (engine, workers), seconds in sorted(medians.items())
    ]
    frame: pd.DataFrame = pd.DataFrame(rows).round({"speedup": 2})
    return frame


def main(argv: Sequence[str] | None = None) -> int:
    """Measure in turns, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=["local", "ray"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], metavar="N", help="1 is always among them")
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the table to this CSV as well")
    args = parser.parse_args(argv)
    found: dict[tuple[str, int], list[float]] = {(e, w): [] for e in args.engines for w in {1, *args.workers}}
    for _ in range(args.rounds):
        for engine, workers in found:
            found[engine, workers].append(measure(engine, workers, args.models, args.epochs))
            print(f"{engine}, {workers} workers: {found[engine, workers][-1]:.1f} s", flush=True)
    frame = table(found).assign(models=args.models, epochs=args.epochs)
    print(frame.to_string(index=False), f"\n{platform.processor() or platform.machine()}, {cores()} cores")
    if args.output is not None:
        write_text(args.output, frame.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
