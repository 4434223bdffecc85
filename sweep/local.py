"""The local engine: runs in this process, or spread over worker processes of one machine."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifacts import stopping
from artifacts.logs import console_level
from sweep.worker import Job, Outcome, run_job

REPOSITORY = Path(__file__).resolve().parent.parent
EpochHook = Callable[[str, dict[str, Any]], None]
DoneHook = Callable[[Outcome], None]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_and_threads(jobs: int | None, threads: int | None, device: str, num_runs: int) -> tuple[int, int]:
    """Processes and CPU threads of each. On a CPU one-thread processes side by side train the most images a second."""
    if jobs is None:
        jobs = cores() if device == "cpu" else 1
    jobs = max(1, min(jobs, num_runs))
    return jobs, threads or max(1, cores() // jobs)


def run_jobs(
    jobs: Sequence[Job], processes: int, threads: int, on_epoch: EpochHook, on_done: DoneHook
) -> list[Outcome]:
    """Run all jobs; a failed one never stops the rest. Outcomes in the order of `jobs`."""
    if processes == 1:
        return _run_here(jobs, threads, on_epoch, on_done)
    waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    for job in [*jobs, *([None] * processes)]:
        waiting.put(job)
    outcomes: dict[str, Outcome] = {}
    lock = threading.Lock()

    def done(outcome: Outcome) -> None:
        with lock:
            outcomes[outcome.folder] = outcome
            on_done(outcome)

    def epoch(folder: str, row: dict[str, Any]) -> None:
        with lock:
            on_epoch(folder, row)

    workers = [_Worker(waiting, threads, epoch, done) for _ in range(processes)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.stop()
    return [outcomes[job.folder] for job in jobs]


def _run_here(jobs: Sequence[Job], threads: int, on_epoch: EpochHook, on_done: DoneHook) -> list[Outcome]:
    import torch

    torch.set_num_threads(threads)
    outcomes = []
    for job in jobs:
        outcome = run_job(job, lambda row, folder=job.folder: on_epoch(folder, row))
        if outcome.status == "interrupted":
            stopping.check()
        on_done(outcome)
        outcomes.append(outcome)
    return outcomes


class _Worker(threading.Thread):
    """Feeds one worker process, and replaces it when it dies: the run it was on counts as failed."""

    def __init__(
        self, waiting: queue.SimpleQueue[Job | None], threads: int, on_epoch: EpochHook, on_done: DoneHook
    ) -> None:
        super().__init__(daemon=True)
        self.waiting, self.threads, self.on_epoch, self.on_done = waiting, threads, on_epoch, on_done
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False

    def run(self) -> None:
        while (job := self.waiting.get()) is not None and not self.stopped:
            self.on_done(self._serve(job))
        self.stop()

    def _serve(self, job: Job) -> Outcome:
        try:
            if self.process is None or self.process.poll() is not None:
                self._end()
                self.process = self._launch()
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                message = json.loads(line)
                if "outcome" in message:
                    return Outcome(**message["outcome"])
                self.on_epoch(message["folder"], message["epoch"])
            code = self.process.wait()
            return Outcome(job.folder, "crashed", f"its process ended early with exit code {code}")
        except (OSError, ValueError) as error:
            return Outcome(job.folder, "crashed", f"its process could not be used: {error}")

    def _launch(self) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
        # OMP_NUM_THREADS as well: a library that reads it at import would start a thread a core
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(self.threads)}
        return subprocess.Popen(
            [sys.executable, "-m", "sweep.worker", str(self.threads), str(console_level())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            # Ctrl-C reaches this process alone, which then ends the worker in an orderly way
            start_new_session=True,
        )

    def stop(self) -> None:
        """End the worker process; a run in progress resumes from its checkpoint another time."""
        self.stopped = True
        self._end()

    def _end(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # a dead worker's pipe may not flush any more
                if pipe is not None:
                    pipe.close()
