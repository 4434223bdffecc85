"""A worker process of the local engine: reads one job a line on standard input, answers in lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

from artifacts.logs import set_up_console
from artifacts.run_dir import RunDir, one_line
from artifacts.signals import QuerySettings
from configs.config import ExperimentConfig, Machine, Places, Tracking
from configs.errors import RunError, RunLocked, StopRequested, UsageError


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

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Read back what `to_json` wrote."""
        fields = json.loads(line)
        kinds: dict[str, Any] = {
            "places": Places,
            "machine": Machine,
            "queries": QuerySettings,
            "tracking": Tracking,
        }
        parts = {name: kind(**fields[name]) for name, kind in kinds.items()}
        return cls(ExperimentConfig.from_dict(fields["config"]), fields["folder"], group=fields["group"], **parts)


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
        run_one(job.config, run, job.places, job.machine, job.queries, on_epoch, tracker)
    except RunLocked as error:
        return Outcome(job.folder, "locked", one_line(error))
    except StopRequested as error:
        return Outcome(job.folder, "interrupted", one_line(error))
    except (RunError, UsageError, OSError) as error:
        logging.getLogger(__name__).error("%s: %s", job.folder, one_line(error))
        return Outcome(job.folder, "failed", one_line(error))
    except Exception as error:
        logging.getLogger(__name__).error("%s: %s", job.folder, traceback.format_exc())
        return Outcome(job.folder, "failed", f"{type(error).__name__}: {one_line(error)} (traceback in {run.log})")
    return Outcome(job.folder, "finished")


def main() -> None:
    """Serve until standard input ends."""
    import torch

    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    set_up_console(int(sys.argv[2]))
    for line in sys.stdin:
        job = Job.from_json(line)

        def on_epoch(row: dict[str, Any], folder: str = job.folder) -> None:
            _say({"epoch": row, "folder": folder})

        _say({"outcome": dataclasses.asdict(run_job(job, on_epoch))})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
