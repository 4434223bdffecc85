"""Where an evaluation stands, on standard error: a bar in a terminal, else a line for each item; nothing if quiet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from artifacts.logs import console_level

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class _Now:
    """Of this process: the bar that is on show, and the item under way in words."""

    bar: Any = None
    item = ""


def announced(items: Sequence[Item], phase: str, name: Callable[[Item], str] = str) -> Iterator[Item]:
    """The items in turn, each announced before it is handed out: the phase, its number and its name.

    Phases follow one another; one within another is a `step` of it.
    """
    shown = sys.stderr.isatty() and console_level() <= logging.INFO
    bar = tqdm(total=len(items), file=sys.stderr, disable=not shown, leave=False, dynamic_ncols=True)
    _Now.bar = bar if shown else None
    try:
        for number, item in enumerate(items, start=1):
            _Now.item = f"{phase} {number}/{len(items)} {name(item)}"
            if shown:
                bar.set_description_str(_Now.item, refresh=False)
                bar.set_postfix_str("")
            else:
                log.info("%s", _Now.item)
            yield item
            bar.update()
    finally:
        bar.close()
        _Now.bar, _Now.item = None, ""


def step(what: str, say: bool = True) -> None:
    """What is done to the item under way. say: whether it gets a line of its own where there is no bar."""
    if _Now.bar is not None:
        _Now.bar.set_postfix_str(what)
    elif say and _Now.item:
        log.info("%s: %s", _Now.item, what)
