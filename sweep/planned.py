"""The cells that sweeps set out to train, so that an interrupted one can name those that never started."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from artifacts.files import write_text
from artifacts.run_dir import cell_folder
from configs.config import ExperimentConfig
from configs.errors import UsageError

FILE = "planned_cells.json"
LOCK = ".planned_cells.lock"


def remember(cells: Iterable[ExperimentConfig], runs_dir: Path) -> None:
    """Add cells to the plan of a runs directory; a cell takes the place of an earlier one in the same folder."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(runs_dir / LOCK):  # the shards of a sweep start at the same time
        by_folder = {cell_folder(cell, runs_dir): cell for cell in [*remembered(runs_dir), *cells]}
        fields = [dataclasses.asdict(cell) for cell in by_folder.values()]
        write_text(runs_dir / FILE, json.dumps(fields, indent=1) + "\n")


def remembered(runs_dir: Path) -> list[ExperimentConfig]:
    """The cells in the plan; none where there is no plan, or one that another version wrote."""
    try:
        fields = json.loads((runs_dir / FILE).read_text(encoding="utf-8"))
        return [ExperimentConfig.from_dict(one) for one in fields]
    except (OSError, ValueError, TypeError, UsageError):
        return []  # the plan only adds words to a report: training and attacks never depend on it
