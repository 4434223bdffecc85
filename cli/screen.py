"""`--screen`: what each cell's target says by itself, in seconds and without a shadow model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.main import DONE, FAILED
from configs.errors import UsageError
from configs.knobs import from_args
from configs.machine import Places

if TYPE_CHECKING:
    from evaluation.attackable import Attackable

NOT_WITH = ("attacks", "fail_above", "export_signals")  # what attacks alone can answer
WORTH = "a first look: how far each figure orders cells and examples as Bayes LiRA does stands in docs/attacks.md"


def add_screen_flag(parser: argparse.ArgumentParser) -> None:
    """`--screen`."""
    parser.add_argument_group("screen").add_argument(
        "--screen",
        action="store_true",
        help="attack nothing: from the target's own outputs, its gaps in accuracy and in loss and the AUC of a "
        "threshold on the loss, of each cell, with shadow models or without; where it was trained with --trace-losses, "
        "also how its members rank by their loss traces; writes screen.csv and screen_members.csv",
    )


def check_screen(args: argparse.Namespace) -> None:
    """UsageError where a flag asks for what a screen does not do."""
    for name in NOT_WITH:
        if getattr(args, name, None):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"argument --screen: runs no attack; leave out {flag}, or --screen")


def run_screen(args: argparse.Namespace, cells: Sequence[Attackable]) -> int:
    """Write screen.csv and print it; screen_members.csv where a target has loss traces."""
    import torch

    from artifacts.children import cores
    from evaluation.screen import screen_rows
    from reporting.tables import SCREEN_COLUMNS, SCREEN_MEMBER_COLUMNS, write_table

    torch.set_num_threads(args.num_threads or cores())
    places: Places = from_args(Places, args)
    rows, members = screen_rows(cells, places, args.device)
    path, ranked = (Path(places.results_dir) / name for name in ("screen.csv", "screen_members.csv"))
    write_table(path, rows, SCREEN_COLUMNS)
    if members:
        write_table(ranked, members, SCREEN_MEMBER_COLUMNS)
    else:
        ranked.unlink(missing_ok=True)
    for line in lines_of(rows):
        print(line)
    print(f"table    {path}")
    if members:
        print(f"table    {ranked}")
    print(WORTH)
    return DONE if any(not row["reason"] for row in rows) else FAILED


def lines_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A heading and a line per cell; its reason in place of figures. Below it what its loss traces say, if any."""
    width = max(len("cell"), *(len(str(row["experiment"])) for row in rows))
    lines = [f"{'cell':<{width}}  LOSS AUC [95 % over examples]  loss gap (nats)  accuracy gap"]
    for row in rows:
        lead = f"{row['experiment']:<{width}}  "
        if row["reason"]:
            lines.append(f"{lead}{row['reason']}")
            continue
        gap = row["accuracy_gap"]
        shown = "" if gap is None else f"{100 * gap:+10.1f} %"
        interval = f"{row['loss_auc']:8.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        lines.append(f"{lead}{interval:<30}{row['loss_gap']:+16.3f}  {shown:>12}".rstrip())
        if row.get("trace_iqr_median") is not None:
            lines.append(f"{'':<{width}}  {_traces_in_words(row)}")
    return lines


def _traces_in_words(row: dict[str, Any]) -> str:
    said = f"loss traces: IQR median {row['trace_iqr_median']:.3f}, top tenth above {row['trace_iqr_q90']:.3f} nats"
    if row["trace_spearman"] is None:
        return said
    return f"{said}; rank correlation with Bayes LiRA over members {row['trace_spearman']:+.2f}"
