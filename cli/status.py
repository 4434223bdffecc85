"""`--status` and `--watch`: a table of what is finished, running, failed and left, once or until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.main import DONE
from configs.errors import UsageError
from sweep.status import CellState, survey, time_left

HEADING = ("cell", "planned", "finished", "running", "failed", "left", "time left")
CLEAR = "\x1b[H\x1b[2J"
LISTED = 20  # runs of one kind that are named


def add_status_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that look at a sweep and start nothing."""
    group = parser.add_argument_group("status")
    group.add_argument(
        "--status",
        action="store_true",
        help="print what is finished, running, failed and left in --runs-dir; write nothing",
    )
    group.add_argument(
        "--watch",
        nargs="?",
        const=5.0,
        type=_seconds,
        metavar="SECONDS",
        help="the same again every so many seconds (default: 5), until nothing is left or Ctrl-C",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 86400.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give a number of seconds from 1 to 86400")
    return seconds


def show_status(runs_dir: Path, every: float | None) -> int:
    """Print the status once, or every so many seconds; the exit code."""
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UsageError(f"argument --runs-dir: {runs_dir} is a file; give a folder")
    if every is None:
        print(status_text(survey(runs_dir), runs_dir), end="")
        return DONE
    try:
        while True:
            cells = survey(runs_dir)
            clear = CLEAR if sys.stdout.isatty() else ""
            print(clear + status_text(cells, runs_dir) + time.strftime("%Y-%m-%d %H:%M:%S\n"), flush=True)
            if not any(cell.left or cell.count("running") for cell in cells):
                return DONE
            time.sleep(every)
    except KeyboardInterrupt as stop:
        if getattr(stop, "signum", signal.SIGINT) != signal.SIGINT:
            raise
        return DONE


def status_text(cells: Sequence[CellState], runs_dir: Path) -> str:
    """The table, the runs that deserve a line of their own, and the time left."""
    if not cells:
        return f"{runs_dir}: nothing planned and nothing trained\n"
    rows = [HEADING, *(_row(cell, runs_dir) for cell in cells)]
    counts = [sum(column) for column in zip(*(_counts(cell) for cell in cells), strict=True)]
    rows.append(("total", *map(str, counts), in_words(time_left(cells))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    lines.insert(-1, "-" * len(lines[0]))
    for kind in ("running", "failed", "damaged", "stale"):
        lines += _named(cells, kind, runs_dir)
    resumable = sum(cell.count("resume") for cell in cells)
    lines += [f"{resumable} interrupted, to go on from a checkpoint"] if resumable else []
    return "\n".join([*lines, _in_all(cells)]) + "\n"


def _counts(cell: CellState) -> tuple[int, ...]:
    return len(cell.runs), cell.count("finished"), cell.count("running"), cell.count("failed"), cell.left


def _row(cell: CellState, runs_dir: Path) -> tuple[str, ...]:
    left = time_left([cell])
    return _name(cell.folder, runs_dir), *map(str, _counts(cell)), "" if left == 0 else in_words(left)


def _named(cells: Sequence[CellState], kind: str, runs_dir: Path) -> list[str]:
    states = [state for cell in cells for state in cell.runs if state.kind == kind]
    lines = [f"{kind:8} {_name(one.run.path, runs_dir)}: {_printable(one.detail)}" for one in states[:LISTED]]
    return lines + ([f"{kind:8} and {len(states) - LISTED} more"] if len(states) > LISTED else [])


def _in_all(cells: Sequence[CellState]) -> str:
    left, running = sum(cell.left for cell in cells), sum(cell.count("running") for cell in cells)
    if not left and not running:
        return "nothing is left"
    if not running:
        return f"nothing is running; time left for one run at a time: {in_words(time_left(cells))}"
    return f"time left with {running} at once: {in_words(time_left(cells))}"


def in_words(seconds: float | None) -> str:
    """`1 h 20 min`; a question mark where nothing has been measured yet."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _name(folder: Path, runs_dir: Path) -> str:
    return _printable(folder.relative_to(runs_dir).as_posix())


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
