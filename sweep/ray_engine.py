"""The Ray engine: every run a task of a Ray cluster, or of Ray on this machine where there is no cluster.

The folder of a run is the truth here as well: Ray hands out processors and GPUs and says which worker or node died;
retries, time limits and orderly stops follow `sweep.engine`, as they do for the local engine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from artifacts import stopping
from artifacts.atomic_writes import write_text
from artifacts.logs import set_up_console
from artifacts.run_dir import one_line
from configs import own_code
from configs.errors import RunError, UsageError
from configs.machine import Machine
from sweep.engine import TICK_SECONDS, DoneHook, EpochHook, Ledger, Rules
from sweep.ray_cluster import check_ray, connect, handlers_kept, import_ray
from sweep.worker import BEAT_SECONDS, Job, Outcome, run_job

log = logging.getLogger(__name__)
CHECK_SECONDS = 120.0
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process at once by either


@dataclasses.dataclass(frozen=True)
class Site:
    """What a task has to see on its node: the folder of the command, and a marker file in the runs directory."""

    folder: str
    marker: str
    token: str

    def enter(self) -> None:
        """Change to the folder of the command; RunError when this node does not see the same storage."""
        node = socket.gethostname()
        try:
            os.chdir(self.folder)
        except OSError:
            raise RunError(f"node {node} has no folder {self.folder}, in which the command runs") from None
        try:
            seen = Path(self.marker).read_text(encoding="utf-8")
        except OSError:
            seen = ""
        if seen != self.token:
            folder = Path(self.marker).parent
            raise RunError(f"node {node} does not see {folder}; --runs-dir must be on storage that all nodes share")


def run_on_ray(
    jobs: Sequence[Job], machine: Machine, address: str, rules: Rules, on_epoch: EpochHook, on_done: DoneHook
) -> list[Outcome]:
    """Run all jobs as Ray tasks; outcomes in the order of `jobs`. Stops and hooks as in `sweep.local.run_jobs`.

    address: `auto` or HOST:PORT. UsageError as `check_ray`, and when a node does not see the runs directory.
    """
    check_ray(machine, address)
    ray = import_ray()
    ledger = Ledger(jobs, rules, on_done)
    with stopping.postponed():
        threads = connect(ray, address, machine, len(jobs))
        try:
            with _marked(Path(jobs[0].places.runs_dir)) as site:
                _check_nodes(ray, site)
                fleet = _Fleet(ray, ledger, machine, threads, site, on_epoch)
                try:
                    while ledger.open and stopping.requested() is None:
                        fleet.submit()
                        fleet.listen()
                        fleet.watch()
                finally:
                    fleet.dismiss()
        finally:
            ray.shutdown()
        stopping.check()
    return ledger.outcomes()


@contextlib.contextmanager
def _marked(runs_dir: Path) -> Iterator[Site]:
    marker, token = runs_dir.resolve() / f".shared-{uuid.uuid4().hex}", uuid.uuid4().hex
    write_text(marker, token)
    try:
        yield Site(os.getcwd(), str(marker), token)
    finally:
        marker.unlink(missing_ok=True)


def _check_nodes(ray: Any, site: Site) -> None:
    """Ask every node whether it sees the marker; UsageError naming the first that does not."""
    look = ray.remote(num_cpus=0, max_retries=0)(Site.enter)
    for node in [node for node in ray.nodes() if node["Alive"]]:
        answer = look.options(scheduling_strategy=_on(ray, node["NodeID"])).remote(site)
        try:
            ray.get(answer, timeout=CHECK_SECONDS)
        except ray.exceptions.RayTaskError as error:
            raise UsageError(f"argument --runs-dir: {one_line(error.cause)}") from None
        except ray.exceptions.RayError as error:
            name = node.get("NodeManagerHostname", node["NodeID"])
            raise UsageError(
                f"argument --engine: node {name} cannot run this project ({one_line(error)[:200]})"
            ) from None


def _on(ray: Any, node: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _train(line: str, site: Site, threads: int, patience: float, beat: float, mailbox: Any) -> dict[str, Any]:
    """The task: one run in a process of a node, with signs of life to the driver's mailbox.

    patience: seconds that a second try waits for the lock of the first, whose process may still be dying.
    """
    import ray
    import torch

    site.enter()
    own_code.trust(())  # what its job names, the command that started it named
    set_up_console(logging.WARNING)  # Ray keeps it with the node's logs; the run's own log has every line
    job = Job.from_json(line)
    torch.set_num_threads(threads)
    ended = threading.Event()

    def tell(kind: str, *words: Any) -> None:
        with contextlib.suppress(Exception):  # a run does not depend on being watched
            mailbox.put_nowait((kind, job.folder, *words))

    def live() -> None:
        while not ended.wait(beat):
            tell("alive")

    tell("began", ray.get_runtime_context().get_node_id(), os.getpid())
    threading.Thread(target=live, daemon=True).start()
    deadline = time.monotonic() + patience
    try:
        with handlers_kept():
            stopping.install()
            while True:
                outcome = run_job(job, lambda row: tell("epoch", row))
                if outcome.status != "locked" or time.monotonic() > deadline:
                    return dataclasses.asdict(outcome)
                time.sleep(TICK_SECONDS)
    finally:
        ended.set()


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclasses.dataclass
class _Flight:
    """A task under way. node and pid are known once it has begun."""

    job: Job
    ref: Any
    node: str | None = None
    pid: int = 0
    started: float = 0.0
    silent: float = 0.0
    told_to_stop: float | None = None
    timed_out: bool = False


class _Fleet:
    """The tasks of one sweep."""

    def __init__(
        self, ray: Any, ledger: Ledger, machine: Machine, threads: int, site: Site, on_epoch: EpochHook
    ) -> None:
        self.ray, self.ledger, self.rules, self.threads = ray, ledger, ledger.rules, threads
        self.site, self.on_epoch = site, on_epoch
        self.most = machine.jobs or len(ledger.jobs)
        wants_gpu = machine.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        share = 1.0 / (machine.models_per_device or 1) if wants_gpu else 0
        self.train = ray.remote(num_cpus=threads, num_gpus=share, max_retries=0)(_train)
        self.signal = ray.remote(num_cpus=0, max_retries=0)(_signal)
        here = _on(ray, ray.get_runtime_context().get_node_id())
        self.mailbox = ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.flights: dict[str, _Flight] = {}
        self.looked = time.monotonic()

    def submit(self) -> None:
        """Hand Ray what waits: all of it, or as much as --jobs allows at once."""
        while len(self.flights) < self.most and (job := self.ledger.take()) is not None:
            patience = self.rules.grace if self.ledger.tries[job.folder] > 1 else 0.0
            beat = min(BEAT_SECONDS, self.rules.silence / 6)
            ref = self.train.remote(job.to_json(), self.site, self.threads, patience, beat, self.mailbox)
            self.flights[job.folder] = _Flight(job, ref)

    def listen(self) -> None:
        """Take in what tasks say and what became of them, waiting a moment for the first."""
        refs = {flight.ref: flight for flight in self.flights.values()}
        done, _ = self.ray.wait(list(refs), num_returns=len(refs), timeout=TICK_SECONDS) if refs else ([], [])
        with contextlib.suppress(self.ray.util.queue.Empty):
            for kind, folder, *words in self.mailbox.get_nowait_batch(self.mailbox.qsize()):
                if folder in self.flights:
                    self._hear(self.flights[folder], kind, words)
        for ref in done:
            flight = self.flights.pop(refs[ref].job.folder)
            self._end(flight)

    def _hear(self, flight: _Flight, kind: str, words: list[Any]) -> None:
        flight.silent = 0.0
        if kind == "began":
            flight.node, flight.pid = words
            flight.started = time.monotonic()
        elif kind == "epoch":
            self.on_epoch(flight.job.folder, words[0])

    def _end(self, flight: _Flight) -> None:
        errors = self.ray.exceptions
        try:
            outcome = Outcome(**self.ray.get(flight.ref))
        except errors.RayTaskError as error:
            outcome = Outcome(flight.job.folder, "failed", one_line(error.cause))
        except errors.RayError as error:
            if stopping.requested() is None:
                how = f"its worker or node was lost ({type(error).__name__})"
                self.ledger.vanished(flight.job, how, flight.timed_out)
            return
        if outcome.status != "interrupted" or stopping.requested() is None:
            self.ledger.report(flight.job, outcome, flight.timed_out)

    def watch(self) -> None:
        """Step in where a task hangs, takes too long, or does not end though it was told to."""
        now = time.monotonic()
        passed, self.looked = min(now - self.looked, 5 * TICK_SECONDS), now
        for flight in [one for one in self.flights.values() if one.node is not None]:
            flight.silent += passed
            limit = self.rules.timeout
            overdue = flight.told_to_stop is not None and now - flight.told_to_stop > self.rules.grace
            if overdue or flight.silent > self.rules.silence:
                self._send(flight, KILL)
                flight.silent, flight.told_to_stop = 0.0, None
            elif flight.told_to_stop is None and limit is not None and now - flight.started > limit:
                flight.timed_out = True
                self._stop(flight)

    def _stop(self, flight: _Flight) -> None:
        flight.told_to_stop = time.monotonic()
        self._send(flight, signal.SIGTERM)

    def _send(self, flight: _Flight, number: signal.Signals) -> None:
        assert flight.node is not None
        self.signal.options(scheduling_strategy=_on(self.ray, flight.node)).remote(flight.pid, int(number))

    def dismiss(self) -> None:
        """Take back what has not begun, and let the rest write its checkpoints."""
        begun = [flight for flight in self.flights.values() if flight.node is not None]
        if begun:
            log.warning(
                "stopping %d runs, which write their checkpoints first; a second Ctrl-C stops at once", len(begun)
            )
        for flight in self.flights.values():
            if flight.node is None:
                self.ray.cancel(flight.ref)
            else:
                self._stop(flight)
        deadline = time.monotonic() + self.rules.grace
        while self.flights and time.monotonic() < deadline:
            self.listen()
