"""What cells, their setting and their methods are called in figures and on the page."""

from __future__ import annotations

import pandas as pd

from reporting.labels import told_apart
from reporting.style import cell_label, method_title


def labels_of(cells: pd.DataFrame) -> dict[str, str]:
    """By experiment, a short label; the experiment's own name where that would not tell cells apart."""
    rows = cells.to_dict("records")
    if not told_apart(rows):
        return {name: name for name in cells["experiment"]}
    return {row["experiment"]: cell_label(row) for row in rows}


def setting_title(cells: pd.DataFrame) -> str:
    """What the cells of one setting share, in words."""
    first = cells.iloc[0]
    if pd.isna(first["dataset"]) and pd.isna(first["arch"]):
        return ", ".join(cells["experiment"])
    depth = "" if pd.isna(first["layers"]) else f"-{int(first['layers'])}"
    seed = "" if pd.isna(first["seed"]) else f", seed {int(first['seed'])}"
    split = ", --split disjoint" if first["split"] == "disjoint" else ""
    named = ", ".join(str(first[name]) for name in ("dataset", "arch") if not pd.isna(first[name]))
    return f"{named}{depth}{seed}{split}"


def methods_in(cells: pd.DataFrame) -> list[str]:
    """Titles of the methods that occur."""
    return [method_title(method) for method in dict.fromkeys(cells["method"].dropna())]
