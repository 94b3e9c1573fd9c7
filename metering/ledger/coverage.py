"""What is missing: for each instance and metric, the days without a sample, as ranges. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

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


@dataclass(frozen=True, slots=True)
class Coverage:
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
        return len(self.expected) if self.expected else 0


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
    sampled = [month for month in months if months[month].days]
    last = max(sampled, default=None)
    return Coverage(
        instance=slug,
        metric=metric,
        expected=expected,
        days_sampled=_days_sampled(expected, months) if expected else 0,
        last_day=date(int(last[:4]), int(last[5:]), months[last].days.bit_length()) if last else None,
        last_value=months[last].last_value if last else None,
        collected=bool(months),
        gaps=tuple(_gaps(expected, months)) if expected else (),
    )


def _days_sampled(expected: DayRange, months: Mapping[str, MonthFigures]) -> int:
    return sum((months[name].days & bits).bit_count() for name, bits in _bits(expected) if name in months)


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


def _gaps(expected: DayRange, months: Mapping[str, MonthFigures]) -> Iterator[DayRange]:
    gap: DayRange | None = None
    for name, bits in _bits(expected):
        gone = bits & ~(months[name].days if name in months else 0)
        for first, last in _runs(gone) if gone else ():
            found = DayRange(*(date(int(name[:4]), int(name[5:]), day) for day in (first, last)))
            if gap and found.first - gap.last == _DAY:
                found = DayRange(gap.first, found.last)
            elif gap:
                yield gap
            gap = found
    if gap:
        yield gap


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    """The days of each run of bits that are set, first and last."""
    while bits:
        first = (bits & -bits).bit_length()
        # Adding one carries through the run, to the first bit after it.
        after = (bits >> (first - 1)) + 1
        last = first + (after & -after).bit_length() - 2
        yield first, last
        bits &= ~0 << last
