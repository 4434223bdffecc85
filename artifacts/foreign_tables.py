"""Signals as a table of probabilities, CSV or parquet: turned into the arrays that a `.npz` file would hold.

A row is what one model says of one example (to one query). The form for people is in docs/signals.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artifacts.arrays import half_of_memory
from artifacts.foreign_about import Wrong
from artifacts.signals import phi
from artifacts.signals_parquet import arrays_of, holds_signals

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".csv", ".parquet")
NUMBERS = ("model", "example", "label")
ABOUT = ("name", "method", "sparsity", "dataset", "arch")  # of meta, the same in every row
PROBABILITY = re.compile(r"p(0|[1-9][0-9]*)")
PANDAS_INDEX = re.compile("__index_level_[0-9]+__")  # which pandas writes along unasked
SMALLEST = 1e-30  # a probability below it counts as it: its logarithm has to be finite
TOLERANCE = 1e-3  # of the sum of a row's probabilities, which may be rounded
NO_NUMBER = "p0, p1, ... must hold a number in every row"
GROWTH = 16  # what a table may take in memory, as a multiple of its file where that is text


def read_table_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """logits (the logarithms of the first query's probabilities, float64), phi, labels, membership, index and meta.

    Wrong, in words, where the file is no such table; OSError where it cannot be read.
    """
    frame = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    if isinstance(frame, dict):
        return frame
    classes = _check_columns(list(frame.columns))
    for name in ("query", *NUMBERS):
        if name in frame.columns:
            frame[name] = _whole(name, frame[name])
    frame["member"] = _truth(frame["member"])
    if "query" not in frame.columns:
        frame["query"] = 0
    frame = frame.sort_values(["model", "example", "query"], kind="stable")
    models, examples, queries = (np.unique(frame[name].to_numpy()) for name in ("model", "example", "query"))
    shape = len(models), len(examples), len(queries)
    _check_complete(frame, models, queries, shape)
    labels = _same("label", frame["label"].to_numpy().reshape(shape), (0, 2))
    membership = _same("member", frame["member"].to_numpy().reshape(shape), (2,))
    columns = [f"p{index}" for index in range(classes)]
    logits = np.log(np.clip(_probabilities(frame, columns), SMALLEST, 1.0)).reshape(*shape, classes)
    if labels.min() < 0 or labels.max() >= classes:
        raise Wrong(f"label runs from {labels.min()} to {labels.max()}; with p0 to p{classes - 1} it must lie in these")
    scores = phi(logits, labels[None, :, None])
    arrays = {"logits": logits[:, :, 0], "phi": scores, "labels": labels, "membership": membership}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {**arrays, "index": examples.astype(np.int64), **_meta(frame)}


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    _check_room(path, GROWTH * path.stat().st_size)
    try:
        header = pd.read_csv(path, encoding="utf-8", nrows=0)
        # as text first: not every version of pandas turns all digits into the nearest number
        text = {name: str for name in header.columns if PROBABILITY.fullmatch(str(name))}
        frame: pd.DataFrame = pd.read_csv(path, encoding="utf-8", dtype=text)
    except ValueError as error:
        raise Wrong(f"it cannot be read as CSV ({' '.join(str(error).split())[:120]})") from None
    try:
        for name in text:
            frame[name] = frame[name].to_numpy(dtype=object).astype(np.float64)
    except ValueError:
        raise Wrong(NO_NUMBER) from None
    return frame


def _read_parquet(path: Path) -> pd.DataFrame | dict[str, NDArray[Any]]:
    """A table of probabilities, or the arrays of `artifacts.signals_parquet`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Wrong(
            "parquet needs the package pyarrow (pip install pyarrow); a CSV of the same rows does not"
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
            numbers = sum(group.column(index).num_values for group in groups for index in range(group.num_columns))
            _check_room(path, 8 * numbers)
            if holds_signals(file.schema_arrow):
                return arrays_of(file.read())
            frame: pd.DataFrame = file.read().to_pandas(ignore_metadata=True)
    except pyarrow.ArrowException as error:
        raise Wrong(f"it cannot be read as parquet ({' '.join(str(error).split())[:120]})") from None
    kept: pd.DataFrame = frame.drop(columns=[name for name in frame.columns if PANDAS_INDEX.fullmatch(str(name))])
    return kept


def _check_room(path: Path, needed: int) -> None:
    if needed > half_of_memory():
        raise Wrong(f"it would take about {needed:,} bytes, more than half of this machine's memory; give it as .npz")


def _check_columns(columns: list[str]) -> int:
    """The number of classes."""
    required = ("model", "example", "member", "label")
    missing = next((name for name in required if name not in columns), None)
    if missing is not None:
        raise Wrong(f"it has no column {missing!r}; needed are {', '.join(required)} and p0, p1, ...")
    found = sorted(int(match[1]) for name in columns if (match := PROBABILITY.fullmatch(str(name))))
    if len(found) < 2 or found != list(range(len(found))):
        raise Wrong("its probabilities must be the columns p0, p1, ..., one for each class, two at least")
    known = {*required, "query", *ABOUT, *(f"p{index}" for index in found)}
    unknown = next((name for name in columns if name not in known), None)
    if unknown is not None:
        raise Wrong(f"the column {str(unknown)[:40]!r} is unknown; allowed: {', '.join((*required, 'query', *ABOUT))}")
    return len(found)


def _whole(name: str, column: pd.Series[Any]) -> NDArray[np.int64]:
    values = column.to_numpy()
    if values.dtype.kind not in "iu":
        raise Wrong(f"{name} must hold whole numbers in every row")
    return values.astype(np.int64)


def _truth(column: pd.Series[Any]) -> NDArray[np.bool_]:
    values = column.to_numpy()
    if values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
        raise Wrong("member must be 0 or 1 (or true or false) in every row")
    return values.astype(np.bool_)


def _check_complete(
    frame: pd.DataFrame, models: NDArray[Any], queries: NDArray[Any], shape: tuple[int, int, int]
) -> None:
    for name, values in (("model", models), ("query", queries)):
        if not np.array_equal(values, np.arange(len(values))):
            raise Wrong(f"{name} must run from 0 on without a gap; {name} 0 is the {_FIRST[name]}")
    repeated = int(frame.duplicated(["model", "example", "query"]).sum())
    if repeated:
        raise Wrong(f"{repeated} rows repeat a model, example and query")
    if len(frame) != np.prod(shape):
        raise Wrong(
            f"it has {len(frame)} rows; {shape[0]} models, {shape[1]} examples and {shape[2]} queries make "
            f"{int(np.prod(shape))}"
        )


_FIRST = {"model": "target", "query": "plain one"}


def _same(name: str, values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Values [M, n, Q] that do not change along some axes, without these."""
    first = values[tuple(0 if axis in axes else slice(None) for axis in range(3))]
    if (values != np.expand_dims(first, axes)).any():
        of = "an example" if len(axes) == 2 else "a model and example"
        raise Wrong(f"{name} must be the same in every row of {of}")
    return first


def _probabilities(frame: pd.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    values = frame[columns].to_numpy()
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise Wrong(NO_NUMBER)
    if values.min() < 0 or values.max() > 1 + TOLERANCE or np.abs(values.sum(axis=1) - 1).max() > TOLERANCE:
        raise Wrong(f"p0, p1, ... must be probabilities: 0 or more, their sum within {TOLERANCE:g} of 1 in every row")
    return np.asarray(values, dtype=np.float64)


def _meta(frame: pd.DataFrame) -> dict[str, NDArray[np.uint8]]:
    about = {}
    for name in (name for name in ABOUT if name in frame.columns):
        values = frame[name].unique()
        if len(values) != 1:
            raise Wrong(f"{name} must be the same in every row: a table is one cell")
        value = float(values[0]) if name == "sparsity" and np.isreal(values[0]) else values[0]
        about[name] = value if isinstance(value, float | str) else str(value)
    return {"meta": np.frombuffer(json.dumps(about).encode(), np.uint8)} if about else {}
