"""`--export`: finished targets written for use elsewhere, shared by train.py and run_experiment.py."""

from __future__ import annotations

import argparse
import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path

from artifacts.run_dir import RunDir
from configs.errors import RunError, UsageError

log = logging.getLogger(__name__)


def add_export_flag(parser: argparse.ArgumentParser) -> None:
    """`--export`."""
    parser.add_argument_group("export").add_argument(
        "--export",
        action="store_true",
        help="write the finished target into its folder export/: the kept weights with bit-packed masks (safetensors), "
        "a plain state dict, and a model card",
    )


def add_export_signals_flag(parser: argparse.ArgumentParser) -> None:
    """`--export-signals`."""
    parser.add_argument_group("export").add_argument(
        "--export-signals",
        metavar="DIR",
        help="write what every network said as parquet, a file a cell, with a data card that holds the signatures: "
        "others attack the same networks with --signals, without training (docs/signals.md)",
    )


def check_export_signals(folder: str | None) -> None:
    """UsageError, before anything is computed, where signals cannot be written into this folder."""
    if folder is None:
        return
    if importlib.util.find_spec("pyarrow") is None:
        from artifacts.signals_parquet import NEEDS

        raise UsageError(f"argument --export-signals: {NEEDS}")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError(f"argument --export-signals: {folder} is a file; give a folder")


def export_targets(targets: Iterable[RunDir], data_dir: str, results_dir: Path) -> list[str]:
    """Export each, and print where to; returns a line for every one that could not be."""
    from evaluation.export import export_run

    failed = []
    for run in targets:
        try:
            files = export_run(run, data_dir, results_dir)
        except (RunError, UsageError) as error:
            failed.append(str(error))
            continue
        sizes = [path.stat().st_size / 1024 for path in (files.sparse, files.dense)]
        print(f"export    {run.export} (sparse {sizes[0]:,.0f} KiB, dense {sizes[1]:,.0f} KiB)")
    for line in failed:
        log.error("not exported: %s", line)
    return failed
