"""Evidence that is kept: the signals of finished cells as files that `--signals` reads back, without the networks."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.atomic_writes import write_atomic
from artifacts.foreign_about import COSTS, DRAWN, KINDS
from artifacts.foreign_signals import ACCURACIES
from artifacts.run_dir import MODEL_FILE
from artifacts.signals import QuerySettings
from configs.errors import UsageError
from configs.machine import Places
from data.inputs import open_data
from evaluation.cells import Cell, load_cell
from evaluation.write import pack_arrays

log = logging.getLogger(__name__)
MAX_BYTES = 10_000_000  # of a study that keeps its logits
MAX_HALF = float(np.finfo(np.float16).max)


def record(
    cells: Sequence[Cell],
    places: Places,
    device: str,
    folder: Path,
    population: int,
    logits: bool,
    models: Sequence[int] = (),
) -> int:
    """Write `folder/<experiment>.npz` for every cell, all of them or none; returns their bytes.

    The same cells give the same bytes. population: test examples for RMIA, at most. logits: whether float16 logits are
    kept. models: indices of those that are kept of every cell, all for none. UsageError where one of them is not
    finished, or where the files with logits would take more than MAX_BYTES.
    """
    packed = {}
    for cell in [only(one, models) for one in cells] if models else cells:
        check_whole(cell)
        stream = io.BytesIO()
        queries = cell.queries(None, samia=False, population=population)
        pack_arrays(stream, signals_of(cell, places, device, queries, np.float16 if logits else None))
        packed[f"{cell.experiment}.npz"] = stream.getvalue()
    total = sum(map(len, packed.values()))
    if logits and total > MAX_BYTES:
        raise UsageError(
            f"argument --logits: the study would take {total:,} bytes, more than {MAX_BYTES:,}; leave it out"
        )
    for name, content in packed.items():
        write_atomic(folder / name, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
    others = sorted(path.name for path in folder.glob("*.npz") if path.name not in packed)
    if others:
        log.warning("%s also holds %s, of cells that are not in the runs folder", folder, ", ".join(others))
    return total


def check_whole(cell: Cell) -> None:
    """UsageError, one line, where a cell lacks a model."""
    missing = (cell.planned_models or 0) - len(cell.models)
    if cell.reason or cell.problems or missing:
        why = cell.reason or "; ".join(cell.problems) or f"{missing} of its models are not finished"
        raise UsageError(f"argument --runs-dir: {cell.experiment} cannot be recorded: {why}")


def only(cell: Cell, models: Sequence[int]) -> Cell:
    """The cell as if these models, by index, were all that was planned. UsageError where one is not finished, or where
    models would not be added to the cell but replaced."""
    if not cell.config.grows:
        raise UsageError(f"argument --models: the split of {cell.experiment} is not in pairs; leave the flag out")
    missing = next((index for index in models if index not in cell.models), None)
    if missing is not None and not cell.reason:
        raise UsageError(f"argument --models: model {missing} of {cell.experiment} is not finished")
    config = dataclasses.replace(cell.config, num_shadows=len(models) - 1, model_index=0)
    return dataclasses.replace(cell, config=config, models={index: cell.models[index] for index in sorted(models)})


def signals_of(
    cell: Cell, places: Places, device: str, queries: QuerySettings, logits: type[np.floating] | None
) -> dict[str, Any]:
    """A cell in the form of docs/signals.md. logits: the type that they are kept in, None to leave them out."""
    found = load_cell(cell, places, device, queries)
    check_whole(cell)
    arrays: dict[str, Any] = {"labels": found.labels, "index": found.pool, "membership": found.membership}
    arrays |= {"phi": found.phi, "population_phi": found.population_phi, "audited": found.audited}
    if logits is not None:
        arrays["logits"] = _half(cell, found.logits) if logits is np.float16 else np.asarray(found.logits, dtype=logits)
    summaries = [cell.summary_of(index) for index in found.indices]
    for name in ACCURACIES:
        values = [summary[name] for summary in summaries]
        arrays[name] = None if None in values else np.array(values, dtype=np.float64)
    text = json.dumps(_meta(cell, summaries[0], places), sort_keys=True)
    arrays["meta"] = np.frombuffer(text.encode(), dtype=np.uint8)
    return {name: array for name, array in arrays.items() if array is not None}


def _half(cell: Cell, logits: Any) -> Any:
    largest = float(np.abs(logits).max())
    if largest > MAX_HALF:
        raise UsageError(f"argument --logits: {cell.experiment} has logits up to {largest:g}, too large for float16")
    return logits.astype(np.float16)


def _meta(cell: Cell, target: dict[str, Any], places: Places) -> dict[str, Any]:
    names = {("name" if name == "experiment" else name): value for name, value in cell.names.items()}
    hashes = {name: target[name] for name in ("data_hash", "split_hash", "fingerprint")}
    hashes["weights_hash"] = target["hashes"][MODEL_FILE]
    size = {name: target.get(name) for name in ("parameters", "sparsity_all_parameters", *COSTS)}
    meta = {**names, **hashes, **size, "population_order": DRAWN, "machine": target.get("machine")}
    meta["num_test"] = target.get("num_test") or _test_size(cell, places)
    # a knob of somebody's own method has no place in a form that others read without it
    return {name: value for name, value in meta.items() if value is not None and name in KINDS}


def _test_size(cell: Cell, places: Places) -> int | None:
    """Of the data set, which earlier summaries did not name; None where it is not at hand."""
    try:
        return int(open_data(cell.config, places.data_dir)[0].test_labels.shape[0])
    except (UsageError, OSError):
        return None
