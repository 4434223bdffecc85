"""Does a sweep's cost grow linearly with its models, and its memory not at all? One toy cell, trained at several sizes.

    python benchmarks/scaling.py                          # 4, 8, 16 and 32 models, each size in turn, twice
    python benchmarks/scaling.py --models 4 64 --rounds 1
    python benchmarks/scaling.py --forks                  # optimiser steps of sweeps, shared ones taken once or again

Every measurement is a `python train.py --no-mia` of one dense cell of the digits in a fresh folder: seconds of the
whole command, and the largest resident memory of any of its processes. seconds_per_model is the slope between a size
and the next smaller one, so that the start of Python and torch, which every command pays once, is no part of it.

--forks trains two sweeps, that of a paper (11 cells) and every method at two sparsities, with 2 models a cell: by one
command, in which pruned runs start from the states of their dense runs, and by a command for each method, in which they
cannot. It counts the epochs that the runs' own logs have: exact, whatever else the machine does. The zoo preset, with
its controls at equal accuracy and equal size, is counted in its plan and not trained.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
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
from artifacts.run_dir import OWN, RunDir
from cli.help_layout import HelpText
from pruning.registry import BASELINE, always_there

TOY = ["--methods", "dense", "--dataset", "digits", "--layers", "8", "--no-mia", "--quiet", "--device", "cpu"]

FORKS = [
    *("--dataset", "synthetic", "--layers", "8", "--pool-size", "64", "--epochs", "4", "--num-shadows", "1"),
    *("--no-mia", "--quiet", "--device", "cpu", "--jobs", "1", "--num-threads", "1"),
]
SWEEPS = {
    "paper": (("dense", "static", "dpf"), ("0.5", "0.7", "0.8", "0.9", "0.95")),
    "methods": (tuple(always_there()), ("0.8", "0.95")),
}
EPOCH = re.compile(r" epoch \d+/\d+: loss ")


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


def trained_steps(runs_dir: Path) -> tuple[int, int]:
    """Optimiser steps that the finished runs below a folder took themselves, and those of whole dense trainings."""
    taken = dense = 0
    for run in (RunDir(path.parent) for path in runs_dir.rglob(OWN)):
        config, members = run.read_config(), run.read_summary()["num_members"]
        steps = math.ceil(members / config.batch_size)
        taken += steps * len(EPOCH.findall(run.log.read_text(encoding="utf-8")))
        dense += steps * config.epochs * (config.method == BASELINE)
    return taken, dense


def planned_zoo() -> list[dict[str, object]]:
    """The rows of the zoo preset, with its controls, as it is planned on an empty folder."""
    # Not above: a command counts what the process that starts it has in memory as its own, and this is torch.
    import train
    from cli.parser import parse
    from cli.training import given_knobs, template_of
    from configs.knobs import from_args
    from configs.sweep import SweepOptions
    from data.inputs import open_data, open_split
    from sweep.forks import ForkPlan
    from sweep.plan import plan_cells, plan_runs

    with tempfile.TemporaryDirectory() as folder:
        args = parse(train.build_parser(), ["--preset", "zoo", "--device", "cpu"])
        cells = plan_cells(template_of(args), from_args(SweepOptions, args), args.data_dir, given_knobs(args))
        runs = plan_runs(cells, Path(folder))
        saved, every = ForkPlan(runs).saved_epochs(runs)
    dense = next(cell for cell in cells if cell.method == BASELINE and cell.control is None)
    data, _ = open_data(dense, args.data_dir)
    steps = math.ceil(open_split(dense, data).membership[0].sum() / dense.batch_size)
    rows = []
    for forks, epochs in (("yes", every - saved), ("no", every)):
        row = {"sweep": "zoo", "cells": len(cells), "models": len(runs), "forks": forks, "steps": steps * epochs}
        rows.append({**row, "dense_cells": round(epochs / (dense.num_models * dense.epochs), 3)})
    return rows


def count_forks() -> pd.DataFrame:
    """A row per sweep and way to train it: its steps, and how many dense cells cost as many."""
    rows: list[dict[str, object]] = []
    for name, (methods, sparsities) in SWEEPS.items():
        for commands, forks in (([methods], "yes"), ([(method,) for method in methods], "no")):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                for chosen in commands:
                    flags = [*FORKS, "--methods", *chosen, "--sparsities", *sparsities]
                    command = [sys.executable, str(REPOSITORY / "train.py"), *flags]
                    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
                print(f"{name}, forks {forks}: {time.perf_counter() - started:.1f} s", flush=True)
                cells = {path.parent.parent for path in Path(folder, "runs").rglob(f"shadow_000/{OWN}")}
                steps, dense = trained_steps(Path(folder, "runs"))
            row = {"sweep": name, "cells": len(cells), "models": 2 * len(cells), "forks": forks, "steps": steps}
            rows.append({**row, "dense_cells": round(steps / dense, 3)})
    counted: pd.DataFrame = pd.DataFrame([*rows, *planned_zoo()])
    return counted


def grown(args: argparse.Namespace) -> pd.DataFrame:
    """One cell of several sizes."""
    found: dict[int, list[tuple[float, float]]] = {models: [] for models in args.models}
    for _ in range(args.rounds):
        for models in args.models:
            found[models].append(measure(models, args.epochs, args.jobs))
            print(f"{models} models: {found[models][-1][0]:.1f} s", flush=True)
    frame: pd.DataFrame = table(found).assign(jobs=args.jobs, epochs=args.epochs)
    return frame


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--models", nargs="+", type=int, default=[4, 8, 16, 32], metavar="N", help="2 or more each")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the table to this CSV as well")
    parser.add_argument("--forks", action="store_true", help="count what runs share instead, in three sweeps")
    args = parser.parse_args(argv)
    frame = count_forks() if args.forks else grown(args)
    print(frame.to_string(index=False), f"\n{platform.processor() or platform.machine()}, {cores()} cores")
    if args.output is not None:
        write_text(args.output, frame.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
