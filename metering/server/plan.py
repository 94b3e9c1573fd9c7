"""Which days and values a run writes. Pure: from what is configured, what is known and what is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from metering.server.state import Key

# A line that is dated far too early (a clock that was not set yet) must not make a run write decades.
FURTHEST_BACK: Final = timedelta(days=400)
# A source that failed is tried again in the nights that follow.
RETRY_DAYS: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs left.

    `horizon` is the first day that is known; `days` were written whole; of these, `changed` are the values about
    which the logs say more by now, and `failed` those to try again.
    """

    horizon: date
    days: Collection[date]
    changed: Collection[Key] = frozenset()
    failed: Collection[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class DayPlan:
    """The values to write about one day; `again`: those that were tried before and failed."""

    day: date
    keys: Sequence[Key]
    again: frozenset[Key] = frozenset()


def plan(
    configured: Sequence[tuple[str, str]], known: Known, today: date, since: date | None, until: date | None
) -> list[DayPlan]:
    """The days to write, in order. `configured` is every (instance, metric), in the order of the rows.

    With `since`: every day from there to `until` (or yesterday), written or not. Without: every complete day
    (until `until`) that was not written yet, and of the written ones what failed, and what the logs have said
    more about since.
    """
    last = until or today - timedelta(days=1)
    if since:
        return [DayPlan(day, _keys(day, configured)) for day in _days(since, last)] if configured else []
    first = max(known.horizon, today - FURTHEST_BACK)
    fresh = {day for day in _days(first, last) if day not in known.days} if configured else set()
    plans = [DayPlan(day, _keys(day, configured)) for day in fresh]
    more: dict[date, set[Key]] = {}
    for key in {*known.changed, *known.failed}:
        if first <= key.day <= last and key.day not in fresh and (key.instance, key.metric) in configured:
            more.setdefault(key.day, set()).add(key)
    for day, keys in more.items():
        ordered = [key for key in _keys(day, configured) if key in keys]
        plans.append(DayPlan(day, ordered, frozenset(keys.intersection(known.failed))))
    return sorted(plans, key=lambda one: one.day)


def _keys(day: date, configured: Sequence[tuple[str, str]]) -> list[Key]:
    return [Key(day, instance, metric) for instance, metric in configured]


def _days(first: date, last: date) -> Iterator[date]:
    return (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
