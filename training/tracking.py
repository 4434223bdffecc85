"""Weights & Biases and TensorBoard, if wanted and there. Neither blocks, prompts or stops a run."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
import netrc
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from artifacts.children import start
from artifacts.heartbeat import Heartbeat
from artifacts.run_dir import RunDir, one_line
from configs.experiment import ExperimentConfig
from configs.machine import Tracking

log = logging.getLogger(__name__)
# Where `wandb login` keeps its key, beside the host of a private server in WANDB_BASE_URL.
HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
CLOSE_SECONDS = 4
Row = Mapping[str, Any]


class Sink(Protocol):
    """Where one job's figures go."""

    def log(self, row: Row, step: int) -> None: ...

    def summary(self, values: Row) -> None: ...

    def show(self, tables: Row, images: Sequence[Path], files: Sequence[Path]) -> None: ...

    def finish(self, code: int) -> None: ...


class TrackedJob:
    """One training or evaluation being tracked. A sink that fails is a warning, once, and is not used again."""

    def __init__(self, sinks: list[Sink]) -> None:
        self.sinks = sinks

    def epoch(self, row: Row) -> None:
        """Figures of one epoch, with its number in `epoch`."""
        self._each(lambda sink: sink.log(_numbers(row), int(row["epoch"])))

    def summary(self, values: Row) -> None:
        """The figures that the job ends with; what is no number is left out."""
        self._each(lambda sink: sink.summary(_numbers(values)))

    def show(
        self, tables: Mapping[str, Sequence[Row]], images: Sequence[Path] = (), files: Sequence[Path] = ()
    ) -> None:
        """Tables (rows by name), PNG files, and files that make one artifact."""
        self._each(lambda sink: sink.show(tables, images, files))

    def finish(self, code: int = 0) -> None:
        """The job ended, well with code 0."""
        self._each(lambda sink: sink.finish(code))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self.sinks):
            if not _works(type(sink).__name__, partial(call, sink)):
                self.sinks.remove(sink)


class Tracker:
    """Tracks jobs: group = sweep, job type = target, shadow, attack or report. Without a flag it keeps quiet."""

    def __init__(self, options: Tracking | None = None, group: str = "", folder: Path = Path()) -> None:
        self.options, self.group, self.folder = options or Tracking(), group, folder

    @contextlib.contextmanager
    def run(self, config: ExperimentConfig, run: RunDir, history: Sequence[Row] = ()) -> Iterator[TrackedJob]:
        """Track the training of one model; history: the rows of the epochs that a resumed run has behind it.

        They are logged again under the same id and steps, so that what was written last is whole by itself.
        """
        kind = "target" if config.model_index == 0 else "shadow"
        events = run.path / "tensorboard"
        about = {**config.flat(), **config.identity()}
        del about["pretrained"]  # a path; the weights count by their hash
        with self.job(kind, run.path.as_posix(), about, config.fingerprint(), events) as job:
            job.sinks.append(Heartbeat(run.path, config.total_epochs, len(history)))
            for row in history:
                job.epoch(row)
            yield job

    @contextlib.contextmanager
    def job(self, kind: str, name: str, config: dict[str, Any], identity: str, events: Path) -> Iterator[TrackedJob]:
        """Track one job. identity: text that is the same whenever the same job runs again. events: for TensorBoard."""
        job = TrackedJob(list(self._sinks(kind, name, config, identity, events)))
        try:
            yield job
        except BaseException:
            job.finish(1)
            raise
        job.finish()

    def _sinks(self, kind: str, name: str, config: dict[str, Any], identity: str, events: Path) -> Iterator[Sink]:
        if self.options.wandb and _installed("wandb", "--wandb"):
            sink = Wandb()
            if _works("wandb", lambda: sink.start(self._about(kind, name, config, identity))):
                yield sink
        if self.options.tensorboard and _installed("tensorboard", "--tensorboard"):
            yield TensorBoard(events)

    def _about(self, kind: str, name: str, config: dict[str, Any], identity: str) -> dict[str, Any]:
        """The arguments of `wandb.init`."""
        online = has_key()
        if not online:
            _say_once(f"wandb: no key found, logging offline in {self.folder / 'wandb'} (upload with `wandb sync`)")
        return {
            "project": self.options.wandb_project,
            "entity": self.options.wandb_entity,
            "tags": list(self.options.wandb_tags),
            "group": self.group or None,
            "job_type": kind,
            "name": name,
            "id": hashlib.sha256(f"{kind} {identity}".encode()).hexdigest()[:16],
            "config": config,
            "dir": str(self.folder),
            "online": online,
        }


