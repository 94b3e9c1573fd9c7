"""The verb `trace`: the samples behind a line of a statement, and how its amount was worked out from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from metering.ledger.frozen import open_as_of, year_names
from metering.ledger.months import list_months
from metering.ledger.store import Ledger, open_ledger
from provision.errors import InvalidFiles, RequestError
from provision.fleet import Fleet
from reports.annual import annual_statements, fleet_customers
from reports.billing import bill
from reports.closed import ClosedYear, closed_year, forgotten
from reports.lines import METRICS, Line, LineName, Origin
from reports.statement import Statement
from reports.workings import month_figure, number_text, workings


@dataclass(frozen=True, slots=True)
class Counted:
    """A sample that counts: its value is in the metric's unit; `file` is where it stands, in the ledger."""

    day: date
    value: int
    source: str
    collected_at: str
    file: str


@dataclass(frozen=True, slots=True)
class TracedMonth:
    """A billed month: what the line takes from it, in the line's unit, None for a gap; and the samples behind that.

    Of active users the figure counts distinct people of the month, the samples those of each day.
    """

    month: int
    figure: str | None
    samples: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class TracedLine:
    """One line, and what it rests on. `late`: of a correction, the files that came after the year was closed."""

    line: Line
    months: tuple[TracedMonth, ...]
    steps: tuple[str, ...]
    late: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The lines of one name of a statement. `closed`: the closed year they are of, None for a draft. `forgotten`: where
    the counts of a year stand whose samples left the ledger on purpose.
    """

    statement: Statement
    closed: ClosedYear | None
    lines: tuple[TracedLine, ...]
    forgotten: Path | None = None


def trace(fleet: Fleet, slug: str, year: int, name: LineName) -> Trace:
    """Trace the lines called `name` in the statement of `slug` for `year`, as closed, else as of now.

    RequestError when there is no such statement or line; InvalidFiles when the ledger or a tariff has a problem.
    """
    closed = closed_year(fleet, year)
    statement = _statement(fleet, closed, slug, year, name)
    lines = [line for line in statement.lines if line.name == name]
    if not lines:
        known = ", ".join(dict.fromkeys(line.name for line in statement.lines))
        raise RequestError(f"LINE: the statement of {slug} for {year} has no line {name}", f"it has: {known}")
    metric = METRICS.get(name)
    if metric is None:
        return Trace(statement, closed, tuple(_without_samples(fleet, statement, line) for line in lines))
    counted = _counted(fleet, _ledger(fleet, closed, year), year, slug, metric)
    traced = tuple(_traced(statement, line, counted) for line in lines)
    gone = forgotten(fleet, closed, year_names(fleet.ledger, year)) if closed else None
    return Trace(statement, closed, traced, gone)


def _statement(fleet: Fleet, closed: ClosedYear | None, slug: str, year: int, name: LineName) -> Statement:
    if closed:
        statements: Sequence[Statement] = closed.statements()
    elif name == "correction":
        statements = annual_statements(fleet, year)
    else:
        customers = {slug: fleet_customers(fleet)[fleet.instance(slug).slug]}
        ledger = _ledger(fleet, None, year)
        statements = bill(customers, fleet.tariffs, ledger, year, ledger.problems(set(fleet.instances)))
    found = {one.customer.instance: one for one in statements}
    if slug not in found:
        known = ", ".join(found) or "none"
        raise RequestError(f"SLUG: there is no statement of {slug} for {year}", f"there are those of: {known}")
    return found[slug]


def _ledger(fleet: Fleet, closed: ClosedYear | None, year: int) -> Ledger:
    """The ledger of the year: of a closed one, as it stood then."""
    if closed:
        return open_as_of(fleet.ledger, year, closed.manifest.ledger.files, fleet.settings.engine)
    return open_ledger(fleet.ledger, years=[year], engine=fleet.settings.engine)


def _counted(fleet: Fleet, ledger: Ledger, year: int, slug: str, metric: str) -> Sequence[Counted]:
    """The samples that count of one metric of one instance, by day and source."""
    problems = ledger.problems()
    if problems:
        raise InvalidFiles(problems, "correct these and run the command again")
    rows = ledger.rows
    mine = rows.filter((rows.instance == slug) & (rows.metric == metric) & (rows.addends > 0))
    found = ledger.fetch(mine.select("day", "value", "source", "collected_at", "run"))
    places = _Places(fleet.ledger, year)
    return sorted(
        (
            Counted(row["day"], int(row["value"]), row["source"], row["collected_at"], places.of(row["run"]))
            for row in found
        ),
        key=lambda one: (one.day, one.source),
    )


class _Places:
    """Where a run's samples stand: in their CSV file, or in the compacted month that took it in."""

    def __init__(self, ledger: Path, year: int) -> None:
        self._directory = ledger / f"{year:04d}"
        self._months = {month.month: month.place for month in list_months(ledger, [year])[0]}

    def of(self, run: str) -> str:
        name = f"{run}.samples.csv"
        if (self._directory / name).exists() or run[:7] not in self._months:
            return f"{self._directory.parent.name}/{self._directory.name}/{name}"
        return f"{self._months[run[:7]]}/samples.parquet ({name})"


def _traced(statement: Statement, line: Line, counted: Sequence[Counted]) -> TracedLine:
    part = statement.parts[line.part]
    steps = tuple(workings(statement, line))
    if line.name == "collabora_users":
        # The last value of the whole year counts, in whichever month it was recorded.
        last = [one for one in counted if one.day == counted[-1].day]
        months = [TracedMonth(last[0].day.month, str(sum(one.value for one in last)), tuple(last))] if last else []
        return TracedLine(line, tuple(months), steps)
    figures = {month.month: month_figure(line.name, month) for month in part.usage.months}
    by_month: Mapping[int, list[Counted]] = {month: [] for month in part.window.months}
    for one in counted:
        if one.day.month in by_month:
            by_month[one.day.month].append(one)
    months = [
        TracedMonth(month, _figure(figures.get(month)), tuple(samples)) for month, samples in sorted(by_month.items())
    ]
    return TracedLine(line, tuple(months), steps)


def _figure(figure: Fraction | int | None) -> str | None:
    return None if figure is None else number_text(figure)


def _without_samples(fleet: Fleet, statement: Statement, line: Line) -> TracedLine:
    late = _late(fleet, line.origin) if line.origin else ()
    return TracedLine(line, (), tuple(workings(statement, line)), late)


def _late(fleet: Fleet, origin: Origin) -> tuple[str, ...]:
    """The files of the ledger that came after the corrected year was closed."""
    closed = closed_year(fleet, origin.year)
    if closed is None:
        return ()
    came = year_names(fleet.ledger, origin.year) - set(closed.manifest.ledger.files)
    return tuple(f"{fleet.ledger.name}/{origin.year}/{name}" for name in sorted(came))
