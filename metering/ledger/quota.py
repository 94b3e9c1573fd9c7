"""Quotas: what a contract includes of e-mails and documents in a year, and how much of it is used.

Of a tariff (docs/reports.md) only what is included is read here, never a price: metering knows nothing of money. See
docs/decisions/0016-quotas-are-read-by-the-meter.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from metering.ledger.digest import Figures, MonthFigures, read_figures
from provision.contract import Contract, Override, Period
from provision.errors import Problem
from provision.fleet import Fleet

# In percent of what is included: when a letter goes out, and what a table marks.
MARKS = (80, 100)
GB = 10**9
MEASURES = ("mean_daily", "peak_daily", "last")
_SECTIONS = ("emails", "documents")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a version of a tariff includes: e-mails per full year, bytes of documents by a measure. None: no quota.

    `version` is the table that says so.
    """

    valid_from: date
    emails: int | None
    document_bytes: int | None
    document_measure: str
    version: Mapping[str, Any] = field(repr=False, hash=False)

    def agreed(self, overrides: Sequence[Override], year: int) -> Terms:
        """The same with the particular conditions of a contract that hold in `year`. ValueError or TypeError when one
        cannot be.
        """
        held = [override for override in overrides if override.holds_in(year) and override.section in _SECTIONS]
        changed: dict[str, Any] = dict(self.version)
        for override in held:
            section, _, key = override.key.partition(".")
            if key:
                changed[section] = {**changed.get(section, {}), key: override.value}
            elif override.value is None:
                changed.pop(section, None)
            else:
                changed[section] = override.value
        return _terms(changed) if held else self


class Quota(NamedTuple):
    """What is included of a metric in a year, in the metric's unit, and how much is used of it; None: not known yet.

    `used` of e-mails is the sum of the billed months, that of documents the tariff's measure over them, rounded down.
    """

    instance: str
    metric: str
    year: int
    included: int
    used: int | None

    @property
    def percent(self) -> int | None:
        """How much is used, in whole percent, rounded down."""
        return None if self.used is None else self.used * 100 // self.included

    @property
    def marks(self) -> tuple[int, ...]:
        """The marks that are reached."""
        if self.used is None:
            return ()
        used = self.used * 100
        return tuple([mark for mark in MARKS if used >= self.included * mark])


def fleet_quotas(fleet: Fleet, until: date) -> tuple[dict[tuple[str, str], Quota], list[Problem]]:
    """As `quotas`, from the fleet's ledger. InvalidFiles when its files break the format."""
    return quotas(fleet, until, read_figures(fleet.ledger, [f"{until.year:04d}-{month:02d}" for month in range(1, 13)]))


def quotas(fleet: Fleet, until: date, figures: Figures) -> tuple[dict[tuple[str, str], Quota], list[Problem]]:
    """The quotas of all instances whose contract runs in the year of `until`, by (slug, metric), and what is wrong with
    tariffs and particular conditions.

    Of several periods in that year, the latest counts that has begun by `until`. `figures`: at least of its months.
    """
    tariffs: dict[str, Sequence[Terms]] = {}
    problems: list[Problem] = []
    found: dict[tuple[str, str], Quota] = {}
    for slug, instance in fleet.instances.items():
        period = running(instance.contract, until)
        if period is None:
            continue
        if period.tariff not in tariffs:
            tariffs[period.tariff], wrong = read_terms(fleet.tariffs / f"{period.tariff}.toml")
            problems += wrong
        terms = in_force(tariffs[period.tariff], until.year, period.starts)
        try:
            agreed = terms and terms.agreed(instance.contract.overrides, until.year)
        except (TypeError, ValueError) as error:
            place = f"inventory/instances/{slug}.yml: contract.overrides"
            problems.append(Problem(place, str(error), "chill-report says what is wrong in it, key by key"))
            continue
        for quota in _quotas(slug, agreed, period, until.year, figures) if agreed else ():
            found[slug, quota.metric] = quota
    return found, problems


