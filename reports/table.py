"""Numbers, dates and words → the cells of the papers, in French, English or Dutch. Pure.

Numbers and dates follow the Unicode CLDR as packaged by Babel; words come from `locale/<language>.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_compact_decimal, format_currency, get_decimal_symbol, get_group_symbol

from provision.contract import Vat
from provision.settings import Language
from reports.lines import GIGABYTE, Line, Note, half_up


@dataclass(frozen=True, slots=True)
class Words:
    """A language: its texts by dotted key (`annex.title`) and how it writes numbers, money and dates."""

    language: Language
    locale: str
    texts: Mapping[str, str] = field(hash=False, repr=False)

    def text(self, key: str, **values: object) -> str:
        """The text called `key`, its placeholders filled. A key or a value that is missing is a KeyError."""
        return self.texts[key].format(**values)

    def number(self, value: Fraction | int, digits: int = 0) -> str:
        """A number of 0 or more with `digits` decimals, rounded half up, its thousands grouped."""
        # Not the fraction itself: whether it was written before is looked up by it, and hashing one takes long.
        return _number(value.numerator, value.denominator, digits, self.locale)

    def short_number(self, value: Fraction | int) -> str:
        """A number of 0 or more in few characters, such as 12,3 k: for places where the exact one stands elsewhere."""
        return _short_number(decimal_text(value, 1), self.locale)

    def exact_number(self, value: Fraction | int) -> str:
        """A number of 0 or more with all its decimals, of which a contract has six at most."""
        return self.number(
            value, next(digits for digits in range(7) if (Fraction(value) * 10**digits).denominator == 1)
        )

    def gigabytes(self, size: Fraction | int) -> str:
        """Bytes as GB (10^9 bytes) with two decimals; with more where two would hide that a GB has started."""
        numerator, denominator = size.numerator, size.denominator * GIGABYTE
        digits = 2
        while digits < 9 and numerator % denominator and not _parts(numerator, denominator, digits)[1]:
            digits += 1
        return self.text("gigabytes", number=_number(numerator, denominator, digits, self.locale))

    def money(self, amount: Decimal, currency: str) -> str:
        """An amount with the currency's sign and its two decimals."""
        return _money(amount, currency, self.locale)

    def price(self, amount: Decimal, currency: str) -> str:
        """A price, which may have more decimals than an amount: all of them are shown, and at least two."""
        return _price(amount, currency, self.locale)

    def percent(self, percent: Decimal) -> str:
        """A percentage such as 21 or 99.5 (already out of a hundred), with all its decimals."""
        return self.text("percent", number=self.number(Fraction(percent), _decimals(percent)))

    def day(self, day: date) -> str:
        """A day in full: 1 janvier 2026 (in French the first is `1er`)."""
        text = _date_text(day, "long", self.locale)
        return text.replace("1 ", "1er ", 1) if self.language == "fr" and day.day == 1 else text

    def month(self, month: int) -> str:
        """The name of a month, 1 to 12."""
        return _date_text(date(2000, month, 1), "LLLL", self.locale)

    def short_month(self, month: int) -> str:
        """The abbreviated name of a month, 1 to 12."""
        return _date_text(date(2000, month, 1), "LLL", self.locale)

    def note(self, note: Note, year: int, *, iso: bool) -> str:
        """A remark on a line; `iso` writes its months as 2026-03 instead of by name."""
        single = note.days == 1 and f"notes.{note.kind}_one" in self.texts
        months = (f"{year}-{month:02d}" if iso else self.month(month) for month in note.months)
        first, last = (self._date(day, iso=iso) for day in (note.first, note.last))
        return self.text(
            f"notes.{note.kind}_one" if single else f"notes.{note.kind}",
            months=", ".join(months),
            days=note.days,
            text=note.text,
            first=first,
            last=last,
        )

    def label(self, line: Line) -> str:
        """What a line is called: the words of the tariff's lines, the contract's own words of an extra or a credit."""
        if line.name in ("extra", "credit"):
            return line.label
        if line.name == "correction" and line.origin:
            of = self.text(f"lines.{line.origin.line}")
            return self.text("lines.correction", line=of, year=line.origin.year)
        return self.text(f"lines.{line.name}")

    def said_of(self, line: Line) -> str:
        """A line that is billed once, in one sentence: its day, what it is called, and why, where that is known."""
        head = f"{line.day.isoformat()} {self.label(line)}" if line.day else self.label(line)
        return self.text("between", label=head, value=line.label) if line.label not in ("", self.label(line)) else head

    def vat_mention(self, terms: Vat) -> str:
        """The legal mention of a statement without VAT, with the customer's VAT number; empty where VAT is charged."""
        if terms.treatment not in ("exempt", "reverse_charge"):
            return ""
        mention = terms.mention.in_language(self.language) or self.text(f"vat.{terms.treatment}")
        number = terms.customer_number
        return self.text("vat.with_number", mention=mention, number=number) if number else mention

    def _date(self, day: date | None, *, iso: bool) -> str:
        return "" if day is None else day.isoformat() if iso else self.day(day)


