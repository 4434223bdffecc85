"""The cells that sweeps set out to train, so that an interrupted one can name those that never started."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from artifacts.atomic_writes import clear_temporaries, read_json, write_text
from artifacts.locks import locked
from artifacts.run_dir import cell_folder
from configs.experiment import ExperimentConfig
from pruning.registry import stored_config
from sweep.plan import check_names

FILE = "planned_cells.json"
LOCK_SECONDS = 60.0  # the shards of a sweep start at the same time


def remember(cells: Iterable[ExperimentConfig], runs_dir: Path) -> None:
    """Add cells to the plan of a runs directory; a cell takes the place of an earlier one in the same folder."""
    with locked(runs_dir, wait=LOCK_SECONDS):
        clear_temporaries(runs_dir, FILE)
        _remember(cells, runs_dir)


def _remember(cells: Iterable[ExperimentConfig], runs_dir: Path) -> None:
    by_folder: dict[Path, ExperimentConfig] = {}
    for cell in [*remembered(runs_dir), *cells]:
        folder = cell_folder(cell, runs_dir)
        by_folder[folder] = larger(cell, by_folder.get(folder))
    fields = [cell.flat() for cell in by_folder.values()]
    write_text(runs_dir / FILE, json.dumps(fields, indent=1) + "\n")


def larger(cell: ExperimentConfig, earlier: ExperimentConfig | None) -> ExperimentConfig:
    """The cell with as many shadow models as either plans, where models can be added to it; else the cell itself."""
    if earlier is None or not cell.grows or earlier.cell_fingerprint() != cell.cell_fingerprint():
        return cell
    return dataclasses.replace(cell, num_shadows=max(cell.num_shadows, earlier.num_shadows))


def remembered(runs_dir: Path) -> list[ExperimentConfig]:
    """The cells in the plan; none where there is no plan, or one that another version wrote."""
    try:
        cells = [stored_config(one) for one in read_json(runs_dir / FILE)]
        for cell in cells:
            check_names(cell)
        return cells
    except (OSError, ValueError, TypeError):
        return []  # the plan only adds words to a report: training and attacks never depend on it
