"""What the report is drawn from: the files of a results folder, and nothing else."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import UsageError
from mia.registry import ATTACKS
from reporting.tables import EVIDENCE_TABLES, read_table

SETTING = ("dataset", "arch", "layers", "width_mult", "seed", "split")


@dataclass(frozen=True, eq=False)
class Inputs:
    """The tables by name (`reporting.tables.EVIDENCE_TABLES`, without tidy), the most exposed pictures by experiment
    (uint8 [k, H, W, ch]), and evaluation.json."""

    tables: dict[str, pd.DataFrame]
    pictures: dict[str, npt.NDArray[np.uint8]]
    about: dict[str, Any]

    @property
    def cells(self) -> pd.DataFrame:
        return self.tables["cells"]

    def of(self, name: str, experiments: list[str], *columns: str) -> pd.DataFrame:
        """The rows of a table whose `columns` (default: experiment) all name one of these experiments."""
        frame = self.tables[name]
        kept = frame[list(columns or ("experiment",))].isin(experiments).all(axis=1)
        return frame[kept]


def read_inputs(results_dir: Path) -> Inputs:
    """Read a results folder. UsageError, one line, where it holds no evaluation."""
    if not results_dir.is_dir():
        raise UsageError(f"argument --results-dir: {results_dir} does not exist; an evaluation writes it")
    names = [name for name in EVIDENCE_TABLES if name != "tidy"]
    tables = {name: read_table(results_dir / f"{name}.csv", EVIDENCE_TABLES[name]) for name in names}
    return Inputs(tables, _pictures(results_dir / "exposed_pictures.npz"), _about(results_dir / "evaluation.json"))


def _pictures(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        raise UsageError(f"{path} cannot be read; evaluate again, or delete it") from None


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{path} cannot be read; evaluate again") from None
    if not isinstance(about, dict):
        raise UsageError(f"{path} must hold one JSON object; evaluate again")
    return about


def settings_of(cells: pd.DataFrame) -> list[list[str]]:
    """The experiments of each data set, architecture, seed and split, in the order of the table."""
    groups: dict[str, list[str]] = {}
    for _, cell in cells.iterrows():
        groups.setdefault(str([cell[name] for name in SETTING]), []).append(cell["experiment"])
    return list(groups.values())


def headline_attack(summary: pd.DataFrame) -> str | None:
    """The attack that sentences and single-attack figures speak of: the first of the registry that has an AUC."""
    present = set(summary["attack"][(summary["metric"] == "auc") & summary["mean"].notna()])
    return next((name for name in ATTACKS if name in present), None)
