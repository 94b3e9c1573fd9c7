"""The lines of a statement: measured quantity × section of the tariff → quota, billable quantity, amount. Pure.

Whole numbers and fractions until the cent: nothing here depends on the decimal context. The formulas are
those of docs/reports.md; each amount is rounded half up to the cent, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Final, Literal

from metering.ledger.usage import MonthUsage, Window, YearUsage
from reports.tariff import (
    ActiveUsers,
    CollaboraUsers,
    DocumentMeasure,
    Documents,
    Emails,
    Sms,
    Tier,
    UserMeasure,
    Version,
)

LineName = Literal["base", "active_users", "sms", "emails", "documents", "collabora_users"]
NoteKind = Literal["not_billed", "no_sample", "months_without_sample", "days_without_sample"]

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
    """A remark on a line, as a value: its words come with the language. `months` are 1 to 12, `days` a count."""

    kind: NoteKind
    months: tuple[int, ...] = ()
    days: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a line's amount before proration: `count` units (users, blocks, GB …) at `price` each."""

    count: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement.

    `quantity` is in `UNITS[name]`, None when there is no sample. `included` and `billable` are in the unit that
    is billed: months, users, messages, recipients, GB; None where there is no quota, or nothing is billed.
    `amount` is in the tariff's currency, with two decimals.
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

    @property
    def incomplete(self) -> bool:
        """Whether a billed month, or the whole line, is without any sample although it is billed."""
        return self.billed and any(note.kind in ("no_sample", "months_without_sample") for note in self.notes)


def statement_lines(version: Version, window: Window, usage: YearUsage) -> tuple[Line, ...]:
    """All lines of one customer's year, in the order of the papers."""
    months = len(window.months)
    share = Fraction(months, 12)
    return (
        _base(version, months),
        _active_users(version.active_users, share, window, usage),
        _sms(version.sms, window, usage),
        _emails(version.emails, share, window, usage),
        _documents(version.documents, share, window, usage),
        _collabora_users(version.collabora_users, share, window, usage),
    )


def round_half_up(value: Fraction) -> int:
    """The nearest whole number; of two equally near ones, the greater."""
    return floor(value + Fraction(1, 2))


def graduated(users: int, tiers: Sequence[Tier]) -> tuple[Step, ...]:
    """How many of `users` fall into each tier, with its price; tiers that are not reached are left out."""
    steps = []
    below = 0
    for tier in tiers:
        top = users if tier.up_to is None else min(users, tier.up_to)
        if top > below:
            steps.append(Step(top - below, tier.price))
            below = top
    return tuple(steps)


def cents(amount: Fraction) -> int:
    """An amount in cents, rounded half up."""
    return round_half_up(amount * 100)


def money(in_cents: int) -> Decimal:
    """An amount in cents as a decimal number with two decimals."""
    # Written as text: construction is exact, whatever the precision of the current decimal context.
    return Decimal(f"{in_cents // 100}.{in_cents % 100:02d}")


@dataclass(frozen=True, slots=True)
class _Charge:
    """How a line is billed: its quota, what is above it, the steps whose sum times `share` is the amount."""

    included: int | None
    billable: int | None
    unit_price: Decimal | None
    steps: tuple[Step, ...]
    share: Fraction = Fraction(1)


def _line(
    name: LineName, quantity: Fraction | int | None, charge: _Charge | None, window: Window, usage: YearUsage
) -> Line:
    """A measured line; `charge` is None when the tariff does not bill it."""
    expected = (window.last_day - window.first_day).days + 1
    sampled = usage.days_sampled.get(METRICS[name], 0)
    notes = _notes(name, quantity, charge is not None, expected - sampled, window, usage)
    if charge is None:
        amount = money(0)
        return Line(name, quantity, None, None, None, amount, (), False, False, sampled, expected, notes)
    total = sum((step.count * Fraction(step.price) for step in charge.steps), Fraction(0))
    return Line(
        name=name,
        quantity=quantity,
        included=charge.included,
        billable=charge.billable,
        unit_price=charge.unit_price,
        amount=money(cents(total * charge.share)),
        steps=charge.steps,
        prorated=charge.share != 1,
        days_sampled=sampled,
        days_expected=expected,
        notes=notes,
    )


def _steps(count: int | None, price: Decimal) -> tuple[Step, ...]:
    return (Step(count, price),) if count else ()


def _above(quantity: int | None, included: int) -> int | None:
    return None if quantity is None else max(0, quantity - included)


