"""Records to data frames and CSV text, such that types, empty fields and numbers survive."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import pandas as pd

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
LONG, DIGITS = 100, 5  # rows of a picture's data beyond which a page holds them short, and to so many digits


def is_empty(value: Any) -> bool:
    """Whether a figure is missing: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def to_frame(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A line per record, with exactly these columns; what a record lacks is missing.

    Integers stay integers where some are missing (Int64), which pandas on its own would turn into floats.
    """
    frame: pd.DataFrame = pd.DataFrame({name: _column([record.get(name) for record in records]) for name in columns})
    return frame


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    values = [None if is_empty(value) else value for value in values]
    present = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, Real) for value in present):
        dtype = "object"
    else:
        dtype = "Int64" if present and all(isinstance(value, Integral) for value in present) else "float64"
    column: pd.Series[Any] = pd.Series(values, dtype=dtype)
    return column


def to_csv(frame: pd.DataFrame) -> str:
    """CSV text: floats in their shortest form that reads back equal, LF line ends, formulas made harmless."""
    fields = {
        name: [_as_field(value) for value in column]
        for name, column in frame.items()
        if not pd.api.types.is_numeric_dtype(column)
    }
    text: str = frame.assign(**fields).to_csv(index=False, lineterminator="\n")  # type: ignore[arg-type]
    return text


def to_short_csv(frame: pd.DataFrame) -> str:
    """`to_csv` for inside a page: of more than LONG rows numbers to DIGITS digits, and no column that tells nothing.

    Those are columns that hold one text in all rows, or the same as an earlier column.
    """
    if len(frame) <= LONG:
        return to_csv(frame)
    kept: list[str] = []
    for name in map(str, frame.columns):
        column = frame[name]
        one_text = not pd.api.types.is_numeric_dtype(column) and column.nunique(dropna=False) == 1
        if not one_text and not any(column.equals(frame[earlier]) for earlier in kept):
            kept.append(name)
    rounded = {
        name: [float(f"{value:.{DIGITS}g}") for value in frame[name]]
        for name in kept
        if pd.api.types.is_float_dtype(frame[name])
    }
    return to_csv(frame[kept].assign(**rounded))


def _as_field(value: Any) -> Any:
    # The csv module leaves a lone carriage return unquoted before Python 3.13, and its own reader then fails on it.
    return re.sub("\r\n?", "\n", escape(value)) if isinstance(value, str) else value


def escape(text: str) -> str:
    """Text that a spreadsheet would run (it starts with = + - @, a tab or a carriage return), led by an apostrophe."""
    return f"'{text}" if _is_formula(text) else text


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    # Apostrophes before the formula count too: otherwise reading could not tell them from the one that was added.
    return text.lstrip("'").startswith(_FORMULA_STARTS)
