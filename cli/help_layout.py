"""Help that fits 80 columns on every terminal and where there is none."""

from __future__ import annotations

import argparse
import itertools
import shutil
import textwrap
from typing import Any

COLUMNS = 80


class HelpText(argparse.HelpFormatter):
    """Prose is filled, paragraph by paragraph; an indented line stays as it is, or is broken as a shell command is."""

    def __init__(self, prog: str, **options: Any) -> None:
        columns = min(shutil.get_terminal_size((COLUMNS, 24)).columns, COLUMNS)
        super().__init__(prog, **{**options, "width": columns - 2})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled: list[str] = []
        for prose, lines in itertools.groupby(text.strip("\n").split("\n"), key=_is_prose):
            if prose:
                filled += textwrap.wrap(" ".join(lines), width, break_on_hyphens=False)
            else:
                filled += [part for line in lines for part in _command(line, width)]
        return "\n".join(filled)


def _is_prose(line: str) -> bool:
    return bool(line) and not line[0].isspace()


def _command(line: str, width: int) -> list[str]:
    """A line of a shell: where it is too long its comment goes above it, and the rest goes on after a backslash."""
    indent = " " * (len(line) - len(line.lstrip()))
    if len(line) <= width:
        return [line]
    command, _, comment = line.partition(" # ")
    above = textwrap.wrap(comment, width, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    room: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": f"{indent}    "}
    broken = textwrap.wrap(command.strip(), width - 2, **room, break_on_hyphens=False, break_long_words=False)
    return [*above, *(f"{part} \\" for part in broken[:-1]), broken[-1]]
