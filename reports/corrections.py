"""Late facts of closed years → correction lines of the next statement.

A closed statement never changes. What it would say today (by the ledger's rows and the contracts of now, and the
prices that were closed), less what it said, less what later closed statements corrected already, is due in the first
year after it that is not closed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from metering.ledger.frozen import year_names
from metering.ledger.store import open_ledger
from metering.ledger.usage import MONTHS, MonthUsage, Window, YearUsage
from provision.contract import covered
from provision.errors import InvalidFiles, Problem
from provision.fleet import Fleet
from reports.billing import bill
from reports.closed import TARIFFS, ClosedYear, closed_years, forgotten
from reports.extras import correction_line
from reports.lines import LineName, Origin, cents, money
from reports.statement import Customer, Statement, with_lines

Amounts = Mapping[tuple[str, LineName], Fraction]


@dataclass(frozen=True, slots=True)
class Correction:
    """What the lines of one name of a closed statement are still to be corrected by; before VAT, in `currency`.

    `closed`: what was closed; `corrected`: what later closed years added; `recomputed`: what it would be today.
    """

    instance: str
    year: int
    line: LineName
    currency: str
    closed: Decimal
    corrected: Decimal
    recomputed: Decimal

    @property
    def amount(self) -> Decimal:
        """What is due: above zero, the customer owes it; below, it is owed to the customer."""
        return money(cents(Fraction(self.recomputed) - Fraction(self.closed) - Fraction(self.corrected)))

    @property
    def label(self) -> str:
        """From what to what, in figures."""
        before = money(cents(Fraction(self.closed) + Fraction(self.corrected)))
        return f"{before} → {self.recomputed} {self.currency}"


def corrected(
    fleet: Fleet, customers: Mapping[str, Customer], year: int, statements: Iterable[Statement]
) -> tuple[Statement, ...]:
    """The `statements` of `year`, by slug, with the corrections that are due in it. A customer without a statement of
    that year gets one of corrections alone.

    A correction in another currency than the statement's stays due: amounts of two currencies are never added.
    """
    found = {statement.customer.instance: statement for statement in statements}
    for due in corrections_due(fleet, customers, year):
        slug = due.correction.instance
        statement = found.get(slug) or _without_lines(due.of, customers.get(slug), year)
        if statement.currency == due.correction.currency:
            origin = Origin(due.correction.year, due.correction.line)
            line = correction_line(origin, due.correction.amount, due.correction.label)
            found[slug] = with_lines(statement, [line])
    return tuple(found[slug] for slug in sorted(found))


@dataclass(frozen=True, slots=True)
class Due:
    """A correction, and the statement it is `of`: the closed one; where there is none, what it should have been."""

    correction: Correction
    of: Statement


def corrections_due(fleet: Fleet, customers: Mapping[str, Customer], year: int) -> tuple[Due, ...]:
    """The corrections that are due in the statements of `year`: of each closed year of which it is the first after it
    that is not closed.

    InvalidFiles when the ledger of such a closed year, or a contract, has a problem.
    """
    years = closed_years(fleet)
    closed = {one.year for one in years}
    mine = [one for one in years if one.year < year and closed.issuperset(range(one.year, year)) and year not in closed]
    return tuple(
        due for one in mine for due in _of_year(fleet, one, [o for o in years if o.year > one.year], customers)
    )


def pending(fleet: Fleet, customers: Mapping[str, Customer]) -> Mapping[int, tuple[Correction, ...]]:
    """Every correction that no closed statement has made yet, by the year in whose statements it is due."""
    closed = {one.year for one in closed_years(fleet)}
    following = sorted({year + 1 for year in closed} - closed)
    return {year: tuple(due.correction for due in corrections_due(fleet, customers, year)) for year in following}


def _of_year(
    fleet: Fleet, closed: ClosedYear, later: Sequence[ClosedYear], customers: Mapping[str, Customer]
) -> Iterator[Due]:
    statements = {one.customer.instance: one for one in closed.statements()}
    then = {slug: statement.customer for slug, statement in statements.items()}
    # Who left the fleet keeps the contract that was closed.
    now = {**then, **{slug: one for slug, one in customers.items() if slug in then or _covers(one, closed.year)}}
    made = _made(closed.year, later)
    names = year_names(fleet.ledger, closed.year)
    if forgotten(fleet, closed, names):
        # Without its rows nothing of the year can be computed any more: what was closed is final.
        return
    gone = sorted(set(closed.manifest.ledger.files) - names)
    if gone:
        hint = f"{closed.year} is closed and rests on it: chill-report audit {closed.year}"
        raise InvalidFiles([Problem(f"{fleet.ledger.name}/{closed.year}/{n}", "is missing") for n in gone], hint)
    if names - set(closed.manifest.ledger.files):
        wanted = set(now)
    else:
        changed = {slug for slug in now if slug not in then or now[slug].contract != then[slug].contract}
        wanted = changed | {slug for slug, _line in made}
    if not wanted:
        return
    anew = {one.customer.instance: one for one in _recomputed(fleet, closed, {s: now[s] for s in sorted(wanted)})}
    for slug in sorted(wanted):
        both = [one for one in (statements.get(slug), anew.get(slug)) if one]
        _require_one_currency(slug, closed.year, both)
        for correction in _corrections(slug, closed.year, statements.get(slug), anew.get(slug), made):
            yield Due(correction, both[0])


def _covers(customer: Customer, year: int) -> bool:
    return covered(customer.contract.history, year)


def _made(year: int, later: Iterable[ClosedYear]) -> Amounts:
    """What later closed statements corrected of `year`, by instance and line."""
    made: defaultdict[tuple[str, LineName], Fraction] = defaultdict(Fraction)
    for closed in later:
        for statement in closed.statements():
            for line in statement.lines:
                if line.origin and line.origin.year == year:
                    made[statement.customer.instance, line.origin.line] += Fraction(line.amount)
    return made


def _recomputed(fleet: Fleet, closed: ClosedYear, customers: Mapping[str, Customer]) -> tuple[Statement, ...]:
    """What the closed year's statements of `customers` would be today, by the prices that were closed."""
    ledger = open_ledger(fleet.ledger, years=[closed.year], engine=fleet.settings.engine)
    with tempfile.TemporaryDirectory(prefix="chill-report-") as directory:
        # A price list that is newer than the closed year may be in a contract all the same.
        for source in (fleet.tariffs, closed.directory / TARIFFS):
            shutil.copytree(source, Path(directory) / TARIFFS, dirs_exist_ok=True)
        try:
            return bill(customers, Path(directory) / TARIFFS, ledger, closed.year, ledger.problems())
        except InvalidFiles as error:
            hint = f"{closed.year} is closed, and what came since cannot be worked out until this is put right"
            raise InvalidFiles(error.problems, hint) from None


