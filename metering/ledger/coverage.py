"""What is missing: for each instance and metric, the days without a sample, as ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import ibis
from ibis.expr import types as ir

from metering.ledger.store import Ledger
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

    `expected` is None where no day is. `last_day` and `last_value` (in the metric's unit) are those of
    the last sample, expected or not. `collected` is False when there is no row at all, not even a failed
    one. `gaps` are in time order.
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


def coverage(ledger: Ledger, expected: Mapping[str, DayRange | None]) -> dict[tuple[str, str], Coverage]:
    """The coverage of every instance of `expected` and every metric, by (slug, metric).

    `expected` gives the days on which an instance's daily metrics should have a sample; None for no day.
    InvalidFiles when the ledger's files break the format.
    """
    frame = _expected_table(expected)
    inside = ledger.samples.inner_join(frame, "instance")
    spans = {_key(row): row for row in ledger.fetch(_spans(inside))}
    inner: dict[tuple[str, str], list[DayRange]] = {}
    for row in ledger.fetch(_holes(inside)):
        inner.setdefault(_key(row), []).append(DayRange(row["before"] + _DAY, row["day"] - _DAY))
    rows = ledger.rows
    collected = {_key(row) for row in ledger.fetch(rows.select("instance", "metric").distinct())}
    return {
        key: _coverage(key, days if key[1] in DAILY else None, spans.get(key, {}), inner.get(key, ()), key in collected)
        for slug, days in expected.items()
        for key in ((slug, metric) for metric in METRICS)
    }


def _key(row: Mapping[str, str]) -> tuple[str, str]:
    return row["instance"], row["metric"]


def _expected_table(expected: Mapping[str, DayRange | None]) -> ir.Table:
    columns = {
        "instance": list(expected),
        "first_day": [days.first if days else None for days in expected.values()],
        "last_day": [days.last if days else None for days in expected.values()],
    }
    schema = {"instance": "string", "first_day": "date", "last_day": "date"}
    return ibis.memtable(columns, schema=ibis.schema(schema))


def _spans(samples: ir.Table) -> ir.Table:
    """Per instance and metric: days sampled among the expected ones, the first and last of these, the
    last sample of all.
    """
    within = samples.day.between(samples.first_day, samples.last_day)
    return samples.group_by(["instance", "metric"]).agg(
        days=within.sum(),
        first=samples.day.min(where=within),
        last=samples.day.max(where=within),
        last_day=samples.day.max(),
        last_value=samples.value.argmax(samples.day),
    )


def _holes(samples: ir.Table) -> ir.Table:
    """Where two samples that follow each other, both expected, have days between them: instance, metric,
    before, day.
    """
    within = samples.filter(samples.day.between(samples.first_day, samples.last_day))
    order = ibis.window(group_by=[within.instance, within.metric], order_by=within.day)
    pairs = within.select("instance", "metric", "day", before=within.day.lag().over(order))
    return pairs.filter(pairs.day.delta(pairs.before, unit="day") > 1).order_by(["instance", "metric", "day"])


def _coverage(
    key: tuple[str, str],
    expected: DayRange | None,
    span: Mapping[str, Any],
    inner: Sequence[DayRange],
    collected: bool,
) -> Coverage:
    value = span.get("last_value")
    return Coverage(
        instance=key[0],
        metric=key[1],
        expected=expected,
        days_sampled=span.get("days") or 0 if expected else 0,
        last_day=span.get("last_day"),
        last_value=None if value is None else int(value),
        collected=collected,
        gaps=tuple(_gaps(expected, span.get("first"), span.get("last"), inner)) if expected else (),
    )


def _gaps(expected: DayRange, first: date | None, last: date | None, inner: Sequence[DayRange]) -> Iterator[DayRange]:
    if first is None or last is None:
        yield expected
        return
    if first > expected.first:
        yield DayRange(expected.first, first - _DAY)
    yield from inner
    if last < expected.last:
        yield DayRange(last + _DAY, expected.last)
