"""Which figures an evaluation gets, and their file names."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mia.registry import ATTACKS
from reporting.charts import (
    Cell,
    Target,
    attack_title,
    cell_label,
    mean_auc,
    plot_auc_vs_sparsity,
    plot_roc,
    plot_roc_methods,
    plot_tradeoff,
    tpr_at,
)
from reporting.frames import is_empty
from reporting.style import Colour, attack_colours, prunes
from reporting.tables import over_targets

Scores = Mapping[str, Sequence[Mapping[str, npt.NDArray[Any]]]]

LABEL_WIDTH = 30
MOST_CURVES = 8
_ALWAYS = ("lira", "loss")
_PANELS = ("lira", "loss", "samia", "modified_entropy", "neural_network", "class_label_nn")
_GRID = np.geomspace(1e-3, 1.0, 100)
_LINE_WIDTH = 0.02  # relative difference of rates below which two lines lie on each other
_SETTING = ("dataset", "arch", "layers", "width_mult", "seed")


def write_figures(
    figures_dir: Path, cells: Sequence[Cell], rows: Iterable[Mapping[str, Any]], scores: Scores
) -> list[Path]:
    """Write every figure that has something to show; returns the files written.

    cells and rows: as in `reporting.tables`. scores: by experiment, a mapping per target with "membership" (bool [n])
    and, by attack key, scores (float64 [n]). Files: roc_cell_<experiment>.png for each cell with scores, and
    roc_methods.png, auc_vs_sparsity.png and tradeoff.png, once for every data set, architecture and seed (named in the
    file when there are several).
    """
    frame = over_targets(rows)
    slugs = _slugs([cell["experiment"] for cell in cells])
    written: list[Path] = []
    for cell in cells:
        lines, colours = _attack_curves(scores.get(cell["experiment"], ()))
        if lines:
            path = figures_dir / f"roc_cell_{slugs[cell['experiment']]}.png"
            title = f"{cell_label(cell['method'], cell['sparsity'])}, {_network(cell)}"
            written.append(plot_roc(path, lines, title, colours))
    settings = dict.fromkeys(_setting(cell) for cell in cells)
    for setting in settings:
        group = [cell for cell in cells if _setting(cell) == setting]
        name = _slug("_".join(str(value) for value in setting if value is not None))
        suffix = f"_{name}" if len(settings) > 1 else ""
        written += _setting_figures(figures_dir, suffix, group, frame, scores)
    return written


def _setting(cell: Cell) -> tuple[Any, ...]:
    """What cells must share to stand in one picture."""
    return tuple(cell.get(name) for name in _SETTING)


def _network(cell: Cell) -> str:
    parts = [str(cell[name]) for name in ("arch", "layers") if cell.get(name) is not None]
    return f"{cell['dataset']}, {'-'.join(parts)}"


def _setting_figures(
    figures_dir: Path, suffix: str, cells: Sequence[Cell], frame: pd.DataFrame, scores: Scores
) -> list[Path]:
    names = {cell["experiment"] for cell in cells}
    auc = frame[frame["experiment"].isin(names) & (frame["metric"] == "auc") & frame["mean"].notna()]
    present = [name for name in ATTACKS if name in set(auc["attack"])]
    if not present:
        return []
    attack = present[0]  # LiRA wherever it could run
    written: list[Path] = []
    curves, kinds = _cell_curves(cells, scores, attack)
    if len(curves) > 1:
        title = f"{attack_title(attack)}, {_network(cells[0])}"
        written.append(plot_roc_methods(figures_dir / f"roc_methods{suffix}.png", curves, kinds, title))
    if any(prunes(method) for method in auc["method"]):
        panels = [*(name for name in _PANELS if name in present), *(name for name in present if name not in _PANELS)]
        written.append(plot_auc_vs_sparsity(figures_dir / f"auc_vs_sparsity{suffix}.png", auc, panels[: len(_PANELS)]))
    accurate = {cell["experiment"] for cell in cells if not is_empty(cell.get("test_accuracy"))}
    if len(accurate & set(auc["experiment"][auc["attack"] == attack])) > 1:
        written.append(plot_tradeoff(figures_dir / f"tradeoff{suffix}.png", cells, auc, attack))
    return written


def _cell_curves(
    cells: Sequence[Cell], scores: Scores, attack: str
) -> tuple[dict[str, list[Target]], dict[str, tuple[str, float]]]:
    """The curves of one attack and the (method, sparsity) of each, by a label that no other cell has."""
    curves: dict[str, list[Target]] = {}
    kinds: dict[str, tuple[str, float]] = {}
    unique = len({(cell["method"], cell["sparsity"]) for cell in cells}) == len(cells)
    for cell in cells:
        targets = _targets(scores.get(cell["experiment"], ()), attack)
        if targets:
            label = cell_label(cell["method"], cell["sparsity"]) if unique else str(cell["experiment"])
            curves[label], kinds[label] = targets, (cell["method"], cell["sparsity"])
    return curves, kinds


def _targets(records: Sequence[Mapping[str, npt.NDArray[Any]]], attack: str) -> list[Target]:
    return [(record[attack], record["membership"]) for record in records if attack in record]


def _attack_curves(
    records: Sequence[Mapping[str, npt.NDArray[Any]]],
) -> tuple[dict[str, list[Target]], dict[str, Colour]]:
    """At most MOST_CURVES attacks of one cell (LiRA, LOSS and those of highest AUC) and their colours, by label.

    Attacks whose curves coincide, as any two that rank examples alike, share one line and one label.
    """
    found = {name: targets for name in ATTACKS if (targets := _targets(records, name))}
    distinct: list[tuple[list[str], list[Target], npt.NDArray[np.float64]]] = []
    for name in sorted(found, key=lambda name: name not in _ALWAYS):
        rates = np.stack([tpr_at(_GRID, *target) for target in found[name]])
        twin = next((names for names, _, other in distinct if _coincide(rates, other)), None)
        if twin is None:
            distinct.append(([name], found[name], rates))
        else:
            twin.append(name)
    fixed = [entry for entry in distinct if entry[0][0] in _ALWAYS]
    others = [entry for entry in distinct if entry[0][0] not in _ALWAYS]
    distinct = [*fixed, *sorted(others, key=lambda entry: -mean_auc(entry[1]))]
    by_title = attack_colours([attack_title(name) for name in found])
    curves, colours = {}, {}
    for names, targets, _ in distinct[:MOST_CURVES]:
        titles = [attack_title(name) for name in names]
        # a perfect score makes all attacks one line: its label must not push the axes out of the picture
        label = textwrap.fill(" / ".join(titles), LABEL_WIDTH)
        curves[label], colours[label] = targets, by_title[titles[0]]
    return curves, colours


def _coincide(rates: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> bool:
    return rates.shape == others.shape and np.allclose(rates, others, rtol=_LINE_WIDTH, atol=0)


def _slugs(experiments: Iterable[str]) -> dict[str, str]:
    """A file name for each experiment, unique even where two differ in forbidden characters only."""
    slugs: dict[str, str] = {}
    for experiment in dict.fromkeys(experiments):
        slug = _slug(experiment)
        same = sum(taken == slug or taken.rpartition("-")[0] == slug for taken in slugs.values())
        slugs[experiment] = slug if not same else f"{slug}-{same + 1}"
    return slugs


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("_.") or "cell"
