"""One bar for a sweep: runs done, the current run's epoch, loss and accuracy, and the time left."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)


class SweepBar:
    """Counts epochs over all runs, so that the time left is known early. Silent when not on a terminal."""

    def __init__(self, num_runs: int, total_epochs: int, quiet: bool) -> None:
        self.num_runs, self.finished = num_runs, 0
        silent = quiet or not sys.stderr.isatty()
        self.bar = tqdm(total=total_epochs, unit="epoch", disable=silent, file=sys.stderr, dynamic_ncols=True)
        self.last: dict[str, int] = {}

    def __enter__(self) -> SweepBar:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.bar.close()

    def epoch(self, folder: str, row: dict[str, Any]) -> None:
        """One epoch of the run in `folder` ended; a resumed run also brings the epochs it had behind it."""
        done = int(row["epoch"])
        place = f"run {self.finished + 1}/{self.num_runs} {folder} epoch {done}"
        self.bar.set_description_str(place, refresh=False)
        self.bar.set_postfix_str(f"loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.3f}", refresh=False)
        self.bar.update(done - self.last.get(folder, 0))
        self.last[folder] = done

    def done(self, folder: str, finished: bool, epochs: int, reason: str) -> None:
        """The run in `folder` ended."""
        self.finished += 1
        self.bar.update(epochs - self.last.get(folder, 0))
        self.last[folder] = epochs
        outcome = "finished" if finished else f"FAILED: {reason}"
        log.info("run %d/%d %s %s", self.finished, self.num_runs, folder, outcome)
