"""What a line of a statement is; how money is rounded. Pure.

Whole numbers and fractions until the cent: nothing here depends on the decimal context.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from metering.ledger.usage import MonthUsage, Window, YearUsage

# What the tariff bills, for each part of the year; then what is billed once, after all parts.
MeasuredName = Literal["base", "active_users", "sms", "emails", "documents", "collabora_users"]
SingleName = Literal["extra", "credit", "advance", "correction"]
LineName = Literal[MeasuredName, SingleName]
NoteKind = Literal[
    "not_billed", "no_sample", "months_without_sample", "days_without_sample", "estimated", "condition", "period"
]

# Each line's unit of quantity, and its metric in the ledger, in the order of the papers.
UNITS: Final[dict[LineName, str]] = {
    "base": "months",
    "active_users": "users",
    "sms": "messages",
    "emails": "recipients",
    "documents": "bytes",
    "collabora_users": "users",
}
METRICS: Final[dict[LineName, str]] = {
    "active_users": "active_users",
    "sms": "sms_sent",
    "emails": "emails_sent",
    "documents": "document_bytes",
    "collabora_users": "collabora_users",
}
GIGABYTE: Final = 10**9


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on a line, as a value: its words come with the language.

    `months` are 1 to 12; `days` a count; `text` what the fleet's own files say, printed as it is; `first` and `last`
    the days of a period.

    | kind | uses | says |
    |---|---|---|
    | `not_billed`, `no_sample` | | the tariff has no such section; the ledger has no such sample |
    | `months_without_sample` | months | these months have no sample at all |
    | `days_without_sample` | days | so many days have none |
    | `estimated` | days | so many days were estimated, on demand |
    | `condition` | text | a particular condition of the contract holds; its reason |
    | `period` | first, last, text | one of several periods of the year, and its tariff |
    """

    kind: NoteKind
    months: tuple[int, ...] = ()
    days: int = 0
    text: str = ""
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a line's amount before proration: `count` units (users, blocks, GB …) at `price` each."""

    count: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Origin:
    """What a correction corrects: a line of an earlier year's closed statement."""

    year: int
    line: LineName


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement.

    `quantity` is in `unit`, None when there is no sample. `included` and `billable` are in the unit that is billed:
    months, users, messages, recipients, GB; None where there is no quota, or nothing is billed. `amount` is in the
    statement's currency, with two decimals; below zero on a credit, an advance and some corrections.

    `part` says which of `Statement.parts` a measured line belongs to. The others stand after them and are billed once:
    `extra` and `credit` (`label`, `day`; `quantity`, `unit`, `unit_price` where the contract gives them), `advance`
    (what was invoiced at the opening, on `day`), `correction` (of `origin`; `label` says why).
    """

    name: LineName
    quantity: Fraction | int | None
    included: int | None
    billable: int | None
    unit_price: Decimal | None
    amount: Decimal
    steps: tuple[Step, ...] = ()
    prorated: bool = False
    billed: bool = True
    days_sampled: int | None = None
    days_expected: int | None = None
    notes: tuple[Note, ...] = ()
    part: int = 0
    unit: str = ""
    label: str = ""
    day: date | None = None
    origin: Origin | None = field(default=None)
    estimated: bool = False

    @property
    def measured(self) -> bool:
        """Whether this is a line of the tariff, not one that is billed once."""
        return self.name in UNITS

    @property
    def gaps(self) -> tuple[Note, ...]:
        """The notes that tell what is missing."""
        kinds = ("no_sample", "months_without_sample", "days_without_sample")
        return tuple(note for note in self.notes if note.kind in kinds)

    @property
    def incomplete(self) -> bool:
        """Whether a billed month, or the whole line, is without any sample although it is billed."""
        return self.billed and any(note.kind in ("no_sample", "months_without_sample") for note in self.notes)


def half_up(numerator: int, denominator: int) -> int:
    """The whole number nearest to a quotient; of two equally near ones, the greater."""
    return (2 * numerator + denominator) // (2 * denominator)


def round_half_up(value: Fraction) -> int:
    """The nearest whole number; of two equally near ones, the greater."""
    return half_up(value.numerator, value.denominator)


def cents(amount: Fraction) -> int:
    """An amount in cents, rounded half up; one below zero is rounded as what it takes off would be."""
    size = half_up(abs(amount.numerator) * 100, amount.denominator)
    return -size if amount < 0 else size


def money(in_cents: int) -> Decimal:
    """An amount in cents as a decimal number with two decimals."""
    # Written as text: construction is exact, whatever the precision of the current decimal context.
    sign, size = ("-", -in_cents) if in_cents < 0 else ("", in_cents)
    return Decimal(f"{sign}{size // 100}.{size % 100:02d}")


def billed_months(window: Window, usage: YearUsage) -> tuple[MonthUsage, ...]:
    """The usage of the billed months, in order."""
    return tuple(month for month in usage.months if month.month in window.months)
