"""What is known of the weights that a model starts from (`--pretrained`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artifacts.run_dir import RunDir
from configs.errors import RunError
from configs.experiment import ExperimentConfig


def what_starts(config: ExperimentConfig) -> dict[str, Any]:
    """pretrained_steps: the optimiser steps that the weights had taken, where a run of this project took them; of a
    model whose own sweep trains the run that it starts from, pretrained_hash as well.

    RunError when that run is not finished, or is another one than was planned.
    """
    if config.pretrained is None:
        return {}
    path = Path(config.pretrained)
    run, chained = RunDir(path.parent), config.pretrained_run is not None
    try:
        summary = run.read_summary()
    except (OSError, ValueError):
        if chained:
            raise RunError(f"{run.path} holds no finished run to start from") from None
        return {}
    if chained and summary.get("fingerprint") != config.pretrained_run:
        raise RunError(f"{run.path} holds another experiment than the one to start from")
    known = {"pretrained_hash": summary["hashes"][run.model.name]} if chained else {}
    steps = summary.get("optimizer_steps") if path == run.model else None
    return known | ({} if steps is None else {"pretrained_steps": int(steps)})
