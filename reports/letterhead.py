"""Who sends the papers: `cooperative` of chill.toml → the head of a paper and its colours. Pure.

The colour is the cooperative's own; what is printed in it is darkened until it can be read on white (WCAG 2.2,
success criteria 1.4.3 and 1.4.11: a contrast of 4.5 for text, 3 for charts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from provision.settings import Cooperative
from reports.table import Words

_TEXT_CONTRAST: Final = 4.5
_CHART_CONTRAST: Final = 3.0
Colour = tuple[float, float, float]


def letterhead(cooperative: Cooperative, words: Words) -> dict[str, Any]:
    """What templates/style.typ shows of the sender: `name`, `lines` of texts, `colours` (each `#rrggbb`)."""
    return {
        "name": cooperative.name,
        "lines": [line for line in _lines(cooperative, words) if line],
        "colours": palette(cooperative.colour),
    }


def palette(colour: str) -> dict[str, str]:
    """The colours of a paper, from one: `accent` for titles, `bar` and `pale` for charts, `tint` for a background."""
    own = _parse(colour)
    return {
        "accent": _written(_readable(own, _TEXT_CONTRAST)),
        "bar": _written(_readable(_mixed(own, 0.25), _CHART_CONTRAST)),
        "pale": _written(_mixed(own, 0.68)),
        "tint": _written(_mixed(own, 0.92)),
    }


def contrast(colour: str) -> float:
    """The contrast of a colour with white, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    return _contrast(_parse(colour))


def _lines(cooperative: Cooperative, words: Words) -> Iterator[list[str]]:
    yield list(cooperative.address)
    yield [text for text in (cooperative.email, cooperative.phone) if text]
    labelled = (("letterhead.vat", cooperative.vat_number), ("letterhead.iban", _grouped(cooperative.iban)))
    yield [words.text(key, number=number) for key, number in labelled if number]


def _grouped(iban: str) -> str:
    """An IBAN in groups of four, as it is printed (ISO 13616)."""
    bare = "".join(iban.split())
    return "\u00a0".join(bare[start : start + 4] for start in range(0, len(bare), 4))


def _parse(colour: str) -> Colour:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _written(colour: Colour) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)


def _mixed(colour: Colour, white: float) -> Colour:
    red, green, blue = (part + (1 - part) * white for part in colour)
    return red, green, blue


def _readable(colour: Colour, least: float) -> Colour:
    """The colour, darkened in small steps until its contrast with white is at least `least`."""
    while _contrast(_parse(_written(colour))) < least:
        red, green, blue = (part * 0.97 for part in colour)
        colour = red, green, blue
    return colour


def _contrast(colour: Colour) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
