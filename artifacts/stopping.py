"""SIGINT and SIGTERM as a request: raised at once where nothing is lost, else noted until the next safe moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from configs.errors import StopRequested

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.01  # seconds until a request that was swallowed is made again


class _State:
    """Of this process: the first signal that came, and how many regions put it off."""

    requested: int | None = None
    postponing = 0
    swallowed = False  # it was raised where Python drops exceptions, and comes once more
    other_hook: Callable[[UnraisableHookArgs], object] = sys.unraisablehook


def install() -> None:
    """Take over both signals; only the main thread may. A second SIGINT ends the process at once."""
    _State.requested = None
    _State.swallowed = False
    if sys.unraisablehook is not _unraisable:
        _State.other_hook = sys.unraisablehook
        sys.unraisablehook = _unraisable
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _handle)


@contextlib.contextmanager
def installed(for_good: bool = False) -> Iterator[None]:
    """`install`, with the handlers that were there before put back in the end.

    for_good: the process ends next. Once it was asked to stop, its handlers then stay: a second Ctrl-C while the
    interpreter ends would be a traceback.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    install()
    try:
        yield
    finally:
        stays = for_good and _State.requested is not None
        if not stays:
            _State.requested = None
            _State.swallowed = False
            sys.unraisablehook = hook
        if not stays and threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _unraisable(lost: UnraisableHookArgs) -> None:
    """Python calls this instead of raising what a destructor or the callback of a weak reference raises.

    A signal may come right there. Its request would be a traceback on the screen and then be forgotten.
    """
    if not isinstance(lost.exc_value, StopRequested):
        _State.other_hook(lost)
    elif not sys.is_finalizing():
        _State.swallowed = True
        timer = threading.Timer(AGAIN, _ask_again, (lost.exc_value.signum,))
        timer.daemon = True
        timer.start()


def _ask_again(signum: int) -> None:
    if _State.swallowed:
        os.kill(os.getpid(), signum)


def _handle(signum: int, frame: FrameType | None) -> None:
    if _State.swallowed:
        _State.swallowed = False
        if not _State.postponing:
            raise StopRequested(signum)
        return
    if _State.requested is not None:
        if signum == signal.SIGINT:
            os._exit(128 + signum)
        return  # one SIGTERM more changes nothing: the stop is under way
    _State.requested = signum
    if not _State.postponing:
        raise StopRequested(signum)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Within it a signal is only noted: `check` raises it where the caller has something safe to leave behind.

    One that came in the meantime and was not checked for is raised at the end.
    """
    _State.postponing += 1
    try:
        yield
    finally:
        _State.postponing -= 1
    if not _State.postponing:
        check()


def requested() -> int | None:
    """The signal that asked this process to stop, if one did."""
    return _State.requested


def check() -> None:
    """Raise StopRequested if a signal came."""
    if _State.requested is not None:
        _State.swallowed = False
        raise StopRequested(_State.requested)
