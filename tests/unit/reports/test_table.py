"""Numbers, dates and words of the papers, in each language."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor
from string import Formatter
from typing import get_args

import pytest
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from provision.settings import Language
from reports.lines import GIGABYTE, Note
from reports.table import decimal_text, words

LANGUAGES: tuple[Language, ...] = get_args(Language)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_texts_and_placeholders(language: Language) -> None:
    french, other = words("fr").texts, words(language).texts
    assert other.keys() == french.keys()
    assert {key: placeholders(text) for key, text in other.items()} == {
        key: placeholders(text) for key, text in french.items()
    }


@given(
    value=st.fractions(min_value=0, max_value=10**15),
    digits=st.integers(0, 6),
    language=st.sampled_from(LANGUAGES),
)
def test_numbers_are_written_as_the_cldr_says(value: Fraction, digits: int, language: Language) -> None:
    pattern = "#,##0." + "0" * digits if digits else "#,##0"
    expected = format_decimal(decimal_text(value, digits), format=pattern, locale=words(language).locale)
    assert words(language).number(value, digits) == expected


@given(value=st.fractions(min_value=0, max_value=10**15), digits=st.integers(0, 6))
def test_numbers_are_rounded_half_up(value: Fraction, digits: int) -> None:
    assert Fraction(decimal_text(value, digits)) == Fraction(floor(value * 10**digits + Fraction(1, 2)), 10**digits)


def test_french_puts_its_spaces_before_double_signs() -> None:
    for key, text in words("fr").texts.items():
        assert not re.search(r"[^\u00a0\u202f](:|;|!|\?|%|»)( |$)", text), key
        assert "'" not in text, key


@pytest.mark.parametrize(
    "language,number,money,price,percent,day",
    [
        ("fr", "1\u202f234\u202f567,9", "1\u202f866,43\u00a0€", "0,075\u00a0€", "5,5\u202f%", "1er mars 2026"),
        ("en", "1,234,567.9", "€1,866.43", "€0.075", "5.5%", "1 March 2026"),
        ("nl", "1.234.567,9", "€\u00a01.866,43", "€\u00a00,075", "5,5%", "1 maart 2026"),
    ],
)
def test_numbers_money_and_dates(
    language: Language, number: str, money: str, price: str, percent: str, day: str
) -> None:
    text = words(language)
    assert text.number(Fraction(12345679, 10), 1) == number
    assert text.money(Decimal("1866.43"), "EUR") == money
    assert text.price(Decimal("0.0750"), "EUR") == price
    assert text.percent(Decimal("5.50")) == percent
    assert text.day(date(2026, 3, 1)) == day


def test_only_the_first_of_a_month_is_ordinal_in_french() -> None:
    assert words("fr").day(date(2026, 3, 11)) == "11 mars 2026"
    assert words("fr").day(date(2026, 3, 21)) == "21 mars 2026"


def test_a_price_has_two_decimals_at_least() -> None:
    assert words("fr").price(Decimal("40"), "EUR") == "40,00\u00a0€"
    assert words("en").price(Decimal("0.000001"), "CHF") == "CHF0.000001"


@pytest.mark.parametrize(
    "size,expected",
    [
        (0, "0.00\u00a0GB"),
        (23_456_789_012, "23.46\u00a0GB"),
        (20 * GIGABYTE, "20.00\u00a0GB"),
        # One byte above the quota must not look like the quota.
        (20 * GIGABYTE + 1, "20.000000001\u00a0GB"),
        (20 * GIGABYTE + 4_000_000, "20.004\u00a0GB"),
        (Fraction(19_999_999_999), "19.999999999\u00a0GB"),
    ],
)
def test_gigabytes_never_hide_a_started_one(size: Fraction | int, expected: str) -> None:
    assert words("en").gigabytes(size) == expected


@pytest.mark.parametrize(
    "value,digits,expected",
    [(Fraction(1, 2), 0, "1"), (Fraction(5, 2), 0, "3"), (Fraction(1, 8), 2, "0.13"), (10**30, 2, f"{10**30}.00")],
)
def test_rounding_is_half_up_and_exact(value: Fraction | int, digits: int, expected: str) -> None:
    assert str(decimal_text(value, digits)) == expected


def test_notes() -> None:
    text = words("fr")
    months = Note("months_without_sample", months=(3, 12))
    assert text.note(months, 2026, iso=False) == "mois sans aucun relevé\u00a0: mars, décembre"
    assert text.note(months, 2026, iso=True) == "mois sans aucun relevé\u00a0: 2026-03, 2026-12"
    assert text.note(Note("days_without_sample", days=1), 2026, iso=True) == "1 jour sans relevé"
    assert text.note(Note("days_without_sample", days=31), 2026, iso=True) == "31 jours sans relevé"
