"""The verb `annual`: fleet, tariffs and ledger → statements → papers.

Everything is read and checked before anything is written; every problem in files is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metering.ledger.store import open_ledger
from metering.ledger.usage import Window, year_usage
from provision.errors import InvalidFiles, Problem, RequestError
from provision.fleet import Fleet, Instance
from provision.settings import Language
from reports.annex import annex_page
from reports.overview import overview_page
from reports.staging import leftovers, staging
from reports.statement import Customer, Statement, billing_window, make_statement
from reports.table import words
from reports.tariff import Tariff, Version, place, read_tariff
from reports.to_csv import monthly_csv, usage_csv
from reports.to_pdf import Press

# Told how many papers are done, and how many there are.
Progress = Callable[[int, int], None]
# No instance is called so: the slug is reserved.
FLEET_PAPER = "fleet"


@dataclass(frozen=True, slots=True)
class Annual:
    """What a run made: the files in order of writing, the statements by slug, and older papers found beside them."""

    files: tuple[Path, ...]
    statements: tuple[Statement, ...]
    leftovers: tuple[Path, ...]

    @property
    def incomplete(self) -> tuple[Statement, ...]:
        """Statements of which a billed line lacks samples for a whole month or more."""
        return tuple(statement for statement in self.statements if statement.incomplete)


@dataclass(frozen=True, slots=True)
class _Price:
    """The price list of one instance and its version in force."""

    tariff: Tariff
    version: Version


def annual(fleet: Fleet, year: int, out: Path, language: Language, progress: Progress) -> Annual:
    """Write the papers of `year` into `out`. RequestError or InvalidFiles when nothing could be written."""
    with staging(out) as stage:
        statements = annual_statements(fleet, year)
        for done, (name, content) in enumerate(_papers(statements, year, language)):
            stage.write(name, content)
            progress(done + 1, len(statements) + 3)
        files = stage.publish()
    return Annual(files, statements, tuple(leftovers(out, year, {path.name for path in files})))


def annual_statements(fleet: Fleet, year: int) -> tuple[Statement, ...]:
    """The statements of every instance whose contract touches `year`, sorted by slug.

    InvalidFiles with every problem in the tariffs and in the ledger's files of that year; RequestError when no contract
    touches it.
    """
    windows = _windows(fleet, year)
    prices, problems = _prices(fleet, year, windows)
    ledger = open_ledger(fleet.ledger, years=[year])
    problems += ledger.problems(set(fleet.instances))
    if problems:
        raise InvalidFiles(
            problems, f"correct these in {fleet.directory} and run the command again; nothing was written"
        )
    usage = year_usage(ledger, year, windows)
    return tuple(
        make_statement(_customer(fleet.instances[slug]), price.tariff, price.version, windows[slug], usage[slug])
        for slug, price in prices.items()
    )


def _windows(fleet: Fleet, year: int) -> dict[str, Window]:
    found = {slug: billing_window(fleet.instances[slug].contract, year) for slug in sorted(fleet.instances)}
    windows = {slug: window for slug, window in found.items() if window is not None}
    if not windows:
        raise RequestError(
            f"YEAR: no contract in {fleet.directory} covers a day of {year}", "chill-provision list shows them"
        )
    return windows


def _prices(fleet: Fleet, year: int, windows: Mapping[str, Window]) -> tuple[dict[str, _Price], list[Problem]]:
    """The price list in force for every reported instance, and what is wrong with those lists."""
    problems: list[Problem] = []
    tariffs: dict[str, Tariff | None] = {}
    prices: dict[str, _Price] = {}
    for slug in windows:
        contract = fleet.instances[slug].contract
        path = fleet.tariffs / f"{contract.tariff}.toml"
        if contract.tariff not in tariffs:
            tariff, found = read_tariff(path)
            tariffs[contract.tariff] = tariff
            problems += found
        tariff = tariffs[contract.tariff]
        if tariff is None:
            continue
        version = tariff.in_force(year, contract.starts)
        if version:
            prices[slug] = _Price(tariff, version)
        else:
            first = tariff.versions[0].valid_from
            message = f"no version is in force for {slug} in {year}: the first is valid from {first}"
            problems.append(Problem(f"{place(path)}: version", message, "add a version that was in force by then"))
    return prices, problems


def _customer(instance: Instance) -> Customer:
    domain = instance.names.production.domain
    return Customer(instance.slug, instance.client, domain, instance.contract)


def _papers(statements: Sequence[Statement], year: int, language: Language) -> Iterator[tuple[str, str | bytes]]:
    """Every file by name, with its content."""
    text = words(language)
    press = Press.for_year(year)
    yield f"usage-{year}.csv", usage_csv(statements, text)
    yield f"monthly-{year}.csv", monthly_csv(statements)
    yield f"{FLEET_PAPER}-{year}.pdf", press.fleet(overview_page(statements, year, text))
    for statement in statements:
        yield f"{statement.customer.instance}-{year}.pdf", press.annex(annex_page(statement, text))
