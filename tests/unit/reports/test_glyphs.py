"""Which characters are printed, and how."""

from __future__ import annotations

import runpy
import unicodedata
from pathlib import Path

import pytest
import typst

from reports.glyphs import MISSING_GLYPH, printable

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "text",
    [
        "Œuvre d’aide à la jeunesse",
        "Ελληνικά Кириллица",
        "جمعية العمل الاجتماعي",
        "אגודה למען הקהילה",
        "社会福利中心 ひらがな カタカナ 한국어",
        "हिन्दी বাংলা தமிழ் తెలుగు ไทย ລາວ ខ្មែរ မြန်မာ አማርኛ",
        "🌻 🤝 🏡 ❤",
    ],
)
def test_the_scripts_of_the_world_have_glyphs(text: str) -> None:
    assert MISSING_GLYPH not in printable(text)
    assert printable(text) == unicodedata.normalize("NFC", text)


def test_a_character_without_a_glyph_is_replaced() -> None:
    assert printable("\U00013000 a") == f"{MISSING_GLYPH} a"
    # Were it not replaced, nothing could be printed.
    with pytest.raises(typst.TypstError):
        typst.compile("\U00013000".encode(), ignore_system_fonts=True, pdf_standards=["a-2a"])


def test_what_draws_nothing_is_left_out() -> None:
    assert printable("b\ufe0f\x00c\nd\u202ee\ufeff") == "bc de"


def test_joiners_are_kept_where_they_mean_something() -> None:
    assert printable("می\u200cشود") == "می\u200cشود"
    assert printable("👩\u200d👧") == "👩\u200d👧"
    assert printable("a\u200db") == "ab"
    assert printable("\u200dab\u200c") == "ab"


def test_a_long_word_may_be_broken_but_not_within_a_character() -> None:
    assert printable("W" * 30) == "\u200b".join("W" * 30)
    assert "\u200b" not in printable("W" * 24)
    long = printable("n\u0308" * 30)
    assert "\u200b\u0308" not in long
    assert printable("ج" * 30) == "ج" * 30


def test_a_character_is_written_the_same_in_a_short_text_as_in_one_that_is_looked_at_closely() -> None:
    for character in map(chr, range(0x21, 0x2600)):
        # A word of thirty is looked at character by character.
        closely = printable(character * 30).replace("\u200b", "")
        assert closely.startswith(printable(character)), f"U+{ord(character):04X}"


def test_the_list_is_that_of_the_fonts() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "font-coverage"))
    listed = (ROOT / "reports" / "fonts" / "coverage.txt").read_text(encoding="ascii").split()
    assert listed == made["ranges"](made["drawn"]()), "scripts/font-coverage > reports/fonts/coverage.txt"
