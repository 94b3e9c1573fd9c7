"""Usage × tariff × contract → a statement: its lines, their total, VAT. Pure.

The total before VAT is the sum of the rounded lines; VAT is rounded once (docs/reports.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from metering.ledger.usage import MonthUsage, Window, YearUsage
from provision.fleet import Contract
from reports.lines import Line, billed_months, cents, money, statement_lines
from reports.tariff import Tariff, Version


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a statement is for: the slug, the client's name, the production domain, the contract."""

    instance: str
    client: str
    domain: str
    contract: Contract


@dataclass(frozen=True, slots=True)
class Statement:
    """What one customer owes for a year, and why. `months`: billed months; `tariff`: the price list's name."""

    customer: Customer
    year: int
    window: Window
    months: int
    tariff: str
    version: Version
    currency: str
    vat_percent: Decimal
    lines: tuple[Line, ...]
    total: Decimal
    vat: Decimal
    total_with_vat: Decimal
    usage: YearUsage

    @property
    def incomplete(self) -> tuple[Line, ...]:
        """The billed lines that lack samples for a whole month or more."""
        return tuple(line for line in self.lines if line.incomplete)

    @property
    def billed_months(self) -> tuple[MonthUsage, ...]:
        """The usage of the billed months, in order."""
        return billed_months(self.window, self.usage)


def billing_window(contract: Contract, year: int) -> Window | None:
    """The days and months of `year` that `contract` covers; None when it does not touch the year."""
    first, last = date(year, 1, 1), date(year, 12, 31)
    begin = max(first, contract.starts)
    end = min(last, contract.ends or last)
    if begin > end:
        return None
    return Window(first_day=begin, last_day=end, first_month=begin.month, last_month=end.month)


def make_statement(customer: Customer, tariff: Tariff, version: Version, window: Window, usage: YearUsage) -> Statement:
    """The statement of one customer for the year of `usage`, by the `version` of `tariff` in force."""
    lines = statement_lines(version, window, usage)
    total = sum(cents(Fraction(line.amount)) for line in lines)
    vat = cents(Fraction(total, 100) * Fraction(tariff.vat_percent) / 100)
    return Statement(
        customer=customer,
        year=usage.year,
        window=window,
        months=len(window.months),
        tariff=customer.contract.tariff,
        version=version,
        currency=tariff.currency,
        vat_percent=tariff.vat_percent,
        lines=lines,
        total=money(total),
        vat=money(vat),
        total_with_vat=money(total + vat),
        usage=usage,
    )
