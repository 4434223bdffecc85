"""How the cells of a report were trained: what all share once, what differs by cell."""

from __future__ import annotations

from typing import Any

import pandas as pd

from configs.experiment import RECIPE, SETTING
from pruning.registry import all_knobs


def shown() -> tuple[str, ...]:
    """The settings that are told of, in their order."""
    return (*SETTING, "train_seed", "control", *RECIPE, *all_knobs())


def shared_settings(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """(name, value) of the settings that are known and the same in all cells."""
    return [(_title(name), _text(cells[name].iloc[0])) for name in shown() if len(cells) and _values(cells, name) == 1]


def own_settings(cells: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Heading and a line for each cell, of the settings that differ or do not apply to all; none where nothing does."""
    names = [name for name in shown() if _values(cells, name) > 1]
    if not names:
        return [], []
    lines = [[str(cell["experiment"]), *(_text(cell[name]) for name in names)] for _, cell in cells.iterrows()]
    return ["cell", *map(_title, names)], lines


def _values(cells: pd.DataFrame, name: str) -> int:
    """Different values, an unknown one among them; 0 where none is known."""
    return 0 if cells[name].isna().all() else cells[name].nunique(dropna=False)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def signatures(cells: pd.DataFrame) -> list[tuple[str, list[tuple[str, str]]]]:
    """What must be equal to compare, once, with the cells that it is said of and what identifies each."""
    found: dict[str, list[tuple[str, str]]] = {}
    for _, cell in cells[cells["signature"].notna()].iterrows():
        equal, _, own = str(cell["signature"]).partition(" ")
        found.setdefault(equal, []).append((str(cell["experiment"]), own))
    return list(found.items())
