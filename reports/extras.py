"""What a contract bills once: one-off lines and credits, and what was invoiced at the opening. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction

from provision.contract import Contract, Extra
from reports.lines import Line, LineName, Origin, cents, money


def single_lines(contract: Contract, year: int, until: date = date.max) -> Iterator[Line]:
    """What `contract` bills once in `year`: extras by day, those after `until` left out; the advance of the opening."""
    yield from extra_lines(contract, year, until)
    paid = contract.opening_invoiced
    if paid and year == contract.opens.year:
        yield _single("advance", -Fraction(paid.amount), day=paid.day)


def extra_lines(contract: Contract, year: int, until: date = date.max) -> Iterator[Line]:
    """The one-off lines and credits of `year` with a day not after `until`, by day; of one day, as in the contract."""
    for extra in sorted(contract.extras, key=lambda extra: extra.day):
        if extra.day.year == year and extra.day <= until:
            yield _extra_line(extra)


def correction_line(origin: Origin, amount: Decimal, label: str = "") -> Line:
    """A correction of a line of an earlier year's closed statement; `amount`, below zero or above, in cents at most."""
    return _single("correction", Fraction(amount), label=label, origin=origin)


def _extra_line(extra: Extra) -> Line:
    quantity = None if extra.quantity is None else Fraction(extra.quantity)
    by_unit = Fraction(extra.quantity or 0) * Fraction(extra.unit_price or 0)
    amount = by_unit if extra.amount is None else Fraction(extra.amount)
    name: LineName = "credit" if extra.kind == "credit" else "extra"
    return _single(
        name,
        -amount if name == "credit" else amount,
        quantity=quantity,
        unit_price=extra.unit_price,
        unit=extra.unit or "",
        label=extra.label,
        day=extra.day,
    )


def _single(
    name: LineName,
    amount: Fraction,
    *,
    quantity: Fraction | None = None,
    unit_price: Decimal | None = None,
    unit: str = "",
    label: str = "",
    day: date | None = None,
    origin: Origin | None = None,
) -> Line:
    return Line(
        name=name,
        quantity=quantity,
        included=None,
        billable=None,
        unit_price=unit_price,
        amount=money(cents(amount)),
        unit=unit,
        label=label,
        day=day,
        origin=origin,
    )
