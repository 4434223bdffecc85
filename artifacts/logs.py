"""Log lines: chosen ones to standard error above the progress bar, all of them to each run's own log file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from tqdm import tqdm

from artifacts.atomic_writes import NO_LINK

# These write a line for every font or lock they look at.
NOISY = ("matplotlib", "PIL", "filelock", "fontTools", "urllib3")


class _Console(logging.Handler):
    """Standard error, without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def set_up_console(level: int) -> None:
    """Send records of at least `level` to standard error; replaces what an earlier call set up."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Console)]:
        root.removeHandler(old)
    root.addHandler(_Console(level))
    root.setLevel(logging.DEBUG)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def console_level() -> int:
    """The level that `set_up_console` was given; WARNING when it never was."""
    levels = [handler.level for handler in logging.getLogger().handlers if isinstance(handler, _Console)]
    return levels[0] if levels else logging.WARNING


class _RunLog(logging.FileHandler):
    """A log file. What cannot be written to it (a full disk, say) is left out: a run does not end for its log."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # of opening the file, which waits for the first line
            super().emit(record)

    def _open(self) -> TextIOWrapper:
        # a link that a stranger left in the folder is not followed
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK
        return open(os.open(self.baseFilename, flags, 0o666), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send all of this process's log lines into a file while the context lasts."""
    handler = _RunLog(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
