"""The tables: which columns each has, writing and reading them; a row per cell, per target model, the terminal's.

A *cell* is a dict about one target model and its shadows; a *summary* is a dict with one figure of one attack on one
cell, over its targets. Fractions everywhere, percent in `summary_text` only; None or NaN is an empty field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from artifacts.atomic_writes import write_text
from attacks.metrics import METRICS
from attacks.registry import ATTACKS
from configs.errors import UsageError
from configs.experiment import RECIPE, SETTING
from pruning.registry import BUILT_IN_KNOBS, TEXT_KNOBS, all_knobs
from reporting.frames import to_csv, to_frame, unescape
from reporting.terminal import PIPED, render

Record = Mapping[str, Any]

_CELL = ("experiment", "method", "sparsity")
_ABOUT = (*_CELL, "dataset", "arch", "seed", "suite", "attack")
_MEAN = ("mean", "sd", "ci_low", "ci_high", "num_targets")
_LOW_FPR = ("false_positives", "expected_fpr")
_AGREEMENT = ("jaccard", "jaccard_low", "jaccard_high", "spearman", "spearman_low", "spearman_high")
_CORRELATIONS = ("r", "reliability_a", "reliability_b", "corrected")
_ACCURACIES = ("train_accuracy", "heldout_accuracy", "test_accuracy", "generalisation_gap", "majority_baseline")
_HASHES = ("fingerprint", "weights_hash", "data_hash", "split_hash")
_TRAINED = ("train_seed", "control", *RECIPE, *BUILT_IN_KNOBS)
_DUPLICATES = ("duplicates_in_pool", "duplicates_in_test")
_COSTS = ("measured_sparsity", "flops", "optimizer_steps")  # of the first target
_STEPS = ("optimizer_steps_a", "optimizer_steps_b")
_EPSILON = ("epsilon_lower", "epsilon_reason")

TIDY_COLUMNS = (
    *(*_ABOUT, "target", "metric", "value", "ci_low", "ci_high", "n_members", "n_non_members", *_LOW_FPR, "tied"),
    *("mean", "sd", "mean_ci_low", "mean_ci_high", "num_targets"),
)
SUMMARY_COLUMNS = (*_ABOUT, "metric", *_MEAN, *_LOW_FPR, "tied")
CELLS_COLUMNS = (
    *(*_CELL, *SETTING, *_TRAINED, "num_shadows", "num_targets", "num_examples", "finished_models", "planned_models"),
    *(*_ACCURACIES, "num_test", *_EPSILON, *_COSTS, *_DUPLICATES, *_HASHES, "signature", "reason"),
)
ROC_COLUMNS = ("experiment", "attack", "fpr", "tpr")
COMPARISON_COLUMNS = (
    *("kind", "experiment_a", "experiment_b", "method_a", "sparsity_a", "method_b", "sparsity_b", "attack", "metric"),
    *("difference", "ci_low", "ci_high", "p_value", "family", "p_holm", "detectable", "num_targets", "num_models", "n"),
    *("test_accuracy_a", "test_accuracy_b", "accuracy_difference", "accuracy_ci_low", "accuracy_ci_high", "differing"),
    *("control", "size_ratio", *_STEPS),
)
TRANSFER_COLUMNS = (
    *(f"{side}_{name}" for side in ("target", "shadows") for name in _CELL),
    *("attack", "metric", *_MEAN),
)
EXPOSURE_COLUMNS = (
    *(
        "kind",
        "experiment_a",
        "train_seed_a",
        "experiment_b",
        "train_seed_b",
        "statistic",
        "num_models",
        "num_examples",
    ),
    *(f"{name}{end}" for name in _CORRELATIONS for end in ("", "_low", "_high")),
    "reason",
)
RELEASE_COLUMNS = (
    *("kind", "experiments", "experiment_a", "experiment_b", "metric", "together", "ci_low", "ci_high"),
    *("alone_a", "alone_b", "better", "alone", "gain", "gain_low", "gain_high", "p_value", "p_holm"),
    *("null_gain", "beyond_null", "beyond_null_low", "beyond_null_high", "num_targets", "num_models"),
)
EXPOSED_COLUMNS = ("experiment", "rank", "index", "label", "class_name", "exposure")
EXAMPLE_COLUMNS = (
    *("experiment", "index", "label", "exposure", "difficulty", "right"),
    *("num_held", "found", "agreement", "num_not_held", "false_positive_risk"),
)
RISK_COLUMNS = (
    *("experiment", "kind", "group", "num_examples", "num_held", "found", "found_low", "found_high"),
    *("num_not_held", "false_positives", "false_positive_risk"),
    *("against", "share_found", "share_false_positives", "difference", "difference_low", "difference_high"),
    *("p_value", "p_holm"),
)
# What an evaluation writes, by file name; the report is drawn from these alone.
EVIDENCE_TABLES = {
    "cells": CELLS_COLUMNS,
    "tidy": TIDY_COLUMNS,
    "summary": SUMMARY_COLUMNS,
    "roc": ROC_COLUMNS,
    "comparisons": COMPARISON_COLUMNS,
    "transfer": TRANSFER_COLUMNS,
    "releases": RELEASE_COLUMNS,
    "exposure": EXPOSURE_COLUMNS,
    "exposed": EXPOSED_COLUMNS,
    "examples": EXAMPLE_COLUMNS,
    "risk": RISK_COLUMNS,
}
_TEXT = re.compile(
    r"(.*_)?(experiment|method)(_[ab])?|dataset|arch|split|suite|attack|metric|kind|class_name|reason|.*hash|fingerprint"
    r"|scheduler|augment|precision|select|pretrained|prune_layers|family|differing|statistic|control"
    r"|epsilon_reason|signature|experiments|better|group|against"
)
_COMPARED = (
    "family",
    "detectable",
    "num_models",
    "differing",
    "accuracy_ci_low",
    "accuracy_ci_high",
    "size_ratio",
    *_STEPS,
)
# Of tables that earlier versions wrote without them: read as empty.
ADDED_COLUMNS = frozenset(
    (*_TRAINED, *_DUPLICATES, *_LOW_FPR, *_COMPARED, *_EPSILON, "num_test", *_COSTS, "tied", "signature")
)
# Tables that earlier versions did not write: read as empty.
ADDED_TABLES = frozenset(["releases", "examples", "risk"])
# That earlier versions wrote, and nobody reads.
RETIRED_COLUMNS = frozenset(["p_holm_family"])
# Tables of which nothing is told any more, by what they are today: their rows are left out, and the report says so.
SUPERSEDED = {
    EXPOSURE_COLUMNS: (
        *("experiment_a", "experiment_b", "attack", "top", "num_examples", *_AGREEMENT, "chance_jaccard"),
        *(f"split_half_{name}" for name in _AGREEMENT),
    )
}
MAX_TABLE_BYTES = 512 << 20
LEAD_COLUMNS = ("lira_auc", "confidence_accuracy", "neural_network_auc", "samia_accuracy")
CELL_COLUMNS = (
    *(*SETTING, *_TRAINED, "num_shadows", "num_targets", *_ACCURACIES, "epsilon_lower", *_HASHES),
    *("signature", "reason"),
)
SCREEN_COLUMNS = (
    *(*_CELL, "dataset", "arch", "seed", "train_seed", "control", "accuracy_gap", "loss_gap", "loss_auc"),
    *("ci_low", "ci_high", "trace_iqr_median", "trace_iqr_q90", "trace_spearman", "num_examples", "reason"),
)
SCREEN_MEMBER_COLUMNS = (*_CELL, "index", "label", "trace_iqr")
TRAINING_COLUMNS = (
    "experiment",
    "method",
    "sparsity",
    *SETTING,
    *_TRAINED,
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
    "optimizer_steps",
    "seconds",
    "device",
    "num_members",
    "pool_size",
    *_DUPLICATES,
    *_HASHES,
    "reason",
)


def own_knobs() -> list[str]:
    """Columns of methods in files of the user's own, beside those that every table of cells has."""
    return [name for name in all_knobs() if name not in BUILT_IN_KNOBS]


