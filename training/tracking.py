"""Weights & Biases, if wanted and there. It never blocks, prompts or stops a run."""

from __future__ import annotations

import contextlib
import functools
import logging
import netrc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from artifacts.run_dir import RunDir
from configs.config import ExperimentConfig, Tracking

log = logging.getLogger(__name__)
Track = Callable[[dict[str, Any]], None]
CONNECT_SECONDS = 4


class Tracker:
    """Logs runs: group = sweep, job type = target, shadow or attack. Without `--wandb` it does nothing."""

    def __init__(self, options: Tracking | None = None, group: str = "", folder: Path = Path()) -> None:
        self.options, self.group, self.folder = options or Tracking(), group, folder
        self.module = _import_wandb() if self.options.wandb else None

    @contextlib.contextmanager
    def run(self, config: ExperimentConfig, run: RunDir) -> Iterator[Track]:
        """Track the training of one model; the value takes a row of figures."""
        kind = "target" if config.model_index == 0 else "shadow"
        identity = config.identity()
        with self.job(kind, run.path.as_posix(), identity, config.fingerprint()[:16]) as track:
            yield track

    @contextlib.contextmanager
    def job(self, kind: str, name: str, config: dict[str, Any], identity: str | None = None) -> Iterator[Track]:
        """Track one job; every failure of the service is a warning, once, and the job goes on untracked."""
        session = self._start(kind, name, config, identity)

        def track(row: dict[str, Any]) -> None:
            nonlocal session
            if session is not None:
                session = _guard(lambda: session.log({k: v for k, v in row.items() if v is not None}) or session)

        try:
            yield track
        finally:
            if session is not None:
                _guard(session.finish)

    def _start(self, kind: str, name: str, config: dict[str, Any], identity: str | None) -> Any:
        if self.module is None:
            return None
        wandb = self.module
        online = has_key()
        if not online:
            _say_once(f"wandb: no key found, logging offline in {self.folder / 'wandb'} (upload with `wandb sync`)")
        self.folder.mkdir(parents=True, exist_ok=True)

        def start(mode: str) -> Any:
            return wandb.init(
                project=self.options.wandb_project,
                entity=self.options.wandb_entity,
                tags=list(self.options.wandb_tags),
                group=self.group or None,
                job_type=kind,
                name=name,
                id=identity,
                config=config,
                dir=str(self.folder),
                mode=mode,
                resume="allow" if identity and mode == "online" else None,
                reinit="finish_previous",
                settings=wandb.Settings(silent=True, console="off", init_timeout=CONNECT_SECONDS, disable_git=True),
            )

        session = _guard(lambda: start("online")) if online else None
        return session if session is not None else _guard(lambda: start("offline"))


def has_key() -> bool:
    """Whether a wandb key is configured, without asking wandb, which may prompt."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _import_wandb() -> Any:
    try:
        import wandb
    except ImportError:
        _say_once("--wandb: the package wandb is not installed, so nothing is logged there (pip install wandb)")
        return None
    return wandb


@functools.cache
def _say_once(message: str) -> None:
    log.warning("%s", message)


def _guard(call: Callable[[], Any]) -> Any:
    """Tracking is a convenience: whatever it raises is a warning and never ends a run."""
    try:
        return call()
    except Exception as error:
        log.warning("wandb: %s; the run goes on without it", " ".join(str(error).split())[:160])
        return None
