"""What "the same bytes" means: which files of a sweep are compared, and which fields are left out because they time it.

Compared as bytes: weights and masks (best_model.pth), signals.npz, config.json, planned_cells.json, and everything
below the results folder: tables, scores, figures, report. Compared without the named fields: history.csv, the summary,
training_results.csv. Left out: logs, locks, checkpoints, the
sign of life of a run in training (a kill between a run's last two writes leaves it behind), and wandb's own folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

TIMED_COLUMNS = {"history.csv": ("seconds",), "training_results.csv": ("seconds",)}
# The history's hash covers its seconds, and the summary's own covers all of these.
TIMED_FIELDS = (
    *("seconds", "machine", "hashes/history.csv", "hashes/experiment_summary.json"),
    *("shared_epochs", "shared_seconds"),  # whether the dense run's state was there to start from
)
LEFT_OUT = ("run.log", ".lock", ".lock.holder", "checkpoint.pth", "checkpoint_previous.pth", "progress.json")
LEFT_OUT_FOLDERS = ("wandb",)
TEMPORARY = ".writing-"


def content(folder: Path) -> dict[str, str]:
    """sha256 of what is compared, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and path.name not in LEFT_OUT and not set(inside.parts) & set(LEFT_OUT_FOLDERS):
            found[inside.as_posix()] = hashlib.sha256(_compared(path)).hexdigest()
    return found


def _compared(path: Path) -> bytes:
    if path.name == "experiment_summary.json":
        return json.dumps(_without(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True).encode()
    if path.name not in TIMED_COLUMNS:
        return path.read_bytes()
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    left_out = TIMED_COLUMNS[path.name]
    return json.dumps([{name: row[name] for name in row if name not in left_out} for row in rows]).encode()


def _without(summary: dict[str, Any]) -> dict[str, Any]:
    for name in TIMED_FIELDS:
        part, *rest = name.split("/")
        if rest:
            summary[part].pop(rest[0], None)
        else:
            summary.pop(part, None)
    return summary


def differences(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """The paths that differ, in words; empty when all agree."""
    names = sorted(name for name in set(ours) | set(theirs) if ours.get(name) != theirs.get(name))
    return f"{len(names)} files differ: {', '.join(names[:5])}" if names else ""


def temporaries(folder: Path) -> list[str]:
    """What half-finished writes left behind."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob(f"{TEMPORARY}*")]
