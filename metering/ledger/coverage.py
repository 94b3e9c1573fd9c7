"""What is missing: for each instance and metric, the days without a sample, as ranges. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import NamedTuple

from metering.ledger.digest import Figures, MonthFigures
from metering.samples import METRICS

# Every metric but this is expected on every day; Collabora's users are recorded once a year.
DAILY = tuple(metric for metric in METRICS if metric != "collabora_users")

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class DayRange:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return self.first.isoformat() if self.first == self.last else f"{self.first}..{self.last}"


class Coverage(NamedTuple):
    """How far the samples of one metric of one instance cover the days on which they are expected.

    `expected` is None where no day is. `last_day` and `last_value` (in the metric's unit) are those of the last sample,
    expected or not. `collected` is False when there is no row at all, not even a failed one. `gaps` are in time order.
    """

    instance: str
    metric: str
    expected: DayRange | None
    days_sampled: int
    last_day: date | None
    last_value: int | None
    collected: bool
    gaps: Sequence[DayRange]

    @property
    def days_expected(self) -> int:
        return 0 if self.expected is None else len(self.expected)


def coverage(figures: Figures, expected: Mapping[str, DayRange | None]) -> dict[tuple[str, str], Coverage]:
    """The coverage of every instance of `expected` and every metric, by (slug, metric).

    `expected` gives the days, all of one year, on which an instance's daily metrics should have a sample; None for no
    day. `figures` are of months of that year.
    """
    return {
        (slug, metric): _coverage(slug, metric, days if metric in DAILY else None, figures.get((slug, metric), {}))
        for slug, days in expected.items()
        for metric in METRICS
    }


def _coverage(slug: str, metric: str, expected: DayRange | None, months: Mapping[str, MonthFigures]) -> Coverage:
    days = _days(expected, tuple(months), tuple([month.days for month in months.values()]))
    last_value = months[days.last_month].last_value if days.last_month else None
    return Coverage(slug, metric, expected, days.sampled, days.last_day, last_value, bool(months), days.gaps)


class _Days(NamedTuple):
    """What the days with a sample say of a metric, without their values."""

    sampled: int
    last_month: str
    last_day: date | None
    gaps: Sequence[DayRange]


# Of a large fleet, most instances miss the same days, or none.
@lru_cache(100_000)
def _days(expected: DayRange | None, names: tuple[str, ...], bits: tuple[int, ...]) -> _Days:
    """From the months that have a row, and which of their days have a sample."""
    by_name = dict(zip(names, bits, strict=True))
    last = max((name for name, days in by_name.items() if days), default="")
    last_day = date(int(last[:4]), int(last[5:]), by_name[last].bit_length()) if last else None
    if expected is None:
        return _Days(0, last, last_day, ())
    sampled = sum((by_name.get(name, 0) & wanted).bit_count() for name, wanted in _bits(expected))
    return _Days(sampled, last, last_day, tuple(_gaps(expected, by_name)))


@cache
def _bits(expected: DayRange) -> Sequence[tuple[str, int]]:
    """The months of a range of one year, and which of their days are in it: bit n-1 for day n. A fleet has few."""
    year, first, last = expected.first.year, expected.first, expected.last
    found = []
    for month in range(first.month, last.month + 1):
        until = last.day if month == last.month else monthrange(year, month)[1]
        since = first.day if month == first.month else 1
        found.append((f"{year:04d}-{month:02d}", (1 << until) - (1 << (since - 1))))
    return found


def _gaps(expected: DayRange, sampled: Mapping[str, int]) -> Sequence[DayRange]:
    """The gaps of a range, from the days sampled of each of its months."""
    gaps: list[DayRange] = []
    for name, wanted in _bits(expected):
        for first, last in _runs(wanted & ~sampled.get(name, 0)):
            found = DayRange(*(date(int(name[:4]), int(name[5:]), day) for day in (first, last)))
            if gaps and found.first - gaps[-1].last == _DAY:
                found = DayRange(gaps.pop().first, found.last)
            gaps.append(found)
    return gaps


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    """The days of each run of bits that are set, first and last."""
    while bits:
        first = (bits & -bits).bit_length()
        # Adding one carries through the run, to the first bit after it.
        after = (bits >> (first - 1)) + 1
        last = first + (after & -after).bit_length() - 2
        yield first, last
        bits &= ~0 << last