def running(contract: Contract, until: date) -> Period | None:
    """The latest period that touches the year of `until` and has begun by then."""
    begun = [period for period in contract.history if period.starts <= until and billed_months(period, until.year)]
    return begun[-1] if begun else None


def _quotas(slug: str, terms: Terms, period: Period, year: int, figures: Figures) -> Iterator[Quota]:
    months = billed_months(period, year)
    names = _names(year, months)
    for metric, included in (("emails_sent", terms.emails), ("document_bytes", terms.document_bytes)):
        if included:
            of_months = figures.get((slug, metric), {})
            billed = [month for month in map(of_months.get, names) if month and month.days]
            share, used = _emails(included, months, billed) if metric == "emails_sent" else _documents(terms, billed)
            if share:
                yield Quota(slug, metric, year, share, used)


@cache
def _names(year: int, months: range) -> Sequence[str]:
    return [f"{year:04d}-{month:02d}" for month in months]


def billed_months(period: Period, year: int) -> range:
    """The calendar months of `year` (1 to 12) that the period touches."""
    return _touched(period.starts, period.ends, year)


# Of a large fleet, many contracts begin and end on the same days.
@lru_cache(10_000)
def _touched(starts: date, ends: date | None, year: int) -> range:
    first = max(starts, date(year, 1, 1))
    last = min(ends or date.max, date(year, 12, 31))
    return range(first.month, last.month + 1) if first <= last else range(0)


def _emails(included: int, months: range, billed: Sequence[MonthFigures]) -> tuple[int, int | None]:
    # A share of the year's e-mails, rounded half up to a whole one.
    share = (included * len(months) * 2 + 12) // 24
    return share, sum([month.total for month in billed]) if billed else None


def _documents(terms: Terms, billed: Sequence[MonthFigures]) -> tuple[int, int | None]:
    included = terms.document_bytes or 0
    if not billed:
        return included, None
    if terms.document_measure == "peak_daily":
        return included, max(month.peak for month in billed)
    if terms.document_measure == "last":
        return included, billed[-1].last_value
    return included, sum([month.total for month in billed]) // sum([month.days.bit_count() for month in billed])


def in_force(versions: Sequence[Terms], year: int, starts: date) -> Terms | None:
    """The version in force on 1 January or, in the contract's first year, on its start."""
    day = max(date(year, 1, 1), starts)
    return max((one for one in versions if one.valid_from <= day), key=lambda one: one.valid_from, default=None)


def read_terms(path: Path) -> tuple[Sequence[Terms], Sequence[Problem]]:
    """What the versions of a tariff include, or what is wrong with the file. `chill-report` judges the rest of it."""
    place = f"tariffs/{path.name}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return (), [Problem(place, "there is no such tariff", "write it, or name another one in the contract")]
    except OSError as error:
        return (), [Problem(place, f"cannot be read: {error.strerror}")]
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return (), [Problem(place, f"is not TOML: {error}")]
    versions = document.get("version", [])
    try:
        return [_terms(version) for version in versions], []
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        what = f"a version cannot be read: {error}"
        return (), [Problem(place, what, "chill-report says what is wrong in it, key by key")]


def _terms(version: Mapping[str, Any]) -> Terms:
    valid_from = version["valid_from"]
    if type(valid_from) is not date:
        raise ValueError(f"valid_from is {valid_from!r}, expected a date without quotes, such as 2026-01-01")
    gigabytes = _whole(version, "documents", "included_gb")
    measure = version.get("documents", {}).get("measure", MEASURES[0])
    if measure not in MEASURES:
        raise ValueError(f"documents.measure is {measure!r}, expected one of {', '.join(MEASURES)}")
    emails = _whole(version, "emails", "included")
    return Terms(valid_from, emails, gigabytes and gigabytes * GB, measure, version)


def _whole(version: Mapping[str, Any], section: str, key: str) -> int | None:
    """A whole number, None where the section is not billed or includes nothing: then there is no quota to use up."""
    if section not in version:
        return None
    value = version[section].get(key, 0)
    if type(value) is not int or value < 0:
        raise ValueError(f"{section}.{key} is {value!r}, expected a whole number, 0 or more")
    return value or None
