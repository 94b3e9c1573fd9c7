"""Usage × tariff × contract → a statement: its lines, their total, VAT. Pure.

The total before VAT is the sum of the rounded lines; VAT is rounded once (docs/reports.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from metering.ledger.usage import MonthUsage, Window, YearUsage
from provision.contract import Contract, Period, Vat
from reports.estimate import estimated_usage, mark_estimated
from reports.formulas import statement_lines
from reports.lines import Line, Note, cents, money
from reports.tariff import Tariff, Version

# `annual`: a whole year, afterwards; `opening`: the base from the installation to December of its year, beforehand.
Paper = Literal["annual", "opening"]


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a statement is for: the slug, the client's name, the production domain, the contract."""

    instance: str
    client: str
    domain: str
    contract: Contract


@dataclass(frozen=True, slots=True)
class Part:
    """The days of a year that one period of the contract covers, by which prices, and what was used in them.

    `version` is that of the price list named `tariff` which holds, with the contract's particular conditions in it;
    `conditions` are their reasons, by section. `usage` is over the billed months of `window`.
    """

    window: Window
    tariff: str
    version: Version
    usage: YearUsage
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def months(self) -> int:
        """How many months are billed."""
        return len(self.window.months)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one customer owes for a year, and why. `months`: billed months; `tariff`: the price list's name.

    Nearly every year is of one part. Where the contract has several periods in it, `parts` has one for each, in order
    of time, and `lines` has the measured lines of each (`Line.part`); `window` then goes from the first to the last of
    them, and `tariff`, `version` and `usage` (but for its months, which are always those of the whole year) are those
    of the last. Lines that are billed once follow the measured ones.

    `vat_percent` is the rate that is charged, 0 without VAT; `vat_terms` says why.
    """

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
    parts: tuple[Part, ...] = ()
    vat_terms: Vat = field(default_factory=Vat)
    paper: Paper = "annual"

    @property
    def incomplete(self) -> tuple[Line, ...]:
        """The billed lines that lack samples for a whole month or more."""
        return tuple(line for line in self.lines if line.incomplete)

    @property
    def estimated(self) -> bool:
        """Whether a line counts days that were estimated: to be said on every paper."""
        return any(line.estimated for line in self.lines)

    @property
    def billed_months(self) -> tuple[MonthUsage, ...]:
        """The usage of the billed months of all parts, in order."""
        # Every part's usage has all twelve months, and they are the same.
        billed = {month for part in self.parts for month in part.window.months}
        return tuple(month for month in self.usage.months if month.month in billed)

    @property
    def coverage(self) -> Fraction | None:
        """The share of the expected days with a sample, out of 100, of the least complete billed daily measure."""
        shares = [
            Fraction(100 * (line.days_sampled or 0), line.days_expected)
            for line in self.lines
            if line.billed and line.days_expected and line.name != "collabora_users"
        ]
        return min(shares, default=None)

    def amount_of(self, name: str) -> Decimal:
        """The sum of the lines called `name`, of all parts."""
        return money(sum(cents(Fraction(line.amount)) for line in self.lines if line.name == name))


def by_coverage(statements: Iterable[Statement], percent: int) -> tuple[Statement, ...]:
    """First those of which the samples cover less than `percent` of the days, least covered first; then all others.

    Within the same coverage, and among the others, sorted by slug.
    """

    def order(statement: Statement) -> tuple[bool, Fraction, str]:
        short = below(statement, percent)
        return not short, (statement.coverage or Fraction(0)) if short else Fraction(0), statement.customer.instance

    return tuple(sorted(statements, key=order))


def below(statement: Statement, percent: int) -> bool:
    """Whether the samples of a statement cover less than `percent` of the days; never when none is expected."""
    return statement.coverage is not None and statement.coverage < percent


def billing_window(period: Period, year: int) -> Window | None:
    """The days and months of `year` that a period (or a contract of one period) covers; None when it covers none."""
    first, last = date(year, 1, 1), date(year, 12, 31)
    begin = max(first, period.starts)
    end = min(last, period.ends or last)
    if begin > end:
        return None
    return Window(first_day=begin, last_day=end, first_month=begin.month, last_month=end.month)


def statement_of(
    customer: Customer,
    tariff: Tariff,
    parts: Sequence[Part],
    singles: Iterable[Line] = (),
    *,
    estimate: bool = False,
) -> Statement:
    """The statement of a year, of one or more `parts` in order of time, all of them in the currency of `tariff`.

    `singles` are the lines that are billed once, as `extras.single_lines` makes them. `estimate`: days without a sample
    count as the mean of the others, where that can be said (reports/estimate.py).
    """
    first, last = parts[0], parts[-1]
    terms = customer.contract.vat
    lines = [line for number, part in enumerate(parts) for line in _part_lines(part, number, len(parts) > 1, estimate)]
    empty = Statement(
        customer=customer,
        year=last.usage.year,
        window=replace(last.window, first_day=first.window.first_day, first_month=first.window.first_month),
        months=sum(part.months for part in parts),
        tariff=last.tariff,
        version=last.version,
        currency=tariff.currency,
        vat_percent=vat_percent(terms, tariff),
        lines=(),
        total=money(0),
        vat=money(0),
        total_with_vat=money(0),
        usage=last.usage,
        parts=tuple(parts),
        vat_terms=terms,
    )
    return with_lines(empty, [*lines, *singles])


def with_lines(statement: Statement, more: Iterable[Line]) -> Statement:
    """The statement with more lines after its own, such as corrections; totals and VAT are worked out anew."""
    lines = (*statement.lines, *more)
    total = sum(cents(Fraction(line.amount)) for line in lines)
    vat = cents(Fraction(total, 100) * Fraction(statement.vat_percent) / 100)
    return replace(statement, lines=lines, total=money(total), vat=money(vat), total_with_vat=money(total + vat))


def vat_percent(terms: Vat, tariff: Tariff) -> Decimal:
    """The rate that is charged: the tariff's, the contract's own, or 0."""
    if terms.treatment == "percent" and terms.percent is not None:
        return terms.percent
    return tariff.vat_percent if terms.treatment == "standard" else Decimal(0)


def _part_lines(part: Part, number: int, several: bool, estimate: bool) -> Iterable[Line]:
    """The measured lines of a part, with what is to be said of the part itself."""
    usage, days = estimated_usage(part.usage, part.window) if estimate else (part.usage, {})
    period = Note("period", first=part.window.first_day, last=part.window.last_day, text=part.tariff)
    for line in mark_estimated(statement_lines(part.version, part.window, usage), days):
        said = [Note("condition", text=reason) for section, reason in part.conditions if section == line.name]
        notes = (*((period,) if several else ()), *said, *line.notes)
        yield replace(line, part=number, notes=notes)
