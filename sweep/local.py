"""The local engine: runs in this process, or spread over worker processes of one machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

from artifacts import stopping
from artifacts.children import cores, start
from artifacts.logs import console_level
from sweep.engine import TICK_SECONDS, DoneHook, EpochHook, Ledger, Rules
from sweep.worker import Job, Outcome, run_job

log = logging.getLogger(__name__)


def jobs_and_threads(jobs: int | None, threads: int | None, num_runs: int) -> tuple[int, int]:
    """Processes and CPU threads of each, without GPUs: one-thread processes side by side train the most images."""
    jobs = max(1, min(jobs or cores(), num_runs))
    return jobs, threads or max(1, cores() // jobs)


def run_here(jobs: Sequence[Job], threads: int, on_epoch: EpochHook, on_done: DoneHook) -> list[Outcome]:
    """Run all jobs in this process, one after another: its crash ends them all, and nothing watches the time."""
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


def run_jobs(
    jobs: Sequence[Job], devices: Sequence[str], threads: int, rules: Rules, on_epoch: EpochHook, on_done: DoneHook
) -> list[Outcome]:
    """Run all jobs in worker processes, one for each of `devices` at a time; outcomes in the order of `jobs`.

    A failed, crashed or hung run never stops the rest. SIGINT and SIGTERM end the workers in an orderly way before
    StopRequested is raised; the hooks are called from this thread alone.
    """
    ledger = Ledger(jobs, rules, on_done)
    crew = _Crew(ledger, threads, on_epoch)
    with stopping.postponed():
        try:
            while ledger.open and stopping.requested() is None:
                crew.hand_out(devices)
                crew.listen()
                crew.watch()
        finally:
            crew.dismiss()
        stopping.check()
    return ledger.outcomes()


class _Worker:
    """A worker process, the job it is on, and what this engine knows and wants of it."""

    def __init__(self, device: str, threads: int, silence: float, inbox: queue.SimpleQueue[Any]) -> None:
        self.device = device
        self.job: Job | None = None
        self.started = self.silent = 0.0
        self.told_to_stop: float | None = None
        self.timed_out = self.hung = False
        self.process = _launch(threads, silence)
        threading.Thread(target=self._read, args=(inbox,), daemon=True).start()

    def _read(self, inbox: queue.SimpleQueue[Any]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                inbox.put((self, line))
        inbox.put((self, None))

    def give(self, job: Job) -> None:
        """Send a job. A process that is gone already is noticed by the end of its output."""
        self.job, self.started = job, time.monotonic()
        job = dataclasses.replace(job, machine=dataclasses.replace(job.machine, device=self.device))
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()

    def release(self) -> None:
        """No more jobs: an idle process ends at once, a busy one as if it had lost its parent."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def stop(self) -> None:
        """Ask for a checkpoint and the end."""
        if self.told_to_stop is None:
            self.told_to_stop = time.monotonic()
            self.process.terminate()

    def end(self) -> str:
        """Wait for a process whose output ended; how it ended, in words."""
        self.release()
        code = self.process.wait()
        if self.hung:
            return "its process stopped responding and was killed"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended early with exit code {code}"


class _Crew:
    """The worker processes of one sweep."""

    def __init__(self, ledger: Ledger, threads: int, on_epoch: EpochHook) -> None:
        self.ledger, self.rules, self.threads, self.on_epoch = ledger, ledger.rules, threads, on_epoch
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.workers: list[_Worker] = []
        self.looked = time.monotonic()

    def hand_out(self, devices: Sequence[str]) -> None:
        """Give every idle worker a job, and start workers while jobs wait and devices are free."""
        for worker in [one for one in self.workers if one.job is None and one.told_to_stop is None]:
            job = self.ledger.take()
            if job is None:
                return
            worker.give(job)
        free = list(devices)
        for worker in self.workers:
            free.remove(worker.device)
        for device in free:
            job = self.ledger.take()
            if job is None:
                return
            self.workers.append(_Worker(device, self.threads, self.rules.silence, self.inbox))
            self.workers[-1].give(job)

    def listen(self) -> None:
        """Take in what workers said, waiting a moment for the first word."""
        with contextlib.suppress(queue.Empty):
            worker, line = self.inbox.get(timeout=TICK_SECONDS)
            self._hear(worker, line)
            while True:
                self._hear(*self.inbox.get_nowait())

    def _hear(self, worker: _Worker, line: str | None) -> None:
        worker.silent = 0.0
        if line is None:
            how = worker.end()
            self.workers.remove(worker)
            if worker.job is not None and stopping.requested() is None:
                self.ledger.vanished(worker.job, how, worker.timed_out)
            return
        message = json.loads(line)
        job = worker.job
        if job is None:
            return
        if "began" in message:
            worker.started = time.monotonic()
        elif "epoch" in message:
            self.on_epoch(job.folder, message["epoch"])
        elif "outcome" in message:
            worker.job = None
            outcome = Outcome(**message["outcome"])
            if outcome.status not in ("finished", "locked"):
                worker.stop()  # whatever went wrong in that process shall not meet the next run
            if outcome.status != "interrupted" or stopping.requested() is None:
                self.ledger.report(job, outcome, worker.timed_out)

    def watch(self) -> None:
        """Step in where a worker hangs, takes too long, or does not end though it was told to."""
        now = time.monotonic()
        # While this process itself was stopped or starved, nobody's silence grows.
        passed, self.looked = min(now - self.looked, 5 * TICK_SECONDS), now
        for worker in self.workers:
            worker.silent += passed
            limit = self.rules.timeout
            if worker.told_to_stop is not None and now - worker.told_to_stop > self.rules.grace:
                worker.process.kill()
            elif worker.job is not None and worker.silent > self.rules.silence:
                worker.hung = True
                worker.process.kill()
            elif worker.job is not None and limit is not None and now - worker.started > limit:
                worker.timed_out = True
                worker.stop()

    def dismiss(self) -> None:
        """End all workers: idle ones at once, busy ones after their checkpoint, the rest by force."""
        busy = sum(worker.job is not None for worker in self.workers)
        if busy:
            log.warning("stopping %d runs, which write their checkpoints first; a second Ctrl-C stops at once", busy)
        deadline = time.monotonic() + self.rules.grace
        for worker in self.workers:
            if worker.job is not None:
                worker.stop()
            else:
                worker.release()
        while self.workers:
            if time.monotonic() > deadline:
                for worker in self.workers:
                    worker.process.kill()
            self.listen()


def _launch(threads: int, silence: float) -> subprocess.Popen[str]:
    return start("sweep.worker", str(threads), str(console_level()), str(silence), threads=threads)