class Wandb:
    """One job in the process of `training.wandb_log`, whose messages it queues: nothing here waits."""

    def start(self, about: dict[str, Any]) -> None:
        """about: of `Tracker._about`."""
        self.send({"start": about})

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message of `training.wandb_log.Journal`."""
        _service().send(message)

    def log(self, row: Row, step: int) -> None:
        self.send({"log": {"row": dict(row), "step": step}})

    def summary(self, values: Row) -> None:
        self.send({"summary": dict(values)})

    def show(self, tables: Row, images: Sequence[Path], files: Sequence[Path]) -> None:
        artifact = {"name": "report", "type": "report", "files": [str(path.resolve()) for path in files]}
        content = {
            "tables": {name: _table(rows) for name, rows in tables.items()},
            "images": {path.stem: str(path.resolve()) for path in images},
            "artifact": artifact if files else None,
        }
        self.send({"show": content})

    def finish(self, code: int) -> None:
        self.send({"finish": code})


class TensorBoard:
    """Event files of one job. Older ones in the folder are superseded: a reader drops their steps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.last = folder, 0

    @functools.cached_property
    def writer(self) -> Any:
        """Opened with the first figure, so that a job without figures leaves no file."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=0)

    def log(self, row: Row, step: int) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.last = step

    def summary(self, values: Row) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"summary/{name}", value, self.last)

    def show(self, tables: Row, images: Sequence[Path], files: Sequence[Path]) -> None:
        """It takes scalars only."""

    def finish(self, code: int) -> None:
        if "writer" in vars(self):
            self.writer.close()


class _Service:
    """The process of `training.wandb_log`, fed and listened to by threads, so that nothing here waits for it."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # a session of its own: no terminal to ask on, and no Ctrl-C before the last rows are written
        self.process = start("training.wandb_log", quiet=True, settings={"WANDB_ERROR_REPORTING": "false"})
        self.threads = [threading.Thread(target=body, daemon=True) for body in (self._feed, self._listen)]
        for thread in self.threads:
            thread.start()

    def send(self, message: dict[str, Any]) -> None:
        self.waiting.put(json.dumps(message, default=lambda number: number.item()))  # numpy's

    def _feed(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError), self.process.stdin as pipe:  # a process that is gone has said so or not
            while (line := self.waiting.get()) is not None:
                pipe.write(line + "\n")
                pipe.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            for line in pipe:
                log.warning("%s", json.loads(line))

    def close(self) -> None:
        """Wait a moment for what is under way; a slow upload goes on by itself, and comes to an end by itself."""
        self.waiting.put(None)
        try:
            self.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("wandb: still busy after %d s, which it may finish by itself", CLOSE_SECONDS)
            return
        for thread in self.threads:
            thread.join(1)


@functools.cache
def _service() -> _Service:
    service = _Service()
    atexit.register(close)
    return service


def close() -> None:
    """End the wandb process of this process, if there is one; it starts again with the next job."""
    if _service.cache_info().currsize:
        _service().close()
        _service.cache_clear()
        atexit.unregister(close)


def has_key() -> bool:
    """Whether a wandb key is configured, without asking wandb, which may prompt."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    hosts = (urlsplit(os.environ.get("WANDB_BASE_URL", "")).netloc, *HOSTS)
    return any(entries.authenticators(host) is not None for host in hosts if host)


def _works(what: str, call: Callable[[], None]) -> bool:
    """Tracking is a convenience: whatever it raises is a warning and never ends a run."""
    try:
        call()
    except Exception as error:
        log.warning("%s: %s; the run goes on without it", what, one_line(error)[:160])
        return False
    return True


@functools.cache
def _installed(package: str, flag: str) -> bool:
    found = importlib.util.find_spec(package) is not None
    if not found:
        log.warning("%s: not installed, so nothing is logged there (pip install %s)", flag, package)
    return found


@functools.cache
def _say_once(message: str) -> None:
    log.warning("%s", message)


def _numbers(row: Row) -> dict[str, float]:
    return {str(name): value for name, value in row.items() if isinstance(value, int | float) and value == value}


def _table(rows: Sequence[Row]) -> dict[str, Any]:
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    return {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
