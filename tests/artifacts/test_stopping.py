"""Signals as requests: at once, postponed, twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from artifacts import stopping
from configs.errors import StopRequested
from tests.repository import REPOSITORY


def test_at_once_outside_and_at_the_check_inside() -> None:
    with stopping.installed():
        with pytest.raises(StopRequested) as stopped:
            signal.raise_signal(signal.SIGTERM)
        assert stopped.value.signum == signal.SIGTERM
    with stopping.installed(), pytest.raises(StopRequested):
        in_postponed(signal.SIGINT, check=True)
    assert stopping.requested() is None


def in_postponed(signum: int, check: bool) -> None:
    with stopping.postponed():
        signal.raise_signal(signum)
        signal.raise_signal(signal.SIGTERM)  # one more changes nothing
        assert stopping.requested() == signum
        if check:
            stopping.check()
            raise AssertionError("the check let it pass")


def test_a_signal_that_nobody_checked_for_is_raised_at_the_end() -> None:
    with stopping.installed(), pytest.raises(StopRequested):
        in_postponed(signal.SIGTERM, check=False)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping.installed():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    code = (
        "import signal; from artifacts import stopping; stopping.install()\n"
        "with stopping.postponed():\n"
        "    signal.raise_signal(signal.SIGINT); print('first', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT); print('second', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "first\n")


class Interrupted:
    """An object in whose destructor a signal comes: Python drops what is raised there."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def interrupted_and_waiting() -> None:
    Interrupted()
    time.sleep(30)


def test_a_signal_that_comes_in_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with stopping.installed():
        with pytest.raises(StopRequested):
            interrupted_and_waiting()
        assert stopping.requested() == signal.SIGINT
    assert "Traceback" not in capfd.readouterr().err


def test_a_request_that_was_seen_in_the_meantime_does_not_come_again() -> None:
    hook = sys.unraisablehook
    with stopping.installed():
        Interrupted()
        with pytest.raises(StopRequested):
            stopping.check()
        time.sleep(3 * stopping.AGAIN)
    assert sys.unraisablehook is hook


AGAIN = """
import atexit, os, signal, sys
from cli.main import run_main
from cli.parser import new_parser

def ask() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return 0

atexit.register(ask)
sys.argv = ["command"]
sys.exit(run_main(lambda: new_parser("", ""), lambda _: ask()))
"""


def test_a_second_interrupt_while_the_process_ends_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "stopped by SIGINT" in done.stderr
    assert "Traceback" not in done.stderr
