"""How a line of a statement was worked out, in figures: from the measure over the months to the amount. Pure.

One step to a line of text, in English, with the exact numbers: for who checks an invoice, not for the customer's paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from metering.ledger.usage import MonthUsage
from reports.lines import GIGABYTE, Line, LineName, billed_months
from reports.statement import Part, Statement

_GAP = "-"


def month_figure(name: LineName, month: MonthUsage) -> Fraction | int | None:
    """What a measured line takes from a month: people, messages, recipients, mean bytes; None is a gap."""
    figures: dict[str, Fraction | int | None] = {
        "active_users": month.active_users,
        "sms": month.sms,
        "emails": month.emails,
        "documents": month.mean_document_bytes,
    }
    return figures.get(name)


def workings(statement: Statement, line: Line) -> Iterator[str]:
    """The steps from what was measured to the amount of `line`, which is one of the statement's lines."""
    if line.measured and line.part < len(statement.parts):
        yield from _measured(statement.parts[line.part], line)
    else:
        yield from _single(line)
    yield f"amount: {line.amount} {statement.currency}"


def _measured(part: Part, line: Line) -> Iterator[str]:
    first, last = part.window.first_day, part.window.last_day
    yield f"period: {first} to {last}, {part.months} billed months, tariff {part.tariff}"
    yield from _quantity(part, line)
    if not line.billed:
        yield "not billed: the tariff has no such section"
        return
    if line.included is not None:
        yield f"above {line.included} included: {_GAP if line.billable is None else line.billable} billable"
    share = f" × {part.months}/12" if line.prorated else ""
    if line.name == "base":
        yield f"price: {line.unit_price}{share}"
    elif line.name == "emails" and part.version.emails:
        blocks = " + ".join(f"{step.count} × {step.price}" for step in line.steps) or "0"
        yield f"price: started blocks of {part.version.emails.per}: {blocks}{share}"
    else:
        yield f"price: {' + '.join(f'{step.count} × {step.price}' for step in line.steps) or '0'}{share}"


def _quantity(part: Part, line: Line) -> Iterator[str]:
    """How the quantity came about, by the measure of the tariff."""
    if line.name == "base":
        yield f"quantity: {line.quantity} months"
        return
    figures = [month_figure(line.name, month) for month in billed_months(part.window, part.usage)]
    told = [number_text(figure) for figure in figures]
    result = f"{number_text(line.quantity)} {line.unit}"
    version, usage = part.version, part.usage
    if line.name == "active_users":
        measure = version.active_users.measure if version.active_users else "mean_monthly"
        sampled = [figure for figure in figures if figure is not None]
        ways = {
            "mean_monthly": f"({' + '.join(map(str, sampled))}) / {len(sampled)}, rounded half up",
            "peak_monthly": f"the highest of {', '.join(told)}",
            "distinct_year": "distinct people of all billed months together",
        }
        yield f"quantity: {measure}: {ways[measure]} = {result}"
    elif line.name == "documents":
        held = version.documents.measure if version.documents else "mean_daily"
        how = {
            "mean_daily": f"{usage.document_bytes_total} / {usage.document_days} days",
            "peak_daily": "the highest day",
            "last": "the last day",
        }
        yield f"quantity: {held}: {how[held]} = {result}"
        if line.quantity is not None:
            yield f"started GB: {number_text(Fraction(line.quantity, GIGABYTE))} GB, rounded up"
    elif line.name == "collabora_users":
        yield f"quantity: the last value recorded in the year = {result}"
    else:
        days = sum(note.days for note in line.notes if note.kind == "estimated")
        more = f" + {days} days without a sample at the mean of the others" if line.estimated else ""
        yield f"quantity: {' + '.join(told)}{more} = {result}"


def _single(line: Line) -> Iterator[str]:
    if line.label:
        yield f"because: {line.label}"
    if line.quantity is not None and line.unit_price is not None:
        taken_off = ", taken off" if line.amount < 0 else ""
        yield f"price: {number_text(line.quantity)} × {line.unit_price}{taken_off}"
    if line.origin:
        yield f"corrects: {line.origin.line} of {line.origin.year}"


def number_text(value: Fraction | int | None) -> str:
    """A number in full: exact where it has an end, else with six decimals."""
    if value is None:
        return _GAP
    exact = Fraction(value)
    if exact.denominator == 1:
        return str(exact.numerator)
    return f"{float(exact):.6f}".rstrip("0").rstrip(".")
