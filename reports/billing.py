"""Contracts × tariffs × ledger → statements: which prices hold for whom in a year, what was used, what is due.

The one place where statements of a year are made, for `annual` and for every command beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from metering.ledger.store import Ledger, open_ledger
from metering.ledger.usage import Window, YearUsage, year_usage
from provision.contract import Period, covered
from provision.errors import InvalidFiles, Problem, RequestError
from provision.fleet import Fleet, Instance
from provision.yaml_lines import key_lines
from reports.conditions import with_conditions
from reports.extras import single_lines
from reports.statement import Customer, Part, Statement, billing_window, statement_of
from reports.tariff import Tariff, Version, place, read_tariff


@dataclass(frozen=True, slots=True)
class PartTerms:
    """By which prices the days of `window` are billed: a `Part` of which nothing is counted yet."""

    window: Window
    tariff: str
    version: Version
    conditions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class YearTerms:
    """What is known of a customer's year before anything is counted. `tariff` gives the currency and the VAT rate."""

    customer: Customer
    year: int
    tariff: Tariff
    parts: tuple[PartTerms, ...]


def year_ledger(fleet: Fleet, year: int) -> Ledger:
    """The ledger's files of a year, read by the fleet's engine."""
    return open_ledger(fleet.ledger, years=[year], engine=fleet.settings.engine)


def require_contracts(fleet: Fleet, customers: Iterable[Customer], year: int) -> None:
    """A RequestError when no contract touches `year`."""
    if not any(covered(customer.contract.history, year) for customer in customers):
        raise RequestError(
            f"YEAR: no contract in {fleet.directory} covers a day of {year}", "chill-provision list shows them"
        )


def fleet_customers(fleet: Fleet) -> dict[str, Customer]:
    """Every instance of the fleet as a customer, by slug, sorted."""
    return {slug: customer_of(fleet.instances[slug]) for slug in sorted(fleet.instances)}


def customer_of(instance: Instance) -> Customer:
    """Whom the statements of an instance are for."""
    domain = instance.names.production.domain
    return Customer(instance.slug, instance.client, domain, instance.contract)


def bill(
    customers: Mapping[str, Customer],
    tariffs: Path,
    ledger: Ledger,
    year: int,
    found: Sequence[Problem] = (),
    *,
    estimate: bool = False,
) -> tuple[Statement, ...]:
    """The statements of `year` of those of `customers`, by slug, whose contract touches it, by the lists in `tariffs`.

    InvalidFiles with every problem in the tariffs and the contracts, beside those that were `found` before.
    """
    terms = checked_terms(customers, tariffs, year, found)
    usages = measure(ledger, year, {slug: [part.window for part in one.parts] for slug, one in terms.items()})
    return tuple(charge(one, usages[slug], estimate=estimate) for slug, one in terms.items())


def checked_terms(
    customers: Mapping[str, Customer], tariffs: Path, year: int, found: Sequence[Problem] = ()
) -> dict[str, YearTerms]:
    """The terms of every customer whose contract touches `year`. InvalidFiles with every problem, and those `found`."""
    terms, problems = year_terms(customers, tariffs, year)
    if problems or found:
        hint = f"correct these in {tariffs.parent} and run the command again; nothing was written"
        raise InvalidFiles([*problems, *found], hint)
    return terms


def measure(ledger: Ledger, year: int, windows: Mapping[str, Sequence[Window]]) -> dict[str, list[YearUsage]]:
    """What was used in each window of each instance: by one query for all first windows, one for all second ones …"""
    usages: dict[str, list[YearUsage]] = {slug: [] for slug in windows}
    for number in range(max(map(len, windows.values()), default=0)):
        of_turn = {slug: found[number] for slug, found in windows.items() if len(found) > number}
        for slug, usage in year_usage(ledger, year, of_turn).items():
            usages[slug].append(usage)
    return usages


def charge(
    terms: YearTerms, usages: Sequence[YearUsage], *, estimate: bool = False, until: date = date.max
) -> Statement:
    """The statement of a year, from the usage of each of its parts; with one-off lines and credits until a day."""
    parts = [
        Part(part.window, part.tariff, part.version, usage, part.conditions)
        for part, usage in zip(terms.parts, usages, strict=True)
    ]
    singles = single_lines(terms.customer.contract, terms.year, until)
    return statement_of(terms.customer, terms.tariff, parts, singles, estimate=estimate)


