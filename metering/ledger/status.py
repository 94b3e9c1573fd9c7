"""What the ledger holds of each instance and metric: the last sample, the last days, what is missing and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple

from metering.ledger.coverage import DAILY, Coverage, DayRange, coverage
from metering.ledger.digest import Figures, MonthFigures, month_of, read_figures
from metering.ledger.quota import Quota, quotas
from metering.memory import no_collection
from metering.samples import METRICS
from provision.errors import Problem
from provision.fleet import Fleet, Instance

# As many as fit beside the other columns of a terminal.
DAYS_SHOWN = 30

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Failure:
    """The last day on which a metric failed and no other run made up for it. `note` says why."""

    day: date
    note: str


class MetricStatus(NamedTuple):
    """The state of one metric of one instance: its coverage of the year so far, its last failure, its quota.

    `missing`: days are expected and have no sample. A metric that never had a row is "not collected", which is a choice
    of the server's configuration, unless nothing at all of the instance is collected. `recent` are the values of the
    last DAYS_SHOWN days, None where there is none; `lacking` says of each whether it should be there and is not.
    """

    coverage: Coverage
    failure: Failure | None
    missing: bool
    recent: Sequence[int | None]
    lacking: Sequence[bool]
    quota: Quota | None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The state of every instance and metric, in the order of instances and METRICS, until the day `until`; `problems`:
    tariffs of which no quota could be read.
    """

    until: date
    rows: Sequence[MetricStatus]
    problems: Sequence[Problem]

    @property
    def missing(self) -> bool:
        """Whether any sample that should be there is not."""
        return any(row.missing for row in self.rows)


def status(fleet: Fleet, today: date) -> FleetStatus:
    """The state of every instance of the fleet, over the year of yesterday until yesterday. `today` in the fleet's time
    zone.

    InvalidFiles when files of the ledger break the format.
    """
    with no_collection():
        return _status(fleet, today - _DAY)


def _status(fleet: Fleet, until: date) -> FleetStatus:
    days = [until - _DAY * back for back in reversed(range(DAYS_SHOWN))]
    recent_months = {month_of(day) for day in days}
    of_year = [f"{until.year:04d}-{month:02d}" for month in range(1, 13)]
    figures = read_figures(fleet.ledger, {*of_year, *recent_months}, recent_months)
    this_year = figures if recent_months.issubset(of_year) else _of_year(figures, until.year)
    expected = {
        slug: expected_days(instance.contract.starts, instance.contract.ends, until)
        for slug, instance in fleet.instances.items()
    }
    covered = coverage(this_year, expected)
    found, problems = quotas(fleet, until, this_year)
    silent = {slug for slug in expected if not any(covered[slug, metric].collected for metric in DAILY)}
    named = {name: tuple([day.day for day in days if month_of(day) == name]) for name in sorted(recent_months)}
    rows = []
    for key, one in covered.items():
        missing = bool(one.gaps) and (one.collected or key[0] in silent)
        recent = _recent(figures.get(key, {}), named)
        wanted = _expected_of(fleet.instances[key[0]], days) if missing else ()
        lacking = [wanted and value is None for wanted, value in zip(wanted, recent, strict=True)] if missing else ()
        failure = _failure(this_year.get(key, {}))
        rows.append(MetricStatus(one, failure, missing, recent, lacking, found.get(key)))
    return FleetStatus(until, rows, problems)


def _of_year(figures: Figures, year: int) -> Figures:
    prefix = f"{year:04d}-"
    return {
        key: {month: one for month, one in months.items() if month.startswith(prefix)}
        for key, months in figures.items()
    }


@lru_cache(10_000)
def expected_days(starts: date, ends: date | None, until: date) -> DayRange | None:
    """The days of the year of `until`, until that day, on which a contract runs; None when there are none."""
    first = max(starts, date(until.year, 1, 1))
    last = min(ends or until, until)
    return DayRange(first, last) if first <= last else None


def _expected_of(instance: Instance, days: Sequence[date]) -> Sequence[bool]:
    starts, ends = instance.contract.starts, instance.contract.ends or date.max
    return [starts <= day <= ends for day in days]


def _recent(months: Mapping[str, MonthFigures], days: Mapping[str, tuple[int, ...]]) -> Sequence[int | None]:
    """The value of each day, given by month as days of the month; None where there is no sample."""
    found: list[int | None] = []
    for name, numbers in days.items():
        month = months.get(name)
        if month is None or not month.values:
            found += [None] * len(numbers)
        else:
            values, places = month.values, _places(month.days, numbers)
            if isinstance(places, slice):
                found += values[places]
            else:
                found += [None if place is None else values[place] for place in places]
    return found


@cache
def _places(bits: int, numbers: tuple[int, ...]) -> slice | Sequence[int | None]:
    """Where the values of days in a row stand among those of a month whose days are `bits`; a slice when none of them
    is missing. Of a fleet's months, most are the same.
    """
    places = [(bits & ((1 << day - 1) - 1)).bit_count() if bits >> (day - 1) & 1 else None for day in numbers]
    first = places[0]
    return places if first is None or None in places else slice(first, first + len(places))


def _failure(months: Mapping[str, MonthFigures]) -> Failure | None:
    failed = [name for name, month in months.items() if month.failed]
    if not failed:
        return None
    last = max(failed)
    return Failure(date(int(last[:4]), int(last[5:]), months[last].failed), months[last].note)


def to_plain(status: FleetStatus) -> list[dict[str, Any]]:
    """For JSON: one object per instance and metric. Days as ISO 8601; null where there is nothing."""
    return [_plain(row, status.until) for row in status.rows]


def _plain(row: MetricStatus, until: date) -> dict[str, Any]:
    found = row.coverage
    return {
        "instance": found.instance,
        "metric": found.metric,
        "unit": METRICS[found.metric],
        "collected": found.collected,
        "last_day": found.last_day.isoformat() if found.last_day else None,
        "last_value": found.last_value,
        "days_sampled": found.days_sampled,
        "days_expected": found.days_expected,
        "gaps": [{"first": gap.first.isoformat(), "last": gap.last.isoformat()} for gap in found.gaps],
        "failure": {"day": row.failure.day.isoformat(), "note": row.failure.note} if row.failure else None,
        "missing": row.missing,
        "recent": {"until": until.isoformat(), "values": list(row.recent)},
        "quota": quota_to_plain(row.quota) if row.quota else None,
    }


def quota_to_plain(quota: Quota) -> dict[str, Any]:
    """For JSON: a quota of a year, in the metric's unit."""
    return {
        "year": quota.year,
        "included": quota.included,
        "used": quota.used,
        "percent": quota.percent,
        "marks": list(quota.marks),
    }
