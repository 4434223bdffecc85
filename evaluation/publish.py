"""A sweep's signals for others: a parquet file a cell and a data card, in the layout of a data set repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.atomic_writes import write_atomic, write_text
from artifacts.signals_parquet import write_parquet
from configs.attacks import AttackOptions
from configs.machine import Places
from evaluation.cells import Cell
from evaluation.record import signals_of

FOLDER, CARD = "signals", "README.md"
EXPLAINED = """
Each file is one cell: a target model and its shadow models, all trained by one pipeline on random draws of one pool, so
that each plays the target in turn. A row is an example: `index`, its place in the data set; `label`; `member`, which
models were trained on it, as drawn before training; `phi`, for each model and query the log-odds of the true class;
`logits`, each model's outputs before the softmax. Rows without `member` are test examples, which no model holds. What
else is known of the models (recipe, pruning, accuracies, hashes, machine) is JSON in the parquet metadata, under the
key `signals`. The examples themselves are not here.

    pruning-mia attack-cell --signals {files}

attacks the same networks without training (in the repository `python mia/run_mia_evaluation.py` instead of
`pruning-mia attack-cell`). With the options of the evaluation of this card it gives the signatures below again; figures
whose signatures differ in the first part are not of the same thing.
"""


def publish(
    cells: Sequence[Cell],
    rows: Sequence[Mapping[str, Any]],
    places: Places,
    device: str,
    folder: Path,
    options: AttackOptions,
) -> int:
    """Write `folder/README.md` and `folder/signals/<experiment>.parquet`; returns the bytes of the latter.

    rows: of `cells.csv` of an evaluation of these cells with these options. The card is written last: what it names
    is there. UsageError where a cell is not finished.
    """
    total = 0
    for cell in cells:
        queries = cell.queries(options.num_queries, samia=False, population=options.rmia_population)
        arrays = signals_of(cell, places, device, queries, np.float32)
        path = folder / FOLDER / f"{cell.experiment}.parquet"
        write_atomic(path, lambda stream, arrays=arrays: write_parquet(stream, arrays))  # type: ignore[misc]
        total += path.stat().st_size
    write_text(folder / CARD, card([cell.experiment for cell in cells], rows))
    return total


def card(experiments: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown with front matter: a configuration a cell, and the signature of each cell's headline attack."""
    lines = ["---", "pretty_name: Signals for membership inference", "tags:", "- membership-inference", "configs:"]
    for name in experiments:
        lines += [f"- config_name: {name}", "  data_files:", "  - split: signals", f"    path: {FOLDER}/{name}.parquet"]
    lines += ["---", "", "# Signals of trained networks, for membership inference"]
    lines += EXPLAINED.format(files=f"{FOLDER}/*.parquet").splitlines()
    lines += ["", "| cell | method | sparsity | shadow models | test accuracy |", "|---|---|---|---|---|"]
    known = {str(row["experiment"]): row for row in rows}
    for name in experiments:
        row = known.get(name, {})
        values = (row.get(column) for column in ("method", "sparsity", "num_shadows", "test_accuracy"))
        lines.append(f"| {name} | {' | '.join(_word(value) for value in values)} |")
    signed = [f"    {name}: {known[name]['signature']}" for name in experiments if known.get(name, {}).get("signature")]
    return "\n".join([*lines, "", "Signatures:", "", *(signed or ["    none: no attack was run"]), ""])


def _word(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
