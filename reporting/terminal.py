"""The main figures as a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mia.registry import ATTACKS
from pruning.registry import METHODS
from reporting.frames import is_empty

Key = tuple[str, str, str]  # experiment, attack, metric
Summary = Mapping[str, Any]

TERMINAL_WIDTH = 110
_LABEL_WIDTH = 32


@dataclass(frozen=True)
class _Column:
    """A column of the terminal's table: a heading of two lines, and a field a cell ("" = no figure)."""

    heading: tuple[str, str]
    fields: list[str]
    left: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (*self.heading, *self.fields)))

    def pad(self, text: str) -> str:
        return f"{text:<{self.width}}" if self.left else f"{text:>{self.width}}"


def render(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary]) -> str:
    """The table of `reporting.tables.summary_text`.

    summaries: by (experiment, attack, metric), with mean, ci_low, ci_high and num_targets. Figures that no longer fit
    into TERMINAL_WIDTH are left out, the least telling first.
    """
    about = [column for column in _about_columns(cells) if any(column.fields)]
    room = TERMINAL_WIDTH - sum(column.width + 2 for column in about)
    figures = _fitting([column for column in _figure_columns(cells, summaries) if any(column.fields)], room)
    columns = [*about, *figures]
    heading = ["  ".join(column.pad(column.heading[line]) for column in columns).rstrip() for line in (0, 1)]
    rule = "-" * (sum(column.width + 2 for column in columns) - 2)
    body: list[str] = []
    for index, cell in enumerate(cells):
        left = "  ".join(column.pad(column.fields[index] or "-") for column in about)
        if cell.get("reason"):
            body += _reason_lines(left, str(cell["reason"]), room)
        else:
            body.append("  ".join([left, *(column.pad(column.fields[index] or "-") for column in figures)]).rstrip())
    return "\n".join([*heading, rule, *body, rule, *_notes(cells, summaries)]) + "\n"


def _about_columns(cells: Sequence[Mapping[str, Any]]) -> list[_Column]:
    titles = [
        METHODS[cell["method"]].title if cell["method"] in METHODS else str(cell["method"] or "-") for cell in cells
    ]
    names, heading = titles, "Method"
    kinds = {(cell["method"], cell["sparsity"]) for cell in cells}
    if len(kinds) < len(cells) or any(method is None for method, _ in kinds):
        names, heading = [_shorten(str(cell["experiment"])) for cell in cells], "Experiment"
    return [
        _Column((heading, ""), names, left=True),
        _Column(
            ("Sparsity", "%"), ["" if is_empty(cell["sparsity"]) else f"{100 * cell['sparsity']:g}" for cell in cells]
        ),
        _Column(("Test", "acc %"), [_number(cell.get("test_accuracy"), ".2f", 100) for cell in cells]),
    ]


def _shorten(name: str) -> str:
    return name if len(name) <= _LABEL_WIDTH else f"{name[:8]}...{name[11 - _LABEL_WIDTH :]}"


def _figure_columns(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary]) -> list[_Column]:
    """The columns of figures, the most telling first; some may be empty."""

    def column(heading: str, unit: str, attack: str, metric: str, show: Callable[[Summary], str]) -> _Column:
        found = [summaries.get((cell["experiment"], attack, metric), {}) for cell in cells]
        return _Column((heading, unit), [show(summary) for summary in found])

    def plain(summary: Summary) -> str:
        return _number(summary.get("mean"), ".3f")

    def percent(summary: Summary) -> str:
        return _number(summary.get("mean"), ".2f", 100)

    strict = [column("LiRA TPR %", "@0.1%FPR", "lira", "tpr_at_fpr_0.001", percent)]
    if not any(strict[0].fields):
        strict = [column("LiRA TPR %", "@1%FPR", "lira", "tpr_at_fpr_0.01", percent)]
    lead = ("loss", "samia")
    # The AUC of confidence is that of LOSS up to classes, so it comes last.
    rest = [*(name for name in ATTACKS if name not in ("lira", *lead, "confidence")), "confidence"]
    return [
        column("LiRA AUC", "[95 % CI]", "lira", "auc", _interval),
        *strict,
        *(column(ATTACKS[name].title, "AUC", name, "auc", plain) for name in lead),
        column(ATTACKS["confidence"].title, "acc %", "confidence", "accuracy", percent),
        *(column(ATTACKS[name].title, "AUC", name, "auc", plain) for name in rest),
    ]


def _number(value: Any, form: str, scale: int = 1) -> str:
    return "" if is_empty(value) else format(scale * value, form)


def _interval(summary: Summary) -> str:
    mean, low, high = (_number(summary.get(name), ".3f") for name in ("mean", "ci_low", "ci_high"))
    return f"{mean} [{low}, {high}]" if low and high else mean


def _fitting(columns: Sequence[_Column], room: int) -> list[_Column]:
    fitting: list[_Column] = []
    for column in columns:
        if column.width <= room:
            fitting.append(column)
            room -= column.width + 2
    return fitting


def _reason_lines(left: str, reason: str, room: int) -> list[str]:
    first, *others = textwrap.wrap(f"not attacked: {reason}", room)
    return [f"{left}  {first}", *(" " * (len(left) + 2) + line for line in others)]


def _notes(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary]) -> list[str]:
    if not summaries:
        return []
    targets = max(summary["num_targets"] for summary in summaries.values())
    spread = f"over examples and {targets} networks" if targets > 1 else "over the examples of one target network"
    fewest = min((summary["num_targets"] for summary in summaries.values() if summary["num_targets"]), default=targets)
    spread += f" ({fewest} for attacks that train networks)" if fewest < targets else ""
    text = f"AUC 0.5 is guessing; higher leaks more. Attack accuracy is balanced (guessing: 50 %). Intervals: {spread}."
    if any(cell.get("select") == "best" for cell in cells):
        text += " Test accuracy is optimistic where the epoch was chosen on the test set (--select best)."
    shares = [100 * cell["majority_baseline"] for cell in cells if not is_empty(cell.get("majority_baseline"))]
    if shares:
        ends = dict.fromkeys(f"{share:.1f}" for share in (min(shares), max(shares)))
        text += f" Majority baseline: {' to '.join(ends)} %."
    return textwrap.wrap(text, TERMINAL_WIDTH)