def year_terms(
    customers: Mapping[str, Customer], tariffs: Path, year: int
) -> tuple[dict[str, YearTerms], Sequence[Problem]]:
    """By which prices each customer's year is billed, for those whose contract touches it; and all that is wrong."""
    reader = _Reader(tariffs, year)
    found = {slug: terms for slug, customer in customers.items() if (terms := reader.terms(customer))}
    return found, reader.problems


@dataclass(slots=True)
class _Reader:
    """Reads each price list once, and collects what is wrong."""

    directory: Path
    year: int
    problems: list[Problem] = field(default_factory=list)
    _tariffs: dict[str, Tariff | None] = field(default_factory=dict)

    def terms(self, customer: Customer) -> YearTerms | None:
        """The terms of a customer; None when the contract does not touch the year, or something is wrong."""
        periods = [(window, period) for period, window in _windows(customer, self.year)]
        read = [(window, period, tariff) for window, period in periods if (tariff := self._tariff(period.tariff))]
        parts = [part for each in read if (part := self._part(customer, *each))]
        if not periods or len(parts) < len(periods):
            return None
        tariff = read[-1][2]
        differ = list(_differences(customer, [each[2] for each in read]))
        self.problems += [self._problem(customer, "periods", message, hint) for message, hint in differ]
        return None if differ else YearTerms(customer, self.year, tariff, tuple(parts))

    def _tariff(self, name: str) -> Tariff | None:
        if name not in self._tariffs:
            self._tariffs[name], found = read_tariff(self.directory / f"{name}.toml")
            self.problems += found
        return self._tariffs[name]

    def _part(self, customer: Customer, window: Window, period: Period, tariff: Tariff) -> PartTerms | None:
        version = tariff.in_force(self.year, period.starts)
        if version is None:
            first = tariff.versions[0].valid_from
            where = f"{place(self.directory / f'{period.tariff}.toml')}: version"
            message = f"no version is in force for {customer.instance} in {self.year}: the first is valid from {first}"
            self.problems.append(Problem(where, message, "add a version that was in force by then"))
            return None
        overrides = customer.contract.overrides
        changed, reasons, faults = with_conditions(version, overrides, self.year)
        found = [self._problem(customer, f"overrides.{number}.value", message) for number, message in faults]
        # Two parts of a year may have the same fault.
        self.problems += [problem for problem in found if problem not in self.problems]
        return None if faults else PartTerms(window, period.tariff, changed, reasons)

    def _problem(self, customer: Customer, key: str, message: str, hint: str = "") -> Problem:
        """A problem in a contract, with its file, its line where the file is still there, and its key."""
        slug = customer.instance
        file = f"inventory/instances/{slug}.yml"
        full = f"chill_{slug.replace('-', '_')}.vars.contract.{key}"
        try:
            line = key_lines((self.directory.parent / file).read_text(encoding="utf-8")).get(full)
        except (OSError, UnicodeDecodeError):
            line = None
        return Problem(f"{file}:{line}: {full}" if line else f"{file}: {full}", message, hint)


def _windows(customer: Customer, year: int) -> Iterator[tuple[Period, Window]]:
    for period in customer.contract.history:
        window = billing_window(period, year)
        if window:
            yield period, window


def _differences(customer: Customer, tariffs: Sequence[Tariff]) -> Iterator[tuple[str, str]]:
    """Why the price lists of a year's periods cannot stand on one statement, each with the next step."""
    currencies = sorted({tariff.currency for tariff in tariffs})
    if len(currencies) > 1:
        message = f"the periods of one year are in {' and '.join(currencies)}: a statement has one currency"
        yield message, "let the tariff in the other currency begin with a year"
    rates = sorted({tariff.vat_percent for tariff in tariffs})
    if len(rates) > 1 and customer.contract.vat.treatment == "standard":
        message = f"the periods of one year have VAT of {' and '.join(map(str, rates))} %: a statement has one rate"
        yield message, "say which with contract.vat: {treatment: percent, percent: …}"
