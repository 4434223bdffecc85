"""How this project starts child processes of its own code, on however many cores there are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# The folder that holds this package and its siblings: the repository, or `pruning_mia` where that is installed.
REPOSITORY = Path(__file__).resolve().parent.parent
# As `python -m` does, but for the folder that the user happens to be in, whose modules may go by the names of ours.
RUN = (
    "import sys; sys.path[0] = sys.argv.pop(1); import runpy; runpy.run_module(sys.argv.pop(1), None, '__main__', True)"
)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def import_path() -> str:
    """PYTHONPATH with which a child, wherever it starts, imports this very code."""
    return os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))


def start(
    module: str,
    *arguments: str,
    threads: int | None = None,
    quiet: bool = False,
    settings: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """`python -m module arguments`, spoken to in lines of UTF-8 through standard input and output.

    threads: OMP_NUM_THREADS, for a library that reads it at import would start a thread per core; None leaves it.
    quiet: standard error is thrown away. settings: environment variables that the user's own override.
    Ctrl-C does not reach the child, so that its parent ends it in an orderly way.
    """
    environment = {**(settings or {}), **os.environ, "PYTHONPATH": import_path()}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(REPOSITORY), module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        encoding="utf-8",
        env=environment,
        start_new_session=True,
    )
