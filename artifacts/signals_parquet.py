"""Signals as parquet: the arrays of a `.npz` file, to the last digit, in rows that a data set viewer shows.

A row is an example, with a list of what each of the M models says of it; examples that no model holds follow those of
the pool (`population_phi`). What is of a model or of the whole cell stands in the file's metadata. docs/signals.md has
it for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from artifacts.foreign_about import Wrong

KEY = b"signals"  # of the metadata: meta and the accuracies, as JSON
COLUMNS = {
    "index": 1,
    "label": 1,
    "audited": 1,
    "member": 2,
    "phi": 3,
    "logits": 3,
}  # and axes: [n], [n, M], [n, M, ..]
NAMES = {"label": "labels", "member": "membership"}  # of a column's array, where it is another
NEEDS = "it needs the package pyarrow (pip install pyarrow)"


def write_parquet(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """arrays: of docs/signals.md, with index and phi, without sensitivity and population_logits."""
    import pyarrow
    import pyarrow.parquet

    population = arrays.get("population_phi")
    lacking = 0 if population is None else population.shape[1]
    columns = {}
    for name, axes in COLUMNS.items():
        array = arrays.get(NAMES.get(name, name))
        if array is None:
            continue
        by_example = np.moveaxis(array, 0, 1) if axes > 1 else array
        column = _lists(by_example)
        if lacking:
            rest = pyarrow.nulls(lacking, column.type)
            if name == "phi" and population is not None:
                rest = _lists(np.moveaxis(population, 0, 1)).cast(column.type)
            column = pyarrow.concat_arrays([column, rest])
        columns[name] = column
    accuracies = {name: array.tolist() for name, array in arrays.items() if name.endswith("_accuracy")}
    about = {"meta": json.loads(arrays["meta"].tobytes()), **accuracies}
    table = pyarrow.table(columns).replace_schema_metadata({KEY: json.dumps(about, sort_keys=True).encode()})
    pyarrow.parquet.write_table(table, stream, compression="zstd")


def holds_signals(schema: Any) -> bool:
    """Whether a file of this schema is of this form; else it may be a table of probabilities."""
    return KEY in (schema.metadata or {})


def arrays_of(table: Any) -> dict[str, NDArray[Any]]:
    """What `write_parquet` was given. Wrong, in words, where the table does not hold it."""
    unknown = next((name for name in table.column_names if name not in COLUMNS), None)
    missing = next((name for name in ("index", "label", "member", "phi") if name not in table.column_names), None)
    if unknown is not None or missing is not None or not len(table):
        raise Wrong(f"its columns must be index, label, member, phi and perhaps {', '.join(('audited', 'logits'))}")
    in_pool = ~table["member"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    pool = int(in_pool.sum())
    if not in_pool[:pool].all():
        raise Wrong("rows without member are of examples that no model holds, and follow all others")
    arrays = {}
    for name in table.column_names:
        array = _array(name, table[name].slice(0, pool).combine_chunks(), COLUMNS[name])
        arrays[NAMES.get(name, name)] = array
    if pool < len(table):
        arrays["population_phi"] = _array("phi", table["phi"].slice(pool).combine_chunks(), COLUMNS["phi"])
    return arrays | _about(table.schema.metadata[KEY])


def _about(text: bytes) -> dict[str, NDArray[Any]]:
    try:
        about = json.loads(text)
        meta = json.dumps(about.pop("meta"), sort_keys=True)
        found = {name: np.array(values, dtype=np.float64) for name, values in about.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Wrong("its metadata 'signals' is not what an export writes") from None
    return {**found, "meta": np.frombuffer(meta.encode(), dtype=np.uint8)}


def _lists(array: NDArray[Any]) -> Any:
    """Lists within lists, an axis each after the first."""
    import pyarrow

    column = pyarrow.array(np.ascontiguousarray(array).ravel())
    for size in reversed(array.shape[1:]):
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pyarrow.ListArray.from_arrays(offsets, column)
    return column


def _array(name: str, column: Any, axes: int) -> NDArray[Any]:
    """The other way; models come first again."""
    import pyarrow

    shape = [len(column)]
    for _ in range(axes - 1):
        if not pyarrow.types.is_list(column.type) or column.null_count:
            raise Wrong(f"{name} must be lists, {axes - 1} deep, in every row")
        sizes = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(sizes) != 1 or sizes[0] < 1:
            raise Wrong(f"{name} must be lists of one length in every row")
        shape.append(int(sizes[0]))
        column = column.flatten()
    if column.null_count or not (pyarrow.types.is_primitive(column.type) or pyarrow.types.is_boolean(column.type)):
        raise Wrong(f"{name} must hold a number in every row")
    values = column.to_numpy(zero_copy_only=False).reshape(shape)
    return np.ascontiguousarray(np.moveaxis(values, 1, 0) if axes > 1 else values)
