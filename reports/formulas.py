"""The formulas: measured quantity × section of the tariff → quota, billable quantity, amount. Pure.

They are those of docs/reports.md, in whole numbers and fractions until the cent; each amount is rounded half up to the
cent, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final

from metering.ledger.usage import MonthUsage, Window, YearUsage
from reports.lines import (
    GIGABYTE,
    METRICS,
    UNITS,
    Line,
    LineName,
    Note,
    Step,
    billed_months,
    cents,
    money,
    round_half_up,
)
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


def statement_lines(version: Version, window: Window, usage: YearUsage, months: int | None = None) -> tuple[Line, ...]:
    """All measured lines of one customer's year, or of a part of it, in the order of the papers.

    `months` is by how many twelfths of a year is prorated: the billed months of `window`, if nothing else is asked.
    """
    months = len(window.months) if months is None else months
    share = Fraction(months, 12)
    return (
        _base(version, months),
        _active_users(version.active_users, share, window, usage),
        _sms(version.sms, window, usage),
        _emails(version.emails, share, window, usage),
        _documents(version.documents, share, window, usage),
        _collabora_users(version.collabora_users, share, window, usage),
    )


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
        return Line(
            name=name,
            quantity=quantity,
            included=None,
            billable=None,
            unit_price=None,
            amount=money(0),
            billed=False,
            days_sampled=sampled,
            days_expected=expected,
            notes=notes,
            unit=UNITS[name],
        )
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
        unit=UNITS[name],
    )


def _steps(count: int | None, price: Decimal) -> tuple[Step, ...]:
    return (Step(count, price),) if count else ()


def _above(quantity: int | None, included: int) -> int | None:
    return None if quantity is None else max(0, quantity - included)


def _base(version: Version, months: int) -> Line:
    price = version.base.price
    amount = money(cents(Fraction(price) * months / 12))
    return Line("base", months, None, months, price, amount, prorated=months < 12, unit=UNITS["base"])


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
