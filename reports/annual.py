"""The verb `annual`: fleet, tariffs and ledger → statements → papers.

Everything is read and checked before anything is written; every problem in files is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from provision.errors import RequestError
from provision.fleet import Fleet
from provision.settings import Language
from reports.annex import annex_page
from reports.billing import bill, require_contracts, year_ledger
from reports.billing import fleet_customers as fleet_customers
from reports.closed import ClosedYear, closed_year
from reports.corrections import corrected
from reports.formats import DEFAULT, Format, names, tables
from reports.overview import overview_page
from reports.sources import Sources
from reports.staging import leftovers, staging
from reports.statement import Statement, by_coverage
from reports.table import words
from reports.to_pdf import Memory, Press

# Told how many papers are done, and how many there are.
Progress = Callable[[int, int], None]
# No instance is called so: the slug is reserved.
FLEET_PAPER = "fleet"


@dataclass(frozen=True, slots=True)
class Annual:
    """What a run made: the files as they are listed, the statements, and older papers found beside them.

    The statements of the instances whose samples cover too little come first, see `statement.by_coverage`.
    """

    files: tuple[Path, ...]
    statements: tuple[Statement, ...]
    leftovers: tuple[Path, ...]
    closed: ClosedYear | None = None

    @property
    def incomplete(self) -> tuple[Statement, ...]:
        """Statements of which a billed line lacks samples for a whole month or more; none once that was accepted."""
        return () if self.closed else tuple(statement for statement in self.statements if statement.incomplete)


def annual(
    fleet: Fleet,
    year: int,
    out: Path,
    language: Language,
    progress: Progress,
    *,
    estimate: bool = False,
    formats: Collection[Format] = DEFAULT,
) -> Annual:
    """Write the papers of `year` into `out`. RequestError or InvalidFiles when nothing could be written.

    Papers that an interrupted run made from the same are not printed again (staging.py). `formats`: how the figures
    are written beside the PDFs. `estimate`: days without a sample count as the mean of the others, where that can be
    said, and the papers say so.
    """
    closed = closed_year(fleet, year)
    if closed:
        return _closed_papers(closed, fleet, out, formats, progress)
    with staging(out) as stage:
        statements = annual_statements(fleet, year, estimate=estimate)
        ordered = by_coverage(statements, fleet.settings.reports.coverage_percent)
        count = len(statements) + len(names(year, formats)) + 1
        made = papers(fleet_sources(fleet, year), ordered, year, language, formats=formats, memory=stage)
        for done, (name, content) in enumerate(made):
            stage.write(name, content)
            progress(done + 1, count)
        files = _as_listed(stage.publish(), year)
    return Annual(files, ordered, tuple(leftovers(out, year, {path.name for path in files})))


def _closed_papers(
    closed: ClosedYear, fleet: Fleet, out: Path, formats: Collection[Format], progress: Progress
) -> Annual:
    """The papers of a closed year, byte for byte, whatever changed since: language and estimates are those of then.

    Formats beyond those that were closed are made of the statements that were.
    """
    with staging(out) as stage:
        statements = closed.statements()
        for done, name in enumerate(closed.papers):
            stage.write(name, closed.content(name))
            progress(done + 1, len(closed.papers))
        more = [one for one in formats if not set(names(closed.year, [one])) <= set(closed.papers)]
        for name, content in tables(statements, closed.year, words(closed.manifest.language), more):
            stage.write(name, content)
        files = stage.publish()
    ordered = by_coverage(statements, fleet.settings.reports.coverage_percent)
    return Annual(files, ordered, tuple(leftovers(out, closed.year, {path.name for path in files})), closed)


def annual_statements(fleet: Fleet, year: int, *, estimate: bool = False) -> tuple[Statement, ...]:
    """The statements of every instance whose contract touches `year`, sorted by slug, with the corrections of closed
    years that are due in it. Those of a year that is closed are as they were closed.

    InvalidFiles with every problem in the tariffs and in the ledger's files of that year; RequestError when no contract
    touches it.
    """
    if closed := closed_year(fleet, year):
        return closed.statements()
    customers = fleet_customers(fleet)
    require_contracts(fleet, customers.values(), year)
    ledger = year_ledger(fleet, year)
    found = ledger.problems(set(fleet.instances))
    statements = bill(customers, fleet.tariffs, ledger, year, found, estimate=estimate)
    return corrected(fleet, customers, year, statements)


def papers(
    sources: Sources,
    statements: Sequence[Statement],
    year: int,
    language: Language,
    *,
    formats: Collection[Format] = DEFAULT,
    memory: Memory | None = None,
) -> Iterator[tuple[str, str | bytes]]:
    """Every file by name, with its content."""
    text = words(language)
    press = Press.for_cooperative(sources.cooperative, sources.logo, year, text, memory)
    yield from tables(statements, year, text, formats)
    overview = partial(overview_page, statements, year, text, sources.before)
    files = [f"{statement.customer.instance}-{year}.pdf" for statement in statements]
    pages = (annex_page(statement, text) for statement in statements)
    yield from zip([*files, _fleet_paper(year)], press.papers(pages, overview), strict=True)


def fleet_sources(fleet: Fleet, year: int) -> Sources:
    """What the papers of `year` are printed from, as the fleet is now."""
    cooperative = fleet.settings.cooperative
    logo = fleet.path(cooperative.logo) if cooperative.logo else None
    return Sources(cooperative, logo, fleet.settings.reports.coverage_percent, statements_before(fleet, year))


def _fleet_paper(year: int) -> str:
    return f"{FLEET_PAPER}-{year}.pdf"


def _as_listed(files: Iterable[Path], year: int) -> tuple[Path, ...]:
    """In the order in which they are read: tables, the fleet's paper, the customers'."""
    return tuple(sorted(files, key=lambda path: (path.suffix == ".pdf", path.name != _fleet_paper(year))))


def statements_before(fleet: Fleet, year: int) -> tuple[Statement, ...]:
    """The statements of the year before `year`, to compare with; none when it cannot be billed."""
    try:
        return annual_statements(fleet, year - 1)
    except RequestError:
        # No contract, or no tariff, reaches back that far: the papers of `year` do not depend on it.
        return ()