def _base(version: Version, months: int) -> Line:
    price = version.base.price
    amount = money(cents(Fraction(price) * months / 12))
    return Line("base", months, None, months, price, amount, prorated=months < 12)


def _active_users(section: ActiveUsers | None, share: Fraction, window: Window, usage: YearUsage) -> Line:
    quantity = measured_users(section.measure if section else "mean_monthly", window, usage)
    if section is None:
        return _line("active_users", quantity, None, window, usage)
    billable = _above(quantity, section.included)
    steps = graduated(billable or 0, section.tiers)
    charge = _Charge(section.included, billable, None, steps, share)
    return _line("active_users", quantity, charge, window, usage)


def _sms(section: Sms | None, window: Window, usage: YearUsage) -> Line:
    if section is None:
        return _line("sms", usage.sms, None, window, usage)
    charge = _Charge(None, usage.sms, section.price, _steps(usage.sms, section.price))
    return _line("sms", usage.sms, charge, window, usage)


def _emails(section: Emails | None, share: Fraction, window: Window, usage: YearUsage) -> Line:
    if section is None:
        return _line("emails", usage.emails, None, window, usage)
    included = round_half_up(section.included * share)
    billable = _above(usage.emails, included)
    blocks = ceil(Fraction(billable or 0, section.per))
    charge = _Charge(included, billable, section.price, _steps(blocks, section.price))
    return _line("emails", usage.emails, charge, window, usage)


def _documents(section: Documents | None, share: Fraction, window: Window, usage: YearUsage) -> Line:
    quantity = measured_bytes(section.measure if section else "mean_daily", usage)
    if section is None:
        return _line("documents", quantity, None, window, usage)
    billable = None
    if quantity is not None:
        billable = max(0, ceil(Fraction(quantity, GIGABYTE) - section.included_gb))
    steps = _steps(billable, section.price)
    charge = _Charge(section.included_gb, billable, section.price, steps, share)
    return _line("documents", quantity, charge, window, usage)


def _collabora_users(section: CollaboraUsers | None, share: Fraction, window: Window, usage: YearUsage) -> Line:
    quantity = usage.collabora_users
    if section is None:
        return _line("collabora_users", quantity, None, window, usage)
    billable = _above(quantity, section.included)
    steps = _steps(billable, section.price)
    charge = _Charge(section.included, billable, section.price, steps, share)
    return _line("collabora_users", quantity, charge, window, usage)


def measured_users(measure: UserMeasure, window: Window, usage: YearUsage) -> int | None:
    """Active users by the tariff's measure over the billed months with a sample; None when none has one."""
    if measure == "distinct_year":
        return usage.distinct_users
    months = billed_months(window, usage)
    counts = [month.active_users for month in months if month.active_users is not None]
    if not counts:
        return None
    return max(counts) if measure == "peak_monthly" else round_half_up(Fraction(sum(counts), len(counts)))


def measured_bytes(measure: DocumentMeasure, usage: YearUsage) -> Fraction | int | None:
    """Bytes of documents by the tariff's measure over the days that have a sample; None when none has one."""
    if measure == "peak_daily":
        return usage.document_bytes_peak
    if measure == "last":
        return usage.document_bytes_last
    if usage.document_bytes_total is None or not usage.document_days:
        return None
    return Fraction(usage.document_bytes_total, usage.document_days)


def billed_months(window: Window, usage: YearUsage) -> tuple[MonthUsage, ...]:
    """The usage of the billed months, in order."""
    return tuple(month for month in usage.months if month.month in window.months)


# How a month's usage is read for a line: None is a month without any sample.
_MONTHLY: Final[dict[LineName, Callable[[MonthUsage], Fraction | int | None]]] = {
    "active_users": lambda month: month.active_users,
    "sms": lambda month: month.sms,
    "emails": lambda month: month.emails,
    "documents": lambda month: month.mean_document_bytes,
}


def _notes(
    name: LineName,
    quantity: Fraction | int | None,
    billed: bool,
    missing_days: int,
    window: Window,
    usage: YearUsage,
) -> tuple[Note, ...]:
    notes = [] if billed else [Note("not_billed")]
    if quantity is None:
        return (*notes, Note("no_sample"))
    # A value that is recorded once a year has neither monthly nor daily gaps.
    if name == "collabora_users":
        return tuple(notes)
    read = _MONTHLY[name]
    empty = tuple(month.month for month in billed_months(window, usage) if read(month) is None)
    if empty:
        notes.append(Note("months_without_sample", months=empty))
    if missing_days > 0:
        notes.append(Note("days_without_sample", days=missing_days))
    return tuple(notes)
