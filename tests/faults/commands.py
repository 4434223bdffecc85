"""Bad command lines: exit code 2, one line on standard error, nothing written, in less than a second.

Most are made from the scripts' own flags, so that a new flag is tried as well.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.children import REPOSITORY
from tests.faults.trials import Tally, Trial

SCRIPTS = (
    *("train", "run_experiment", "test_mia", "mia.unified_mia_evaluation", "mia.mia_advanced", "mia.mia_wemem"),
    *("mia.run_mia_evaluation", "mia.report"),
)
AS_MODULES = ("mia.report",)
SECONDS = 1.0  # of processor time, which other work on the machine does not stretch
REAL_EVERY = 12  # of so many command lines one starts an interpreter of its own
SMALL = ("--dataset", "synthetic", "--layers", "8")
# What only a look at several flags, or at the disk, finds wrong.
TRAINING = (
    ("--methods", "dense", "dense"),
    ("--methods", "dense", "--prune-freq", "8"),
    ("--methods", "static", "--target-epoch", "3"),
    ("--sparsities", "0.8", "0.9", "0.8"),
    ("--epochs", "10", "--target-epoch", "11"),
    ("--epochs", "10", "--prune-epoch", "11"),
    ("--epochs", "10", "--target-epoch", "8", "--freeze-epoch", "4"),
    ("--layers", "21"),
    ("--arch", "wideresnet", "--layers", "20"),
    ("--width-mult", "65"),
    ("--image-size", "16"),
    ("--device", "cuda:99"),
    ("--device", "tpu"),
    ("--device", "-1"),
    ("--pool-size", "5"),
    ("--split", "disjoint", "--pool-size", "11", "--num-shadows", "8"),
    ("--num-shadows", "2", "--attacks", "lira"),
    ("--shadows-from", "nobody"),
    ("--shadows-from", "all", "own"),
    ("--pretrained", "missing.pth"),
    ("--config", "missing.json"),
    ("--quiet", "--verbose"),
    ("--skip-existing", "--overwrite"),
    ("--dataset", "imagefolder", "--data-dir", "nowhere"),
    ("--runs-dir", os.devnull),
    ("stray",),
)
ONE_MODEL = (
    ("--sparsity", "0.8"),
    ("--prune",),
    ("--prune", "--prune-method", "static"),
    ("--prune", "--sparsity", "0.5"),
    ("--prune", "--prune-method", "dense", "--sparsity", "0.5"),
    ("--name", "../escape"),
    ("--name", "a/b"),
    ("--name", ".."),
    ("--name", ""),
    ("--name", "/etc"),
    ("--name", "a\nb"),
)
LATER = (("--runs-dir", "nowhere"), ("--runs-dir", os.devnull), ("--runs-dir", "."), ("--attacks", "magic"))


def cases() -> list[tuple[str, tuple[str, ...], bool]]:
    """Script, arguments, and whether argparse alone refuses them (for the rest torch is imported, which takes long)."""
    found = [(script, argv, True) for script in SCRIPTS for argv in _of_flags(script)]
    found += [("train", (*SMALL, *argv), False) for argv in TRAINING]
    found += [("run_experiment", (*SMALL, *argv), False) for argv in ONE_MODEL]
    found += [
        (script, argv, False)
        for script in ("test_mia", "mia.unified_mia_evaluation", "mia.mia_advanced", "mia.mia_wemem")
        for argv in LATER
    ]
    found += [("mia.run_mia_evaluation", ("--run-dir", name), False) for name in ("nowhere", ".", os.devnull)]
    found += [("mia.report", ("--results-dir", name), False) for name in ("nowhere", ".", os.devnull)]
    return found


def _of_flags(script: str) -> Iterator[tuple[str, ...]]:
    yield ("--no-such-flag", "3")
    parser: argparse.ArgumentParser = importlib.import_module(script).build_parser()
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        if not flag or flag in ("--help", "--version"):
            continue
        if action.nargs == 0:
            yield (f"{flag}=yes",)
            continue
        if action.nargs not in ("?", "*"):
            yield (flag,)
        if action.choices is not None:
            yield (flag, "nonsense")
        elif action.type is not None and not _takes(action.type, "nonsense"):
            yield from ((flag, "nonsense"), (flag, "nan"), (flag, "1e999"))
            if not _takes(action.type, "-1"):
                yield (flag, "-1")


def _takes(kind: object, text: str) -> bool:
    try:
        kind(text)  # type: ignore[operator]
    except (argparse.ArgumentTypeError, ValueError):
        return False
    return True


def count(trial: Trial) -> int:
    """As many tries as there are command lines."""
    return len(cases())


def bad_command_line(trial: Trial) -> Tally:
    """One command line in an empty folder."""
    script, argv, by_argparse = cases()[trial.number]
    folder = trial.folder / "empty"
    folder.mkdir()
    code: int | None
    if by_argparse and trial.number % REAL_EVERY == 0:
        code, cpu, out, err = _real(script, argv, folder)
    else:
        end = trial.server.run(script, argv, folder)
        code, cpu, out, err = end.code, end.cpu, end.out, end.err
    lines = err.strip().splitlines()
    wrong = [
        *([f"exit code {code}"] if code != 2 else []),
        *([f"{len(lines)} lines on standard error"] if len(lines) != 1 else []),
        *(["a traceback"] if "Traceback" in err else []),
        *([f"on standard output: {out[:100]}"] if out else []),
        *([f"{cpu:.2f} s"] if cpu >= SECONDS else []),
        *([f"written: {next(folder.iterdir()).name}"] if any(folder.iterdir()) else []),
    ]
    command = f"{script} {' '.join(argv)}"
    return Tally(True, not wrong, f"{command}: {', '.join(wrong) or 'refused'}: {err.strip()[:200]}")


def _real(script: str, argv: tuple[str, ...], folder: Path) -> tuple[int, float, str, str]:
    path = REPOSITORY / (script.replace(".", "/") + ".py")
    command = [sys.executable, *(["-m", script] if script in AS_MODULES else [str(path)]), *argv]
    out, err = folder.parent / "out", folder.parent / "err"
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with out.open("wb") as one, err.open("wb") as other:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=one, stderr=other, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, out.read_text(), err.read_text()
