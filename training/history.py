"""The epochs of a training: each in words, and all of them as a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from artifacts.atomic_writes import write_text


def in_words(row: dict[str, Any], epochs: int) -> str:
    """An epoch in a line of the log; epochs: of the whole training."""
    tested = "" if row["test_accuracy"] is None else f", test accuracy {row['test_accuracy']:.4f}"
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.4f}, accuracy {row['train_accuracy']:.4f}{tested}, "
        f"lr {row['lr']:.4g}, sparsity {row['sparsity']:.4f}, {row['seconds']:.1f} s"
    )


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """A row per epoch as CSV."""
    buffer = io.StringIO()
    pd.DataFrame(rows).to_csv(buffer, index=False, lineterminator="\n")
    write_text(path, buffer.getvalue())
