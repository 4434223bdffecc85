"""A process of its own for Weights & Biases: jobs come in as lines of JSON, warnings go out as lines of JSON.

The training process never imports the package and never waits for it: a service that hangs, dies or asks something
does so here, without a terminal to ask on.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from artifacts.run_dir import one_line

CONNECT_SECONDS = 3
LINGER_SECONDS = 60
Message = dict[str, Any]


class Journal:
    """Follows the messages of one process, one job at a time; whatever the package raises becomes a warning.

    module: the package. warn: takes a line of text.
    """

    def __init__(self, module: Any, warn: Callable[[str], None]) -> None:
        self.module, self.warn, self.session = module, warn, None
        self.reachable = True

    def follow(self, messages: Iterable[Message]) -> None:
        """Every message is one of `start`, `log`, `summary`, `show` or `finish`, with the values it is about."""
        for message in messages:
            (kind, values) = next(iter(message.items()))
            getattr(self, f"_{kind}")(values)
        if self.session is not None:
            self._finish(1)  # the process that sent the messages is gone

    def _start(self, values: Message) -> None:
        online = values.pop("online") and self.reachable
        # Artifacts wait here for their upload: beside the runs, not in the home folder.
        data = Path(values["dir"]).resolve() / "wandb" / "data"
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            os.environ.setdefault(name, str(data))
        if online:
            self.session = self._try(lambda: self._init(values, "online"), "logging offline instead")
            self.reachable = self.session is not None
        if self.session is None:
            self.session = self._try(lambda: self._init(values, "offline"))

    def _init(self, values: Message, mode: str) -> Any:
        settings = self.module.Settings(
            silent=True,
            console="off",
            disable_git=True,
            init_timeout=CONNECT_SECONDS,
            login_timeout=CONNECT_SECONDS,
        )
        # An offline folder cannot know of earlier ones: it holds the whole run, and their id joins them.
        resume = "allow" if mode == "online" else None
        Path(values["dir"]).mkdir(parents=True, exist_ok=True)
        return self.module.init(**values, mode=mode, resume=resume, reinit="finish_previous", settings=settings)

    def _log(self, values: Message) -> None:
        self._use(lambda session: session.log(values["row"], step=values["step"]))

    def _summary(self, values: Message) -> None:
        self._use(lambda session: session.summary.update(values))

    def _show(self, values: Message) -> None:
        """Tables {name: {columns, data}}, pictures {name: file}, and an artifact {name, type, files}."""
        module = self.module
        makers = {name: partial(module.Table, **table) for name, table in values["tables"].items()}
        makers |= {name: partial(module.Image, file) for name, file in values["images"].items()}
        shown = {name: self._try(make) for name, make in makers.items()}
        self._use(lambda session: session.log({name: one for name, one in shown.items() if one is not None}))
        if values["artifact"]:
            self._use(lambda session: session.log_artifact(self._artifact(**values["artifact"])))

    def _artifact(self, name: str, type: str, files: list[str]) -> Any:
        artifact = self.module.Artifact(name, type=type)
        root = Path(os.path.commonpath([Path(file).parent for file in files]))
        for file in files:
            artifact.add_file(file, name=Path(file).relative_to(root).as_posix())
        return artifact

    def _finish(self, code: int) -> None:
        self._use(lambda session: session.finish(exit_code=code))
        self.session = None

    def _use(self, call: Callable[[Any], Any]) -> None:
        """A session that failed once is not used again."""
        session = self.session
        if session is not None and self._try(lambda: call(session) or session) is None:
            self.session = None

    def _try(self, call: Callable[[], Any], then: str = "the run goes on without it") -> Any:
        try:
            return call()
        except Exception as error:
            self.warn(f"wandb: {one_line(error)[:160]}; {then}")
            with contextlib.suppress(Exception):
                # A service that failed may be gone, or hold on to the run that it could not begin: the next is new.
                self.module.teardown()
            return None


def main() -> None:
    """Follow standard input until it ends; a service that then does not come to an end is left behind."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # what the package prints is no answer
    waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        waiting.put(None)
        time.sleep(LINGER_SECONDS)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()

    def warn(text: str) -> None:
        try:
            print(json.dumps(text), file=answers, flush=True)
        except OSError:
            return  # nobody listens any more

    try:
        import wandb
    except Exception as error:  # also a broken installation
        warn(f"--wandb: the package cannot be loaded ({one_line(error)[:160]}); nothing is logged there")
        return
    Journal(wandb, warn).follow(iter(waiting.get, None))


if __name__ == "__main__":
    main()