@cache
def words(language: Language) -> Words:
    """The words of a language, from `locale/<language>.toml`."""
    file = resources.files("reports") / "locale" / f"{language}.toml"
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    return Words(language, document["locale"], dict(_flat(document)))


@cache
def _locale(identifier: str) -> Locale:
    """A locale of Babel, found once: looking it up for every number would take longer than writing the number."""
    return Locale.parse(identifier)


# A paper has hundreds of numbers, most of them small: the same ones come again on the next.
@lru_cache(maxsize=20_000)
def _number(numerator: int, denominator: int, digits: int, locale: str) -> str:
    group, point = _symbols(locale)
    whole, part = _parts(numerator, denominator, digits)
    # As Babel writes it by the pattern "#,##0.00", which it would take apart again for every number.
    text = f"{whole:,}".replace(",", group)
    return f"{text}{point}{part:0{digits}d}" if digits else text


# The same prices, amounts and dates come on every paper; Babel takes a while to write one.
@lru_cache(maxsize=20_000)
def _money(amount: Decimal, currency: str, locale: str) -> str:
    return str(format_currency(amount, currency, locale=_locale(locale), currency_digits=False))


@lru_cache(maxsize=20_000)
def _price(amount: Decimal, currency: str, locale: str) -> str:
    digits = max(2, _decimals(amount))
    pattern = _locale(locale).currency_formats["standard"].pattern.replace("0.00", "0." + "0" * digits)
    return str(format_currency(amount, currency, format=pattern, locale=_locale(locale), currency_digits=False))


@lru_cache(maxsize=20_000)
def _short_number(number: Decimal, locale: str) -> str:
    return str(format_compact_decimal(number, fraction_digits=1, locale=_locale(locale)))


@lru_cache(maxsize=2_000)
def _date_text(day: date, form: str, locale: str) -> str:
    return str(format_date(day, form, locale=_locale(locale)))


@cache
def _symbols(locale: str) -> tuple[str, str]:
    """What stands between thousands, and before decimals."""
    return get_group_symbol(_locale(locale)), get_decimal_symbol(_locale(locale))


def decimal_text(value: Fraction | int, digits: int) -> Decimal:
    """A number of 0 or more rounded half up to `digits` decimals, exactly."""
    whole, part = _parts(value.numerator, value.denominator, digits)
    return Decimal(f"{whole}.{part:0{digits}d}" if digits else str(whole))


def _parts(numerator: int, denominator: int, digits: int) -> tuple[int, int]:
    """A quotient of 0 or more rounded half up: what stands before the decimals, and they themselves."""
    unit: int = 10**digits
    return divmod(half_up(numerator * unit, denominator), unit)


def percent_text(share: Fraction | None) -> str | None:
    """A share out of a hundred with one decimal, rounded down, so that 100.0 is said only where nothing is missing."""
    return None if share is None else f"{Decimal(share * 10 // 1) / 10:.1f}"


def _decimals(value: Decimal) -> int:
    """How many decimals a number of 0 or more needs: 1 for 0.50, 2 for 0.25, 0 for 21.0."""
    return max(0, len(f"{value:f}".partition(".")[2].rstrip("0")))


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", str(value))]
    return rows
