"""Stands for the package wandb in another process: records what it is asked, and fails or hangs on demand."""

from __future__ import annotations

import json
import os
import time
from typing import Any

FAULT = os.environ.get("FAKE_WANDB_FAULT", "")


def _record(kind: str, **values: Any) -> None:
    with open(os.environ["FAKE_WANDB_RECORD"], "a", encoding="utf-8") as stream:
        stream.write(json.dumps({"kind": kind, **values}) + "\n")


def Settings(**values: Any) -> dict[str, Any]:
    return values


class _Session:
    def log(self, row: dict[str, Any], step: int | None = None) -> None:
        if FAULT == "killed":
            raise ConnectionResetError("Connection lost")
        if FAULT == "full":
            raise OSError(28, "No space left on device")
        _record("log", row=row, step=step)

    @property
    def summary(self) -> _Session:
        return self

    def update(self, values: dict[str, Any]) -> None:
        _record("summary", values=values)

    def finish(self, exit_code: int) -> None:
        _record("finish", code=exit_code)


def teardown() -> None:
    _record("teardown")


def init(**values: Any) -> _Session:
    _record("init", **values)
    if FAULT == "hanging":
        time.sleep(600)
    if FAULT == "broken" or (FAULT == "unreachable" and values["mode"] == "online"):
        raise RuntimeError("cannot reach the service\nafter several tries")
    return _Session()
