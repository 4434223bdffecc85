"""What only POSIX systems have is not needed to start: every module is imported without it, and a plan is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.repository import REPOSITORY
from tests.test_layers import LEVEL, PACKAGES

# What the lock library says on a system that is neither Windows nor has `fcntl`: there is none such but here.
NO_LOCKS = "only soft file lock is available"
# As on Windows: these modules, functions and flags are not there.
WITHOUT = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix_ipc", "syslog"):
    sys.modules[name] = None
for owner, names in ((os, ("O_NOFOLLOW", "O_DIRECTORY", "sched_getaffinity", "getuid", "geteuid", "fork", "killpg",
        "setsid", "statvfs", "getpgid")), (signal, ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1"))):
    for name in names:
        delattr(owner, name)
"""


def without_posix(code: str, folder: Path) -> str:
    """What the code prints in a process of its own; standard error has to stay empty."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", f"ignore:{NO_LOCKS}", "-c", WITHOUT + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def modules() -> list[str]:
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).glob("*.py") if path.stem != "__init__"]
    paths += [REPOSITORY / name for name in LEVEL if name.endswith(".py")]
    return sorted({path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".") for path in paths})


def test_every_module_is_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    names = modules()
    assert {"train", "artifacts.atomic_writes", "data.torchvision_sets", "sweep.ray_engine"} <= set(names)
    code = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\nprint('all')"
    assert without_posix(code, tmp_path) == "all\n"


def test_a_plan_is_made_without_what_only_posix_has(tmp_path: Path) -> None:
    code = """
import train
try:
    train.main(["--help"])
except SystemExit as stop:
    assert stop.code == 0
raise SystemExit(train.main(["--dataset", "digits", "--epochs", "1", "--layers", "8", "--dry-run", "--quiet"]))
"""
    shown = without_posix(code, tmp_path)
    assert shown.startswith("usage:")
    assert " runs: 110 new\n" in shown
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_and_leftovers_cleared_where_windows_says_so(tmp_path: Path) -> None:
    """The branches for Windows, on this system: what they leave out is not missed, and nothing is left open."""
    code = """
from pathlib import Path
from artifacts import atomic_writes
from artifacts.logs import log_file
import logging
atomic_writes.WINDOWS = True
here = Path("below")
assert atomic_writes.write_text(here / "a.txt", "content") == atomic_writes.file_hash(here / "a.txt")
(here / ".writing-a.txt-left").write_text("half")
atomic_writes.clear_temporaries(here)
atomic_writes.move_atomic(here / "a.txt", here / "b.txt")
with log_file(here / "run.log"):
    logging.getLogger("x").error("line")
print(sorted(path.name for path in here.iterdir()))
"""
    assert without_posix(code, tmp_path) == "['b.txt', 'run.log']\n"
