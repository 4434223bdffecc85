"""Inject every fault as often as it says, and print a table: fault, tried, injected, survived.

    python tests/faults/run.py --jobs 2 --output benchmarks/results/faults.csv

Exit code 0 when every row is full: as many tried, injected and survived as there should be; else 1.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import queue
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    REPOSITORY = Path(__file__).resolve().parent.parent.parent
    sys.path[0:1] = [str(REPOSITORY)]

from tests.faults.children import Server
from tests.faults.table import FAULTS
from tests.faults.trials import Fault, Shared, Tally, Trial, generator

DETAIL = 400  # characters of what happened that are shown
COLUMNS = ("fault", "tried", "injected", "survived")


@dataclasses.dataclass
class Row:
    """What came of one fault."""

    fault: Fault
    wanted: int = 0
    tallies: list[Tally] = dataclasses.field(default_factory=list)
    unavailable: str = ""

    @property
    def figures(self) -> dict[str, object]:
        """The row as it is printed and written."""
        injected = sum(tally.injected for tally in self.tallies)
        survived = sum(tally.injected and tally.survived for tally in self.tallies)
        return dict(zip(COLUMNS, (self.fault.name, len(self.tallies), injected, survived), strict=True))

    @property
    def full(self) -> bool:
        """Whether everything that should have been tried was, and held."""
        figures = self.figures
        return not self.unavailable and self.wanted == figures["tried"] == figures["injected"] == figures["survived"]


class Hall:
    """Where tries run: threads with a fork server each, a folder for all that is written."""

    def __init__(self, folder: Path, threads: int, seed: int) -> None:
        self.folder, self.threads, self.seed = folder, threads, seed
        self.shared = Shared(folder / "shared")
        self.servers: list[Server] = []

    def __enter__(self) -> Hall:
        for number in range(self.threads):
            self.servers.append(Server(self.folder / f"server-{number}"))
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    def trial(self, fault: Fault, number: int, server: Server) -> Trial:
        """A try with an empty folder of its own."""
        folder = self.folder / f"{FAULTS.index(fault)}-{number}"
        folder.mkdir(parents=True)
        return Trial(number, generator(self.seed, fault.name, number), folder, server, self.shared)

    def attempt(self, fault: Fault, number: int, server: Server) -> Tally:
        """One try; its folder is kept if it did not end well."""
        trial = self.trial(fault, number, server)
        try:
            tally = fault.run(trial)
        except Exception:
            tally = Tally(False, False, traceback.format_exc())
        if tally.injected and tally.survived:
            shutil.rmtree(trial.folder)
        else:
            what = "not survived" if tally.injected else "not injected"
            print(f"  {what}: try {number} in {trial.folder}: {tally.detail[-DETAIL:]}", file=sys.stderr, flush=True)
        return tally

    def run(self, fault: Fault, numbers: Sequence[int]) -> list[Tally]:
        """Tries of one fault, spread over the threads."""
        waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        for number in [*numbers, *([None] * self.threads)]:
            waiting.put(number)
        tallies: list[Tally] = []

        def work(server: Server) -> None:
            while (number := waiting.get()) is not None:
                tallies.append(self.attempt(fault, number, server))

        threads = [threading.Thread(target=work, args=(server,)) for server in self.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return tallies

    def tries(self, fault: Fault) -> int:
        """How often a fault is tried in all."""
        if isinstance(fault.tries, int):
            return fault.tries
        return fault.tries(Trial(0, generator(self.seed, fault.name, 0), self.folder, self.servers[0], self.shared))


def spread(total: int, scale: float) -> list[int]:
    """The numbers of the tries that a share of all takes: as far apart as they can be."""
    count = min(total, max(1, math.ceil(total * scale)))
    return sorted({round(i * total / count) for i in range(count)})


def run_all(faults: Sequence[Fault], hall: Hall, scale: float) -> list[Row]:
    """Every fault in turn; a line each as they end."""
    rows = []
    for fault in faults:
        started, row = time.monotonic(), Row(fault, unavailable=fault.needs() or "")
        rows.append(row)
        if not row.unavailable:
            try:
                numbers = spread(hall.tries(fault), scale)
            except Exception as error:
                row.unavailable, numbers = f"its tries cannot be counted: {error}", []
            row.wanted = len(numbers)
            row.tallies = hall.run(fault, numbers)
        print(_line(row, time.monotonic() - started), flush=True)
    return rows


def _line(row: Row, seconds: float) -> str:
    figures = row.figures
    words = row.unavailable or ("" if row.full else "NOT FULL")
    counts = " ".join(f"{figures[name]:>8}" for name in COLUMNS[1:])
    return f"{figures['fault']:<50} {counts} {seconds:7.0f} s  {words}".rstrip()


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows, in the order of the table; what the file holds of faults that were not run now is kept."""
    found: dict[str, dict[str, object]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            found = {row["fault"]: dict(row) for row in csv.DictReader(stream)}
    found |= {row.fault.name: row.figures for row in rows}
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found[fault.name] for fault in FAULTS if fault.name in found)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries-scale", type=float, default=1.0, help="share of the tries of each fault (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="faults whose name holds one of these words")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places of the faults (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="tries at once (default: 1)")
    parser.add_argument("--folder", type=Path, help="where the runs are written (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="CSV file for the table; keeps its other faults' rows")
    args = parser.parse_args(argv)
    chosen = [fault for fault in FAULTS if args.only is None or any(word in fault.name for word in args.only)]
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=args.folder))
    print(f"{'fault':<50} {'tried':>8} {'injected':>8} {'survived':>8}", flush=True)
    with Hall(folder, args.jobs, args.seed) as hall:
        rows = run_all(chosen, hall, args.tries_scale)
    full = all(row.full for row in rows)
    if args.output is not None:
        write_table(args.output, rows)
    if full:
        shutil.rmtree(folder)
    else:
        print(f"not every row is full; what the tries left is in {folder}", file=sys.stderr)
    return 0 if full else 1


if __name__ == "__main__":
    sys.exit(main())
