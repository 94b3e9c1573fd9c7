"""The verb `preview`: the running year so far, and what it will come to if it goes on as it did.

So far: as if the contract ended on the last complete day. Projected: the whole year; what adds up day by day (SMS,
e-mails) is carried on at the mean of the days that have a sample, levels (active users, documents, Collabora users)
stay at what their measure gives today.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from metering.ledger.usage import Window, YearUsage
from provision.fleet import Fleet
from reports.billing import (
    YearTerms,
    charge,
    checked_terms,
    customer_of,
    measure,
    require_contracts,
    year_ledger,
)
from reports.lines import Line
from reports.statement import Statement
from reports.table import decimal_text, percent_text

METHOD = (
    "So far: as if the contract ended on {until}. Projected, for the whole year: SMS and e-mails go on at the mean of "
    "the days sampled; active users, documents and Collabora users stay at what their measure gives today."
)


@dataclass(frozen=True, slots=True)
class Preview:
    """One customer's running year: `until` is the last complete day; `so_far` is None when nothing is billed yet."""

    until: date
    so_far: Statement | None
    projected: Statement

    @property
    def method(self) -> str:
        """How the figures come about, in English."""
        return METHOD.format(until=self.until)

    @property
    def lines(self) -> Iterator[tuple[Line | None, Line]]:
        """Each projected line, after what it is so far; None for a line that has not come up yet."""
        known = dict(_by_place(self.so_far.lines if self.so_far else ()))
        for place, line in _by_place(self.projected.lines):
            yield known.get(place), line


def previews(fleet: Fleet, slugs: Iterable[str], today: date) -> tuple[Preview, ...]:
    """The previews of yesterday's year, of those of `slugs` whose contract touches it; `today` in the fleet's zone.

    InvalidFiles with every problem in tariffs, contracts and the year's files of the ledger; RequestError when no
    contract touches the year, or there is no such instance.
    """
    until = today - timedelta(days=1)
    customers = {slug: customer_of(fleet.instance(slug)) for slug in sorted(slugs)}
    require_contracts(fleet, customers.values(), until.year)
    ledger = year_ledger(fleet, until.year)
    terms = checked_terms(customers, fleet.tariffs, until.year, ledger.problems(set(fleet.instances)))
    windows = {slug: [_cut(part.window, until) for part in one.parts] for slug, one in terms.items()}
    usages = measure(ledger, until.year, windows)
    return tuple(_preview(one, usages[slug], until) for slug, one in terms.items())


def _preview(terms: YearTerms, usages: Sequence[YearUsage], until: date) -> Preview:
    begun = [
        (replace(part, window=_cut(part.window, until)), usage)
        for part, usage in zip(terms.parts, usages, strict=True)
        if part.window.first_day <= until
    ]
    so_far = None
    if begun:
        cut = replace(terms, parts=tuple(part for part, _ in begun))
        so_far = charge(cut, [usage for _, usage in begun], until=until)
    return Preview(until, so_far, charge(terms, usages, estimate=True))


def _cut(window: Window, until: date) -> Window:
    """The part of a window that is over; one that has not begun stays as it is: there is nothing to count in it."""
    if not window.first_day <= until < window.last_day:
        return window
    return replace(window, last_day=until, last_month=until.month)


def _by_place(lines: Iterable[Line]) -> Iterator[tuple[tuple[object, ...], Line]]:
    """Lines by what tells them apart: name, part of the year, and which of these it is."""
    seen: Counter[tuple[object, ...]] = Counter()
    for line in lines:
        kind = (line.name, line.part)
        yield (*kind, seen[kind]), line
        seen[kind] += 1


def to_plain(preview: Preview) -> dict[str, Any]:
    """For JSON: amounts as decimal text, null where there is nothing."""
    so_far, projected = preview.so_far, preview.projected
    return {
        "instance": projected.customer.instance,
        "client": projected.customer.client,
        "year": projected.year,
        "until": preview.until.isoformat(),
        "method": preview.method,
        "currency": projected.currency,
        "coverage_percent": percent_text(so_far.coverage) if so_far else None,
        "lines": [_plain_line(before, line) for before, line in preview.lines],
        "total": {"so_far": str(so_far.total) if so_far else None, "projected": str(projected.total)},
        "total_with_vat": {
            "so_far": str(so_far.total_with_vat) if so_far else None,
            "projected": str(projected.total_with_vat),
        },
    }


def _plain_line(before: Line | None, line: Line) -> dict[str, Any]:
    return {
        "line": line.name,
        "label": line.label or None,
        "part": line.part,
        "unit": line.unit or None,
        "billed": line.billed,
        "quantity": {"so_far": plain_quantity(before), "projected": plain_quantity(line)},
        "amount": {"so_far": str(before.amount) if before else None, "projected": str(line.amount)},
        "days_sampled": before.days_sampled if before else None,
        "days_expected": before.days_expected if before else None,
        "extrapolated": line.estimated,
    }


def plain_quantity(line: Line | None) -> str | None:
    """A quantity as decimal text: a whole number, or one of a contract with its decimals; None where there is none."""
    if line is None or line.quantity is None:
        return None
    digits = 0 if line.measured else next(n for n in range(7) if (line.quantity * 10**n).denominator == 1)
    return f"{decimal_text(line.quantity, digits):f}"
