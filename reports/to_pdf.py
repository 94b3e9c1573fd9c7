"""The papers' content → PDF, by Typst: A4, tagged (PDF/UA-1), archivable (PDF/A-2a), fonts embedded, reproducible.

Content goes in as JSON and is never part of the Typst source, so that no name can be read as markup. The same
content gives the same bytes on every machine: fonts travel with the package, and the time in the file is the end of
the reported year.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import typst

from provision.errors import ChillError
from reports.annex import Page

# PDF/A takes no character without a glyph; this one stands for those that the fonts lack.
MISSING_GLYPH = "□"
# A longer word may be broken anywhere, so that nothing runs off the page.
_LONGEST_WORD = 40


@dataclass(frozen=True, slots=True)
class Press:
    """Typst, ready to print the papers of one year: `annex(page)` and `fleet(page)` give the bytes of a PDF."""

    year: int
    _annex: Any
    _fleet: Any

    @classmethod
    def for_year(cls, year: int) -> Press:
        """A press with the templates and fonts of the package, and no font of the machine."""
        fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(_directory() / "fonts")])
        compilers = [
            typst.Compiler(
                str(_directory() / "templates" / name), root=str(_directory() / "templates"), font_paths=fonts
            )
            for name in ("annex.typ", "fleet.typ")
        ]
        return cls(year, *compilers)

    def annex(self, page: Page) -> bytes:
        """A customer's annex; `page` is what `reports.annex.annex_page` gives."""
        return self._print(self._annex, page)

    def fleet(self, page: Page) -> bytes:
        """The fleet's paper; `page` is what `reports.overview.overview_page` gives."""
        return self._print(self._fleet, page)

    def _print(self, compiler: Any, page: Page) -> bytes:
        content = json.dumps(_printable(page), ensure_ascii=False)
        try:
            printed = compiler.compile(
                sys_inputs={"page": content, "year": str(self.year)},
                pdf_standards=["ua-1", "a-2a"],
                timestamp=datetime(self.year, 12, 31, tzinfo=UTC),
            )
        except typst.TypstError as error:
            title = f"{page['title']} ({page.get('instance', 'fleet')})"
            raise ChillError(f"{title}: the PDF could not be made: {error.message}") from error
        return bytes(printed)


def printable(text: str) -> str:
    """Text as PDF/A and the fonts allow it: no control characters, □ for what has no glyph, long words breakable."""
    kept = "".join(_one(character) for character in unicodedata.normalize("NFC", text))
    return " ".join(_breakable(word) for word in kept.split(" "))


def _one(character: str) -> str:
    if character in "\n\r\t\v\f\u2028\u2029":
        return " "
    # Controls, formatting and variation selectors draw nothing of their own.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs") or "\ufe00" <= character <= "\ufe0f":
        return ""
    return character if _has_glyph(ord(character)) else MISSING_GLYPH


def _breakable(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else "\u200b".join(word)


def _printable(value: Any) -> Any:
    """`printable` on every text of a JSON value."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(element) for element in value]
    if isinstance(value, dict):
        return {key: _printable(element) for key, element in value.items()}
    return value


def _has_glyph(code_point: int) -> bool:
    first, last = _coverage()
    position = bisect_right(first, code_point) - 1
    return position >= 0 and code_point <= last[position]


@cache
def _coverage() -> tuple[list[int], list[int]]:
    """The characters that the fonts can draw, as the first and last code points of ranges (fonts/README.md)."""
    text = (_directory() / "fonts" / "coverage.txt").read_text(encoding="ascii")
    ranges = [line.split("-") for line in text.split()]
    return [int(first, 16) for first, _ in ranges], [int(last, 16) for _, last in ranges]


def _directory() -> Path:
    # Typst opens fonts and templates itself, by path: the package is always installed as plain files.
    return Path(str(resources.files("reports")))
