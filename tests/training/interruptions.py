"""Training a tiny run, and ending it after an epoch as if its process had died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from training.run import run_one

Make = Callable[..., ExperimentConfig]
MACHINE = Machine(device="cpu", checkpoint_seconds=0.0)
QUERIES = QuerySettings(2, samia=True)


def train(config: ExperimentConfig, path: Path, on_epoch: Any = None) -> RunDir:
    run = RunDir(path)
    run_one(config, run, Places(), MACHINE, QUERIES, on_epoch)
    return run


class Interruption(BaseException):
    """Stands for a killed process: nothing below may catch it."""


def interrupted_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def hook(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise Interruption

    return hook
