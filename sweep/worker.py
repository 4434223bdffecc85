"""A worker process of the local engine: reads one job per line on standard input, answers in lines of JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from artifacts import stopping
from artifacts.forks import Forks
from artifacts.logs import set_up_console
from artifacts.run_dir import RunDir, one_line
from artifacts.signals import QuerySettings
from configs import own_code
from configs.errors import RunError, RunLocked, StopRequested, UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places, Tracking
from pruning.registry import stored_config, with_code

BEAT_SECONDS = 5.0
ALONE_SECONDS = 25.0  # for the checkpoint, once the engine is gone


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything one run needs, as plain values that travel as JSON."""

    config: ExperimentConfig
    folder: str
    places: Places
    machine: Machine
    queries: QuerySettings
    tracking: Tracking
    group: str
    forks: Forks = dataclasses.field(default_factory=Forks)

    @property
    def start(self) -> str | None:
        """The folder of the run whose finished network it starts from, where its own sweep trains that run."""
        if self.config.pretrained_run is None:
            return None
        return str(Path(str(self.config.pretrained)).parent)

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**dataclasses.asdict(self), "config": self.config.flat()})

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Read back what `to_json` wrote."""
        fields = json.loads(line)
        kinds: dict[str, Any] = {
            "places": Places,
            "machine": Machine,
            "queries": QuerySettings,
            "tracking": Tracking,
            "forks": Forks,
        }
        parts = {
            name: kind(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in fields[name].items()}
            )
            for name, kind in kinds.items()
        }
        return cls(stored_config(fields["config"]), fields["folder"], group=fields["group"], **parts)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one run ended, with the reason in one line.

    status: finished | failed (an error: trying again would end the same way) | locked (another process has the folder)
    | interrupted (asked to stop; its checkpoint is written) | crashed (its process died or hung) | timeout (took longer
    than it may; its checkpoint is written).
    """

    folder: str
    status: str
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run's folder is complete."""
        return self.status == "finished"


def run_job(job: Job, on_epoch: Any = None) -> Outcome:
    """Run one job; everything that goes wrong with it becomes an outcome."""
    from training.run import run_one
    from training.tracking import Tracker

    tracker = Tracker(job.tracking, job.group, Path(job.places.runs_dir))
    run = RunDir(Path(job.folder))
    try:
        run_one(with_code(job.config), run, job.places, job.machine, job.queries, on_epoch, tracker, job.forks)
    except RunLocked as error:
        return Outcome(job.folder, "locked", one_line(error))
    except StopRequested as error:
        return Outcome(job.folder, "interrupted", one_line(error))
    except (RunError, UsageError, OSError) as error:
        logging.getLogger(__name__).error("%s: %s", job.folder, one_line(error))
        return Outcome(job.folder, "failed", one_line(error))
    except Exception as error:
        logging.getLogger(__name__).error("%s: %s", job.folder, traceback.format_exc())
        place = own_code.place_of(error)
        where = "" if place is None else f"{place}: "
        said = f"{where}{type(error).__name__}: {one_line(error)} (traceback in {run.log})"
        return Outcome(job.folder, "failed", said)
    return Outcome(job.folder, "finished")


class _Engine:
    """The other end: jobs come from it, answers go to it, and without it this process ends."""

    def __init__(self) -> None:
        self.answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what a library prints must not be taken for an answer
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.busy = False

    def listen(self, seconds_between_beats: float) -> None:
        """Take in jobs, and show signs of life, from now on."""
        threading.Thread(target=self._receive, daemon=True).start()
        threading.Thread(target=self._beat, args=(seconds_between_beats,), daemon=True).start()

    def say(self, message: dict[str, Any]) -> None:
        """Send one answer; if nobody listens any more, `_receive` notices as well and acts."""
        with contextlib.suppress(OSError), self.lock:
            self.answers.write(json.dumps(message) + "\n")
            self.answers.flush()

    def _beat(self, seconds: float) -> None:
        while True:
            self.say({"alive": True})
            time.sleep(seconds)

    def _receive(self) -> None:
        with os.fdopen(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                self.busy = True
                self.jobs.put(Job.from_json(line))
        if not self.busy:
            self.jobs.put(None)
            return
        # The engine is gone in the middle of a run. If it had asked for a stop before, it was made to leave at once.
        if stopping.requested() is None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(ALONE_SECONDS)
        os._exit(128 + signal.SIGTERM)


def main() -> None:
    """Serve until standard input ends: command line of CPU threads, log level and the engine's patience in seconds."""
    try:
        stopping.install()
        with stopping.postponed():  # a stop while threads start or torch is imported leaves neither half done
            threads, level, silence = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
            engine = _Engine()
            engine.listen(min(BEAT_SECONDS, silence / 6))
            set_up_console(level)
            own_code.trust(())  # what its jobs name, the command that started it named
            import torch

            torch.set_num_threads(threads)
        while (job := engine.jobs.get()) is not None:
            engine.say({"began": job.folder})
            outcome = run_job(job, lambda row: engine.say({"epoch": row}))
            engine.busy = False
            engine.say({"outcome": dataclasses.asdict(outcome)})
            stopping.check()
    except StopRequested as stop:
        sys.exit(128 + stop.signum)


if __name__ == "__main__":
    main()
