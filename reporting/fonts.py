"""Letters in figures: fonts that have them where installed, else Hangul in Latin letters, else a number; and widths."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.textpath import text_to_path

BASE = "DejaVu Sans"  # matplotlib brings it along, so figures do not depend on the machine's fonts
# File names without ending, of fonts with Korean, Chinese or Japanese letters; the first that has a letter draws it.
FALLBACKS = (
    *("NanumGothic", "NotoSansCJK-Regular", "NotoSansKR-Regular", "malgun", "AppleSDGothicNeo", "AppleGothic"),
    *("NotoSansCJKkr-Regular", "UnDotum", "NotoSansSC-Regular", "NotoSansJP-Regular", "msyh", "PingFang", "msgothic"),
    *("YuGothM", "ipag", "ipaexg", "TakaoGothic", "wqy-microhei", "wqy-zenhei", "Arial Unicode"),
)
# A Hangul syllable is one initial consonant, one vowel and at most one final, and its code point counts through all
# combinations of them (The Unicode Standard, section 3.12).
_INITIALS, _VOWELS, _FINALS = (
    ["" if letters == "-" else letters for letters in row.split()]
    for row in (
        "g kk n d tt r m b pp s ss - j jj ch k t p h",
        "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i",
        "- g kk gs n nj nh d l lg lm lb ls lt lp lh m b bs s ss ng j ch k t p h",
    )
)
_FIRST_SYLLABLE, _LAST_SYLLABLE = "\uac00", "\ud7a3"


def families(texts: Iterable[str]) -> tuple[str, ...]:
    """The font families that draw these texts, in the order in which each letter is looked for.

    Only BASE where it has every letter: then no other font is looked for, and the figures are the same on any machine.
    """
    return (BASE,) if _has(BASE, "".join(map(composed, texts))) else (BASE, *installed())


@cache
def installed() -> tuple[str, ...]:
    """Families of FALLBACKS that this machine has, in that order.

    The files are looked for, as matplotlib's own list of fonts is not renewed when one is installed.
    """
    files = {Path(path).stem: path for path in sorted(findSystemFonts())}
    found = [files[name] for name in FALLBACKS if name in files]
    for path in found:
        fontManager.addfont(path)
    return tuple(dict.fromkeys(get_font(path).family_name for path in found))


def legible(text: str, otherwise: str, fonts: Sequence[str]) -> str:
    """The text as these families can draw it.

    Hangul that none of them has is spelled in Latin letters; where another letter is missing, `otherwise` stands in.
    """
    text = composed(text)
    latin = "".join(one if any(_has(font, one) for font in fonts) else romanised(one) for one in text)
    drawn = all(any(_has(font, one) for font in fonts) for one in set(latin))
    return latin if drawn and latin else otherwise


def romanised(text: str) -> str:
    """Hangul in Latin letters: the Revised Romanization of Korean (2000), letter by letter; other letters stay.

    Letter by letter: how neighbouring syllables change each other's sound is not followed, so that different spellings
    stay different.
    """
    return "".join(map(_syllable, composed(text)))


def _syllable(letter: str) -> str:
    if not _FIRST_SYLLABLE <= letter <= _LAST_SYLLABLE:
        return letter
    rest, final = divmod(ord(letter) - ord(_FIRST_SYLLABLE), len(_FINALS))
    initial, vowel = divmod(rest, len(_VOWELS))
    return _INITIALS[initial] + _VOWELS[vowel] + _FINALS[final]


def composed(text: str) -> str:
    """One line of whole syllables: some file systems keep their letters apart, and only a blank is drawn as one."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _has(family: str, letters: Iterable[str]) -> bool:
    return _glyphs(family).issuperset(map(ord, letters))


@cache
def _glyphs(family: str) -> frozenset[int]:
    path = findfont(FontProperties(family=[family]), fallback_to_default=False)
    return frozenset(get_font(path).get_charmap())


def width(text: str, points: float, fonts: Sequence[str]) -> float:
    """How wide a line of text is at this font size, in inches."""
    properties = FontProperties(family=list(fonts), size=points)
    return float(text_to_path.get_text_width_height_descent(text, properties, ismath=False)[0]) / 72


def fitted(text: str, inches: float, points: float, fonts: Sequence[str]) -> str:
    """The text, its middle left out where it would be wider than this."""
    kept, short = len(text), text
    while width(short, points, fonts) > inches and kept > 2:
        kept -= 1
        short = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
    return short


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """By key, the label; where an earlier key has the same one, with a number that no label has yet."""
    taken, shown = set(labels.values()), dict[str, str]()
    for key, label in labels.items():
        number, free = 2, label
        while free in shown.values() or (number > 2 and free in taken):
            free, number = f"{label} ({number})", number + 1
        shown[key] = free
    return shown
