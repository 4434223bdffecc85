"""Near misses: what a mistyped flag or name was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean --num-shadows?`, to end an error line with; empty where no known word is close."""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
