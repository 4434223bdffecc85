"""The main figures as a table for the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attacks.registry import ATTACKS, headline_of
from pruning.registry import METHODS
from reporting.frames import is_empty
from reporting.labels import again, control_words, told_apart

Key = tuple[str, str, str]  # experiment, attack, metric
Summary = Mapping[str, Any]

PIPED, NARROWEST = 110, 60  # columns where there is no terminal, and the fewest that a table is laid out for
_LABEL_WIDTH = 32
_GAP = 2  # columns between two fields


@dataclass(frozen=True)
class _Column:
    """A column of the terminal's table: a heading of two lines, and a field per cell ("" = no figure)."""

    heading: tuple[str, str]
    fields: list[str]
    left: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (*self.heading, *self.fields)))

    def pad(self, text: str) -> str:
        return f"{text:<{self.width}}" if self.left else f"{text:>{self.width}}"


def output_width() -> int:
    """Columns of the terminal that standard output is; PIPED where it is none, whatever COLUMNS says."""
    return shutil.get_terminal_size((PIPED, 24)).columns if sys.stdout.isatty() else PIPED


def render(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary], width: int = PIPED) -> str:
    """The table of `reporting.tables.summary_text`.

    summaries: by (experiment, attack, metric), with mean, ci_low, ci_high and num_targets. width: of the terminal.
    Figures that no longer fit are left out, the least telling first.
    """
    width = max(width, NARROWEST)
    figures = [column for column in _figure_columns(cells, summaries) if any(column.fields)]
    about = _beside([column for column in _about_columns(cells) if any(column.fields)], figures[:1], width)
    room = width - sum(column.width + _GAP for column in about)
    figures = _fitting(figures, room)
    columns = [*about, *figures]
    heading = ["  ".join(column.pad(column.heading[line]) for column in columns).rstrip() for line in (0, 1)]
    rule = "-" * (sum(column.width + _GAP for column in columns) - _GAP)
    body: list[str] = []
    for index, cell in enumerate(cells):
        left = "  ".join(column.pad(column.fields[index] or "-") for column in about)
        if cell.get("reason"):
            body += _reason_lines(left, str(cell["reason"]), room)
        else:
            body.append("  ".join([left, *(column.pad(column.fields[index] or "-") for column in figures)]).rstrip())
    return "\n".join([*heading, rule, *body, rule, *_notes(cells, summaries, width)]) + "\n"


def _beside(about: list[_Column], lead: list[_Column], width: int) -> list[_Column]:
    """What stands beside the leading figure: of long names in a narrow terminal, neither sparsity nor accuracy."""
    while len(about) > 1 and sum(column.width + _GAP for column in [*about, *lead]) - _GAP > width:
        about = [about[0], *about[2:]]
    return about


def _about_columns(cells: Sequence[Mapping[str, Any]]) -> list[_Column]:
    names, heading = _shortened([str(cell["experiment"]) for cell in cells]), "Experiment"
    if told_apart(cells):
        names = [_title(cell["method"]) + control_words(cell) + again(cell.get("train_seed")) for cell in cells]
        heading = "Method"
    return [
        _Column((heading, ""), names, left=True),
        _Column(
            ("Sparsity", "%"), ["" if is_empty(cell["sparsity"]) else f"{100 * cell['sparsity']:g}" for cell in cells]
        ),
        _Column(("Test", "acc %"), [_number(cell.get("test_accuracy"), ".2f", 100) for cell in cells]),
    ]


def _title(method: str) -> str:
    return METHODS[method].title if method in METHODS else method


def _shortened(names: list[str]) -> list[str]:
    """The names without their middles, cut where all stay apart if there is such a place."""
    cuts = [[_shorten(name, lead) for name in names] for lead in range(8, _LABEL_WIDTH - 10)]
    return next((short for short in cuts if len(set(short)) == len(set(names))), cuts[0])


def _shorten(name: str, lead: int) -> str:
    return name if len(name) <= _LABEL_WIDTH else f"{name[:lead]}...{name[lead + 3 - _LABEL_WIDTH :]}"


def _figure_columns(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary]) -> list[_Column]:
    """The columns of figures, the most telling first; some may be empty."""

    def column(heading: str, unit: str, attack: str, metric: str, show: Callable[[Summary], str]) -> _Column:
        found = [summaries.get((cell["experiment"], attack, metric), {}) for cell in cells]
        return _Column((heading, unit), [show(summary) for summary in found])

    def plain(summary: Summary) -> str:
        return _number(summary.get("mean"), ".3f")

    def percent(summary: Summary) -> str:
        return _number(summary.get("mean"), ".2f", 100)

    first = headline_of(attack for _, attack, metric in summaries if metric == "auc") or next(iter(ATTACKS))
    title = ATTACKS[first].title
    strict = [column(f"{title} TPR %", "@0.1%FPR", first, "tpr_at_fpr_0.001", percent)]
    if not any(strict[0].fields):
        strict = [column(f"{title} TPR %", "@1%FPR", first, "tpr_at_fpr_0.01", percent)]
    lead = [name for name in ("lira", "loss", "samia") if name != first]
    # The AUC of confidence is that of LOSS up to classes, so it comes last.
    rest = [*(name for name in ATTACKS if name not in (first, *lead, "confidence")), "confidence"]
    return [
        column(f"{title} AUC", "[95 % CI]", first, "auc", _interval),
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
            room -= column.width + _GAP
    return fitting


def _reason_lines(left: str, reason: str, room: int) -> list[str]:
    first, *others = textwrap.wrap(f"not attacked: {reason}", room)
    return [f"{left}  {first}", *(" " * (len(left) + 2) + line for line in others)]


def _notes(cells: Sequence[Mapping[str, Any]], summaries: Mapping[Key, Summary], width: int) -> list[str]:
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
    return textwrap.wrap(text, width)