def _with_own(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a table, of one about cells with own methods' knobs after the project's own."""
    place = columns.index(_TRAINED[-1]) + 1 if _TRAINED[-1] in columns else len(columns)
    own = own_knobs() if _TRAINED[-1] in columns else []
    return (*columns[:place], *own, *columns[place:])


def write_table(path: Path, records: Iterable[Record], columns: Sequence[str]) -> str:
    """Write one CSV line per record, with exactly these columns (and, about cells, `own_knobs`); what a record lacks is
    empty. Returns the sha256."""
    return write_csv(path, to_frame(list(records), _with_own(columns)))


def write_frames(path: Path, frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> str:
    """Write tables of one kind, which have these columns, as one; returns the sha256."""
    return write_csv(path, joined(frames, columns))


def joined(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables of one kind, which have these columns, as one."""
    return pd.concat(frames, ignore_index=True) if frames else to_frame([], columns)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that `write_table` wrote, empty fields as NaN (numbers) or None (text), as are columns of ADDED_COLUMNS
    that it lacks; no rows of a SUPERSEDED one.

    UsageError, one line, where the file is missing or is not such a table.
    """
    superseded, columns = is_superseded(path, columns), _with_own(columns)
    own = set(own_knobs())
    if path.is_file() and path.stat().st_size > MAX_TABLE_BYTES:
        raise UsageError(f"{path} is refused: it is larger than {MAX_TABLE_BYTES:,} bytes")
    text = {name: str for name in columns if _TEXT.fullmatch(name) or name in TEXT_KNOBS}
    try:
        # names may look like numbers or like NaN: only an empty field is missing
        frame: pd.DataFrame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; an evaluation writes it") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a table ({' '.join(str(error).split())})") from None
    frame = frame.drop(columns=[name for name in frame.columns if name in RETIRED_COLUMNS - set(columns)])
    if superseded:
        frame = pd.DataFrame(columns=list(columns))
    if not set(frame.columns) <= set(columns) or not set(frame.columns) >= set(columns) - ADDED_COLUMNS - own:
        raise UsageError(f"{path} is not the table it is named after; its columns must be {','.join(columns)}")
    frame = frame.reindex(columns=list(columns))
    for name in frame.columns:
        if name in text:
            values = [unescape(value) if isinstance(value, str) else None for value in frame[name]]
            frame[name] = pd.Series(values, dtype="object")
            continue
        try:
            frame[name] = pd.to_numeric(frame[name])
        except (ValueError, TypeError):
            if name in own:  # of a kind that its code alone would tell
                continue
            raise UsageError(f"{path}: column {name} holds a value that is no number") from None
    return frame


def is_superseded(path: Path, columns: Sequence[str]) -> bool:
    """Whether an earlier version wrote this table, of which nothing is told any more."""
    earlier = SUPERSEDED.get(tuple(columns))
    if earlier is None or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline().rstrip("\r\n") == ",".join(earlier)


def write_csv(path: Path, frame: pd.DataFrame) -> str:
    """Write atomically: floats so that they read back equal, LF line ends, text that a spreadsheet would run escaped.

    Such text (it starts with = + - @, a tab or a carriage return) gets a leading apostrophe; numbers are left alone.
    Returns the sha256.
    """
    return write_text(path, to_csv(frame))


def wide_table(cells: Sequence[Record], summary: Iterable[Record]) -> pd.DataFrame:
    """A line per cell, in the order given: <attack>_<metric> as means over targets with _ci_low and _ci_high.

    Cells that could not be attacked stay, with empty figures and their reason. Attacks are in registry order; the
    LEAD_COLUMNS come first and are always there.
    """
    summary = list(summary)
    found = {(row["attack"], row["metric"]) for row in summary}
    metrics = [*METRICS, *sorted({metric for _, metric in found} - set(METRICS))]
    figures = [f"{attack}_{metric}" for attack in attack_order({attack for attack, _ in found}) for metric in metrics]
    means: dict[str, dict[str, Any]] = {}
    for row in summary:
        name = f"{row['attack']}_{row['metric']}"
        values = {name: row.get("mean"), f"{name}_ci_low": row.get("ci_low"), f"{name}_ci_high": row.get("ci_high")}
        means.setdefault(row["experiment"], {}).update(values)
    records = [{**means.get(cell["experiment"], {}), **cell} for cell in cells]
    rest = [name for name in figures if name not in LEAD_COLUMNS]
    ends = [f"{name}_{end}" for name in LEAD_COLUMNS for end in ("ci_low", "ci_high")]
    rest = [*ends, *(f"{name}{end}" for name in rest for end in ("", "_ci_low", "_ci_high"))]
    return to_frame(records, (*_CELL, *LEAD_COLUMNS, *rest, *_with_own(CELL_COLUMNS)))


def attack_order(present: Iterable[str]) -> list[str]:
    """The attack keys in registry order, an attack's variants after it; unknown keys last, by name."""
    known = [key for name, attack in ATTACKS.items() for key in (name, *attack.variants)]
    present = set(present)
    return [key for key in dict.fromkeys([*known, *sorted(present)]) if key in present]


def training_table(rows: Iterable[Record]) -> pd.DataFrame:
    """A line per target model (training_results.csv), columns TRAINING_COLUMNS; what a row lacks is empty."""
    return to_frame(list(rows), _with_own(TRAINING_COLUMNS))


def summary_text(cells: Sequence[Record], summary: Iterable[Record], width: int = PIPED) -> str:
    """The main figures for people, in percent where the heading says so, within `width` columns; ends with a newline.

    Columns without data are left out. A cell that was not attacked shows its reason in place of figures.
    """
    return render(cells, {(row["experiment"], row["attack"], row["metric"]): row for row in summary}, width)
