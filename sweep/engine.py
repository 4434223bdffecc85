"""What every engine shares: its rules, and the book of who is next, who is tried again and how each run ended."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifacts.run_dir import RunDir, inspect_run
from sweep.worker import Job, Outcome

log = logging.getLogger(__name__)
TICK_SECONDS = 0.2
EpochHook = Callable[[str, dict[str, Any]], None]
DoneHook = Callable[[Outcome], None]


@dataclasses.dataclass(frozen=True)
class Rules:
    """When an engine steps in.

    retries: how often a run whose process crashed is tried again. timeout: seconds a run may take at a time, or None.
    silence: seconds without a sign of life after which a process counts as hung. grace: seconds that a process has
    for its checkpoint between being told to stop and being killed.
    """

    retries: int = 1
    timeout: float | None = None
    silence: float = 60.0
    grace: float = 25.0


class Ledger:
    """The jobs of a sweep: waiting, or ended with an outcome. What a vanished process left is read off its folder.

    A job that starts from the state of a dense run of this sweep waits until that state is there or that run has ended,
    however it ended, and one that starts from its finished network until it has ended; a dense run waits for nobody, so
    something always goes on.
    """

    def __init__(self, jobs: Sequence[Job], rules: Rules, on_done: DoneHook) -> None:
        self.jobs, self.rules, self.on_done = jobs, rules, on_done
        self.waiting = collections.deque(jobs)
        self.tries: collections.Counter[str] = collections.Counter()
        self.ended: dict[str, Outcome] = {}
        self.folders = {job.folder for job in jobs}

    @property
    def open(self) -> bool:
        """Whether some job has not ended."""
        return len(self.ended) < len(self.jobs)

    def take(self) -> Job | None:
        """The job whose turn it is; None when none waits, or all that do wait for the states of others."""
        for place, job in enumerate(self.waiting):
            if self._ready(job):
                del self.waiting[place]
                self.tries[job.folder] += 1
                return job
        return None

    def _ready(self, job: Job) -> bool:
        if job.start in self.folders and job.start not in self.ended:
            return False
        source, state = job.forks.source, job.forks.state
        if state is None or source in self.ended or source not in self.folders or state.is_file():
            return True
        return RunDir(Path(job.folder)).has_state  # it goes on from its own checkpoint

    def close(self, outcome: Outcome) -> None:
        """A run ended."""
        self.ended[outcome.folder] = outcome
        self.on_done(outcome)

    def report(self, job: Job, outcome: Outcome, timed_out: bool = False) -> None:
        """A process answered. It only stops half-way when told to: by this engine (`timed_out`), or by somebody."""
        if outcome.status == "interrupted":
            self.vanished(job, "its process was told to stop from outside", timed_out)
        else:
            self.close(outcome)

    def vanished(self, job: Job, how: str, timed_out: bool = False) -> None:
        """A process is gone without an answer: the run is finished, out of time, tried again, or crashed."""
        if inspect_run(RunDir(Path(job.folder)), job.config).kind == "finished":
            self.close(Outcome(job.folder, "finished"))
        elif timed_out:
            reason = f"took longer than --timeout {self.rules.timeout:g}; --skip-existing goes on with it"
            self.close(Outcome(job.folder, "timeout", reason))
        elif self.tries[job.folder] <= self.rules.retries:
            log.warning("%s: %s; trying again (%d of %d)", job.folder, how, self.tries[job.folder], self.rules.retries)
            self.waiting.append(job)
        else:
            times = f" ({self.tries[job.folder]} tries)" if self.rules.retries else ""
            self.close(Outcome(job.folder, "crashed", how + times))

    def outcomes(self) -> list[Outcome]:
        """In the order of the jobs."""
        return [self.ended[job.folder] for job in self.jobs]
