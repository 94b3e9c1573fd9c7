"""Who sends the papers, and in which colours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provision.settings import Cooperative
from reports.letterhead import contrast, letterhead, palette
from reports.table import words


def test_what_is_not_set_is_not_shown() -> None:
    assert letterhead(Cooperative(), words("fr"))["lines"] == []
    head = letterhead(Cooperative(name="A", phone="+32 4", iban="BE68539007547034"), words("fr"))
    assert head["lines"] == [["+32 4"], ["IBAN BE68\u00a05390\u00a00754\u00a07034"]]


def test_a_dark_colour_is_kept() -> None:
    assert palette("#1f4e79")["accent"] == "#1f4e79"


@given(st.integers(0, 0xFFFFFF))
def test_every_colour_can_be_read_on_white(number: int) -> None:
    colours = palette(f"#{number:06x}")
    assert contrast(colours["accent"]) >= 4.5
    assert contrast(colours["bar"]) >= 3.0


def test_contrast_is_that_of_the_standard() -> None:
    assert round(contrast("#000000"), 2) == 21.0
    assert round(contrast("#ffffff"), 2) == 1.0
    assert round(contrast("#767676"), 2) == 4.54
