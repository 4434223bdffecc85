"""What is missing is said before anything slow is imported: nothing here needs torch, and every command asks first."""

from __future__ import annotations

from pathlib import Path

from configs.errors import UsageError

CONFIG = "config.json"  # what makes a folder a run's


def check_runs(runs_dir: Path, flag: str = "--runs-dir") -> None:
    """UsageError where the folder is not there or holds no run at all."""
    check_runs_folder(runs_dir, flag)
    if next(runs_dir.rglob(CONFIG), None) is None:
        raise UsageError(f"argument {flag}: {runs_dir} holds no run; train something first (python train.py)")


def check_runs_folder(runs_dir: Path, flag: str = "--runs-dir") -> None:
    """UsageError where the folder is not there."""
    if not runs_dir.is_dir():
        raise UsageError(f"argument {flag}: {runs_dir} does not exist; train something first (python train.py)")


def check_file(path: Path, flag: str) -> None:
    """UsageError where there is neither a file nor a folder of this name."""
    if not path.exists():
        raise UsageError(f"argument {flag}: {path} does not exist")


def check_pictures(data_dir: Path) -> None:
    """UsageError where the folder of an image folder is not there, or lacks a part."""
    if not data_dir.is_dir():
        raise UsageError(f"--data-dir {data_dir}: no such folder; it needs train/<class>/* and test/<class>/*")
    for part in ("train", "test"):
        if not (data_dir / part).is_dir():
            raise UsageError(f"--data-dir {data_dir}: no folder {part}/; it needs train/<class>/* and test/<class>/*")


def check_arrays(path: Path, dataset: str) -> None:
    """UsageError where the file of a data set of arrays is not there."""
    if not path.is_file():
        raise UsageError(
            f"--data-dir {path}: no such file; --dataset {dataset} needs one, as --dataset FILE.npz names it"
        )


def check_results(results_dir: Path) -> None:
    """UsageError where the folder of an evaluation is not there."""
    if not results_dir.is_dir():
        raise UsageError(f"argument --results-dir: {results_dir} does not exist; an evaluation writes it")
