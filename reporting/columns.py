"""Tables of the page without the columns that hold no value."""

from __future__ import annotations

import re
from collections.abc import Sequence

EMPTY = ("", "-")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr[^>]*>.*?</tr>", re.DOTALL)
_FIELD = re.compile(r"<(t[hd])[^>]*>(.*?)</\1>", re.DOTALL)


def filled(rows: Sequence[Sequence[str]]) -> list[bool]:
    """For each column of rows of one length, whether a row has a value there; the first, which names the row, has."""
    return [
        i == 0 or any(text.strip() not in EMPTY for text in column) for i, column in enumerate(zip(*rows, strict=True))
    ]


def without_empty_columns(page: str) -> str:
    """The page, its tables with filled columns only; done on the page, so that it holds for any table on it.

    page: HTML as the template writes it: no table in a table, and all text escaped.
    """
    return _TABLE.sub(lambda table: _narrowed(table[0]), page)


def _narrowed(table: str) -> str:
    body = [[text for _, text in _FIELD.findall(row)] for row in _ROW.findall(table) if "<td" in row]
    if len({len(row) for row in body}) != 1:
        return table
    kept = filled(body)

    def narrowed(row: re.Match[str]) -> str:
        if "colspan" in row[0]:  # a heading over all columns
            return re.sub(r'colspan="\d+"', f'colspan="{sum(kept)}"', row[0])
        places = iter(kept)
        return _FIELD.sub(lambda field: field[0] if next(places) else "", row[0])

    return _ROW.sub(narrowed, table)
