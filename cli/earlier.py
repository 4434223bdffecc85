"""Choices that a command leaves open and its folders or other flags decide: runs made under earlier defaults go on."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from artifacts.run_dir import RunDir, cell_folder
from configs.experiment import OF_ONE_MODEL, ExperimentConfig
from configs.knobs import flag_name

log = logging.getLogger(__name__)
# Fields whose defaults, of the flag or of a preset, have changed since runs were made.
CHANGED = ("split", "num_shadows", "augment")


def settled(
    args: argparse.Namespace, plan: Callable[[], Sequence[ExperimentConfig]], name: str | None = None
) -> Sequence[ExperimentConfig]:
    """The planned cells, once `args` holds what was left open. plan: the cells that `args` describes; name: --name.

    Where the cells' folders hold runs that differ from the plan in nothing but values of CHANGED that the command does
    not name, these values are taken for all cells, which a line says; not with --overwrite, which replaces the runs.
    """
    if args.train_fraction != ExperimentConfig.train_fraction and args.split == "pairs" and "split" not in args.named:
        args.split = "balanced"
        log.warning("--split balanced is taken: in pairs every model trains on half of the pool")
    cells = plan()
    if args.overwrite:
        return cells
    runs_dir = Path(args.runs_dir)
    earlier = next((found for cell in cells for found in _earlier(cell, runs_dir, name, args.named)), None)
    if earlier is None:
        return cells
    folder, values = earlier
    for field, value in values.items():
        setattr(args, field, value)
    flags = ", ".join(f"{flag_name(field)} {value}" for field, value in values.items())
    log.warning("%s was trained with %s: this command goes on with that, but for flags that it names", folder, flags)
    return plan()


def _earlier(
    cell: ExperimentConfig, runs_dir: Path, name: str | None, named: Iterable[str]
) -> Iterable[tuple[Path, dict[str, Any]]]:
    """A folder of the cell, and the values of CHANGED that make its run one of the cell's; none where it is already."""
    folder = cell_folder(cell, runs_dir, name)
    for run in (RunDir(folder), *map(RunDir, sorted(folder.glob("shadow_*")))):
        try:
            stored = run.read_config()
        except (OSError, ValueError):
            continue
        if stored.cell_fingerprint() == cell.cell_fingerprint():
            return
        values = {field: getattr(stored, field) for field in CHANGED if field not in named}
        values = {field: value for field, value in values.items() if value != getattr(cell, field)}
        if values and _rest(dataclasses.replace(cell, **values, model_index=0)) == _rest(stored):
            yield run.path, values
        return


def _rest(config: ExperimentConfig) -> dict[str, Any]:
    """What all models of a cell have in common."""
    identity = config.identity()
    return {key: value for key, value in identity.items() if key not in OF_ONE_MODEL} | {
        "pretrained": config.pretrained is not None or config.pretrained_hash is not None
    }