def _corrections(
    slug: str, year: int, was: Statement | None, now: Statement | None, made: Amounts
) -> Iterator[Correction]:
    lines = [line.name for one in (was, now) if one for line in one.lines if line.name != "correction"]
    currency = next(one.currency for one in (was, now) if one)
    for name in dict.fromkeys(lines):
        correction = Correction(
            instance=slug,
            year=year,
            line=name,
            currency=currency,
            closed=was.amount_of(name) if was else money(0),
            corrected=money(cents(made.get((slug, name), Fraction(0)))),
            recomputed=now.amount_of(name) if now else money(0),
        )
        if correction.amount:
            yield correction


def _require_one_currency(slug: str, year: int, both: Sequence[Statement]) -> None:
    currencies = [one.currency for one in both]
    if len(set(currencies)) > 1:
        place = f"inventory/instances/{slug}.yml: contract"
        message = f"{year} was closed in {currencies[0]}, and its tariff is in {currencies[1]} now"
        hint = "keep the old tariff for that time: contract.periods"
        raise InvalidFiles([Problem(place, message, hint)])


def _without_lines(of: Statement, customer: Customer | None, year: int) -> Statement:
    """A statement of `year` for a customer who has none: nothing was used, nothing is billed yet."""
    usage = YearUsage(
        instance=of.customer.instance,
        year=year,
        months=tuple(MonthUsage(month) for month in MONTHS),
        distinct_users=None,
        sms=None,
        emails=None,
        document_bytes_total=None,
        document_days=0,
        document_bytes_peak=None,
        document_bytes_last=None,
        collabora_users=None,
        days_sampled={},
    )
    day = date(year, 1, 1)
    window = Window(first_day=day, last_day=day, first_month=1, last_month=0)
    empty = replace(of, customer=customer or of.customer, year=year, window=window, months=0, usage=usage, parts=())
    return with_lines(replace(empty, lines=()), [])
