"""Text as PDF/A and the papers' fonts allow it. Pure but for the list of characters that travels with the fonts."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache
from importlib import resources
from typing import Final

# PDF/A takes no character without a glyph; this one stands for those that the fonts lack.
MISSING_GLYPH: Final = "□"
# A longer word may be broken anywhere, so that nothing runs off the page.
_LONGEST_WORD: Final = 24
# What nearly all texts are made of: every character has a glyph, and stands for itself.
_ORDINARY: Final = r"!-~\u00a0-\u00ac\u00ae-\u017f\u202f\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac\u2212"
_ORDINARY_TEXT: Final = re.compile(rf"(?:[{_ORDINARY}]{{0,{_LONGEST_WORD}}} )*[{_ORDINARY}]{{0,{_LONGEST_WORD}}}")
# They draw nothing, but say how their neighbours are written: in Persian, in the scripts of India, in emoji.
_JOINERS: Final = "\u200c\u200d"
_BREAKS: Final = "\n\r\t\v\f\u2028\u2029"


@lru_cache(maxsize=4096)
def printable(text: str) -> str:
    """Text as PDF/A and the fonts allow it: no control characters, □ for what has no glyph, long words breakable."""
    if _ORDINARY_TEXT.fullmatch(text):
        return text
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(_one(composed, place) for place in range(len(composed)))
    return " ".join(_breakable(word) for word in kept.split(" "))


def _one(text: str, place: int) -> str:
    character = text[place]
    if character in _BREAKS:
        return " "
    if character in _JOINERS:
        return character if _joins(text[place - 1 : place]) and _joins(text[place + 1 : place + 2]) else ""
    # Controls, other formatting characters and variation selectors draw nothing of their own.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs") or "\ufe00" <= character <= "\ufe0f":
        return ""
    return character if _has_glyph(ord(character)) else MISSING_GLYPH


def _joins(neighbour: str) -> bool:
    """Whether a joiner beside this character may have something to say."""
    if not neighbour or neighbour < "\u0590" or not _has_glyph(ord(neighbour)):
        return neighbour == "\ufe0f"
    return unicodedata.category(neighbour)[0] in "LMS"


def _breakable(word: str) -> str:
    """A word that may be broken between any two characters that stand for themselves."""
    if len(word) <= _LONGEST_WORD:
        return word
    parts = [word[0]]
    for character in word[1:]:
        parts += [character] if _holds(parts[-1], character) else ["\u200b", character]
    return "".join(parts)


def _holds(before: str, character: str) -> bool:
    """Whether two characters are written as one: joined letters, marks on a letter, the parts of an emoji."""
    joined = before in _JOINERS or character in _JOINERS or unicodedata.bidirectional(character) == "AL"
    return joined or unicodedata.category(character) in ("Mn", "Mc", "Me", "Sk")


def _has_glyph(code_point: int) -> bool:
    first, last = _coverage()
    position = bisect_right(first, code_point) - 1
    return position >= 0 and code_point <= last[position]


@cache
def _coverage() -> tuple[list[int], list[int]]:
    """The characters that the fonts can draw, as the first and last code points of ranges (fonts/README.md)."""
    text = (resources.files("reports") / "fonts" / "coverage.txt").read_text(encoding="ascii")
    ranges = [line.split("-") for line in text.split()]
    return [int(first, 16) for first, _ in ranges], [int(last, 16) for _, last in ranges]
