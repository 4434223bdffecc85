"""The tables: tidy results, their summary over targets, one row a cell, one row a target model, and the terminal's.

A *cell* is a dict about one target model and its shadows; a *row* is a dict with one figure of one attack on one
target. Fractions everywhere, percent in `summary_text` only; None or NaN is an empty field.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from artifacts.files import write_text
from configs.errors import UsageError
from mia.metrics import METRICS
from mia.registry import ATTACKS
from reporting.frames import is_empty, to_csv, to_frame, unescape
from reporting.terminal import Key, render

Cell = Mapping[str, Any]
Row = Mapping[str, Any]

_ABOUT = ("experiment", "method", "sparsity", "dataset", "arch", "seed", "suite", "attack")
_INTEGERS = ("seed", "target", "n_members", "n_non_members")
_NUMBERS = ("sparsity", "value", "ci_low", "ci_high")
TIDY_COLUMNS = (*_ABOUT, "target", "metric", "value", "ci_low", "ci_high", "n_members", "n_non_members")
SUMMARY_COLUMNS = (*_ABOUT, "metric", "mean", "sd", "ci_low", "ci_high", "num_targets")
LEAD_COLUMNS = ("lira_auc", "confidence_accuracy", "neural_network_auc", "samia_accuracy")
CELL_COLUMNS = (
    "dataset",
    "arch",
    "layers",
    "width_mult",
    "seed",
    "num_shadows",
    "num_targets",
    "train_accuracy",
    "heldout_accuracy",
    "test_accuracy",
    "generalisation_gap",
    "majority_baseline",
    "reason",
)
TRAINING_COLUMNS = (
    "experiment",
    "method",
    "sparsity",
    "dataset",
    "arch",
    "layers",
    "width_mult",
    "epochs",
    "seed",
    "train_accuracy",
    "heldout_accuracy",
    "test_accuracy",
    "train_loss",
    "heldout_loss",
    "test_loss",
    "measured_sparsity",
    "sparsity_all_parameters",
    "parameters",
    "prunable_parameters",
    "flops",
    "seconds",
    "precision",
    "device",
    "num_members",
    "pool_size",
    "fingerprint",
    "reason",
)


def write_tidy(path: Path, rows: Iterable[Row]) -> None:
    """Write one CSV line a row, columns TIDY_COLUMNS."""
    write_csv(path, to_frame(list(rows), TIDY_COLUMNS))


def read_tidy(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_tidy` wrote, empty fields as None. UsageError when the file is not such a table."""
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        try:
            if tuple(next(reader, ())) != TIDY_COLUMNS:
                raise UsageError(
                    f"{path} is not a table of attack results; its columns must be {','.join(TIDY_COLUMNS)}"
                )
            return [
                {name: _parse(name, text) for name, text in zip(TIDY_COLUMNS, fields, strict=True)} for fields in reader
            ]
        except UsageError:
            raise
        except (ValueError, csv.Error) as error:
            raise UsageError(f"{path}, line {reader.line_num}, is not a row of attack results: {error}") from None


def _parse(column: str, text: str) -> Any:
    if text == "":
        return None
    if column in _INTEGERS:
        return int(text)
    if column in _NUMBERS:
        return float(text)
    return unescape(text)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write atomically: floats so that they read back equal, LF line ends, text that a spreadsheet would run escaped.

    Such text (it starts with = + - @, a tab or a carriage return) gets a leading apostrophe; numbers are left alone.
    """
    write_text(path, to_csv(frame))


def over_targets(rows: Iterable[Row]) -> pd.DataFrame:
    """A line per experiment x attack x metric: mean, sd (ddof 1) and 95 % interval; columns SUMMARY_COLUMNS.

    num_targets counts the targets that have the figure. One target: its bootstrap interval over examples, sd empty.
    More: the t interval of the mean over targets, clipped to the metric's range.
    """
    return to_frame(list(_summaries(rows).values()), SUMMARY_COLUMNS)


def write_summary(path: Path, rows: Iterable[Row]) -> None:
    """Write `over_targets` (summary.csv)."""
    write_csv(path, over_targets(rows))


def _summaries(rows: Iterable[Row]) -> dict[Key, dict[str, Any]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["experiment"], row["attack"], row["metric"]), []).append(row)
    return {key: _summarise(group) for key, group in groups.items()}


def _summarise(group: Sequence[Row]) -> dict[str, Any]:
    about = {name: group[0].get(name) for name in (*_ABOUT, "metric")}
    present = [row for row in group if not is_empty(row["value"])]
    if not present:
        return {**about, "num_targets": 0}
    values = np.array([row["value"] for row in present], dtype=np.float64)
    figures = {"mean": float(values.mean()), "num_targets": len(values)}
    if len(values) == 1:
        return {**about, **figures, "ci_low": present[0].get("ci_low"), "ci_high": present[0].get("ci_high")}
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    lowest = -1.0 if about["metric"] == "advantage" else 0.0
    low, high = max(figures["mean"] - half, lowest), min(figures["mean"] + half, 1.0)
    return {**about, **figures, "sd": sd, "ci_low": low, "ci_high": high}


def wide_table(cells: Sequence[Cell], rows: Iterable[Row]) -> pd.DataFrame:
    """A line a cell, in the order given: <attack>_<metric> as means over targets, between what names the cell.

    Cells that could not be attacked stay, with empty figures and their reason. Attacks are in registry order; the
    LEAD_COLUMNS come first and are always there.
    """
    summaries = _summaries(rows)
    found = {(attack, metric) for _, attack, metric in summaries}
    metrics = [*METRICS, *sorted({metric for _, metric in found} - set(METRICS))]
    figures = [f"{attack}_{metric}" for attack in attack_order({attack for attack, _ in found}) for metric in metrics]
    means: dict[str, dict[str, Any]] = {}
    for (experiment, attack, metric), summary in summaries.items():
        means.setdefault(experiment, {})[f"{attack}_{metric}"] = summary.get("mean")
    records = [{**means.get(cell["experiment"], {}), **cell} for cell in cells]
    rest = [name for name in figures if name not in LEAD_COLUMNS]
    return to_frame(records, ("experiment", "method", "sparsity", *LEAD_COLUMNS, *rest, *CELL_COLUMNS))


def attack_order(present: Iterable[str]) -> list[str]:
    """The attack keys in registry order, an attack's variants after it; unknown keys last, by name."""
    known = [key for name, attack in ATTACKS.items() for key in (name, *attack.variants)]
    present = set(present)
    return [key for key in dict.fromkeys([*known, *sorted(present)]) if key in present]


def training_table(rows: Iterable[Row]) -> pd.DataFrame:
    """A line a target model (training_results.csv), columns TRAINING_COLUMNS; what a row lacks is empty."""
    return to_frame(list(rows), TRAINING_COLUMNS)


def summary_text(cells: Sequence[Cell], rows: Iterable[Row]) -> str:
    """The main figures for people, in percent where the heading says so, at most 110 columns wide; ends with a newline.

    Columns without data are left out. A cell that was not attacked shows its reason in place of figures.
    """
    return render(cells, _summaries(rows))
