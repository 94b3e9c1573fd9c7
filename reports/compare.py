"""The verb `compare`: what moved between two years, for each customer and line, and why; to the cent.

A difference is taken apart by changing one thing after the other, and billing each time by the same formulas: first
what was used (quantity), then the prices, quotas, measures and particular conditions (price), then the months that are
billed (proration). Each step is rounded as a line is, so the effects add up to the difference exactly. What cannot be
taken apart so is the contract's: a customer who came or left, lines that are billed once, years of several periods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from provision.errors import RequestError
from provision.fleet import Fleet
from reports.annual import annual_statements
from reports.billing import customer_of
from reports.estimate import estimated_usage
from reports.formulas import statement_lines
from reports.lines import LineName
from reports.statement import Customer, Part, Statement

_NOTHING = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Change:
    """One line in both years, before VAT, and why it moved: the four effects add up to `difference`."""

    line: LineName
    before: Decimal
    after: Decimal
    quantity: Decimal = _NOTHING
    price: Decimal = _NOTHING
    proration: Decimal = _NOTHING

    @property
    def difference(self) -> Decimal:
        return self.after - self.before

    @property
    def contract(self) -> Decimal:
        """What none of the other effects explains."""
        return self.difference - self.quantity - self.price - self.proration


@dataclass(frozen=True, slots=True)
class Comparison:
    """One customer in two years; a year without a contract has no statement. No changes when the currency changed."""

    customer: Customer
    before: Statement | None
    after: Statement | None
    changes: tuple[Change, ...]

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies of the two years: one, or the two that cannot be subtracted."""
        return tuple(dict.fromkeys(s.currency for s in (self.before, self.after) if s))

    @property
    def difference(self) -> Decimal | None:
        """How much more is due, before VAT; None when the currency changed."""
        if len(self.currencies) > 1:
            return None
        return sum((change.difference for change in self.changes), _NOTHING)


def compare(fleet: Fleet, before: int, after: int, slugs: Sequence[str] = ()) -> tuple[Comparison, ...]:
    """What moved from the year `before` to `after`, for `slugs` or for everyone, sorted by slug.

    A year that is closed is as it was closed. InvalidFiles with every problem in tariffs, contracts and the ledger's
    files; RequestError when a year has no contract, the years are the same, or there is no such instance.
    """
    if before == after:
        raise RequestError(f"YEAR: {before} is given twice", "name two different years")
    customers = {slug: customer_of(fleet.instance(slug)) for slug in sorted(slugs or fleet.instances)}
    earlier, later = (
        {statement.customer.instance: statement for statement in annual_statements(fleet, year)}
        for year in (before, after)
    )
    return tuple(
        _comparison(customer, earlier.get(slug), later.get(slug))
        for slug, customer in customers.items()
        if slug in earlier or slug in later
    )


def _comparison(customer: Customer, before: Statement | None, after: Statement | None) -> Comparison:
    if before and after and before.currency != after.currency:
        return Comparison(customer, before, after, ())
    return Comparison(customer, before, after, tuple(changes(before, after)))


def changes(before: Statement | None, after: Statement | None) -> Iterator[Change]:
    """Each line of either year, in the order of the papers, with its effects; both years in one currency."""
    names = dict.fromkeys(line.name for statement in (before, after) if statement for line in statement.lines)
    effects: Mapping[LineName, tuple[Decimal, Decimal, Decimal]] = {}
    if before and after and len(before.parts) == len(after.parts) == 1:
        effects = _effects(_used(before), _used(after))
    for name in names:
        was, is_now = (statement.amount_of(name) if statement else _NOTHING for statement in (before, after))
        yield Change(name, was, is_now, *effects.get(name, ()))


def _effects(before: Part, after: Part) -> dict[LineName, tuple[Decimal, Decimal, Decimal]]:
    """The effects of quantity, price and proration on each measured line, by changing one after the other."""
    at_first = _amounts(before, before, before.months)
    other_use = _amounts(after, before, before.months)
    other_price = _amounts(after, after, before.months)
    other_months = _amounts(after, after, after.months)
    return {
        name: (
            other_use[name] - at_first[name],
            other_price[name] - other_use[name],
            other_months[name] - other_price[name],
        )
        for name in at_first
    }


def _used(statement: Statement) -> Part:
    """The only part of a statement, with its missing days estimated if the statement did so."""
    (part,) = statement.parts
    return replace(part, usage=estimated_usage(part.usage, part.window)[0]) if statement.estimated else part


def _amounts(used: Part, priced: Part, months: int) -> dict[LineName, Decimal]:
    """The lines of one year's use by another's prices, prorated by `months` twelfths."""
    lines = statement_lines(priced.version, used.window, used.usage, months)
    return {line.name: line.amount for line in lines}


def to_plain(comparison: Comparison, before: int, after: int) -> dict[str, Any]:
    """For JSON: amounts before VAT, as decimal text; a year without a contract is null."""

    def total(statement: Statement | None) -> str | None:
        return str(statement.total) if statement else None

    difference = comparison.difference
    return {
        "instance": comparison.customer.instance,
        "client": comparison.customer.client,
        "years": [before, after],
        "currencies": list(comparison.currencies),
        "totals": [total(comparison.before), total(comparison.after)],
        "difference": None if difference is None else str(difference),
        "lines": [
            {
                "line": change.line,
                "amounts": [str(change.before), str(change.after)],
                "difference": str(change.difference),
                "quantity": str(change.quantity),
                "price": str(change.price),
                "proration": str(change.proration),
                "contract": str(change.contract),
            }
            for change in comparison.changes
        ],
    }
