"""Usage per instance and month: expressions over the ledger's two tables, and the values they become.

The expressions (`samples_by_month`, `users_by_month`) know no engine: tables in, table out. All instances
are answered by one query each. Values are exact: whole numbers, and fractions made of sums and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ibis
from ibis.expr import types as ir

from metering.ledger.store import Ledger
from metering.samples import METRICS

MONTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Window:
    """What part of a year a contract covers.

    Samples are expected on every day from `first_day` to `last_day`; billed are the whole calendar months
    from `first_month` to `last_month` (1 to 12), both included, also the days of them before or after the
    contract.
    """

    first_day: date
    last_day: date
    first_month: int
    last_month: int

    @property
    def months(self) -> range:
        """The billed months."""
        return range(self.first_month, self.last_month + 1)


@dataclass(frozen=True, slots=True)
class MonthUsage:
    """One calendar month. None is a gap: no `ok` sample of that metric in the month; never to be read as
    zero.

    `active_users`: distinct people; `mean_daily_active`: over the days that have a sample; `sms`:
    messages; `emails`: recipients; `mean_document_bytes`: over the days that have a sample;
    `days_sampled`: days with a sample of any metric.
    """

    month: int
    active_users: int | None = None
    mean_daily_active: Fraction | None = None
    peak_daily_active: int | None = None
    sms: int | None = None
    emails: int | None = None
    mean_document_bytes: Fraction | None = None
    days_sampled: int = 0


@dataclass(frozen=True, slots=True)
class YearUsage:
    """One instance's year. `months` are always 12, billed or not; the other figures are over the billed
    months.

    `document_bytes_total` adds the daily values of `document_days` days. `collabora_users` is the last
    value of the whole calendar year. `days_sampled` counts, by metric, days of the expected window.
    """

    instance: str
    year: int
    months: tuple[MonthUsage, ...]
    distinct_users: int | None
    sms: int | None
    emails: int | None
    document_bytes_total: int | None
    document_days: int
    document_bytes_peak: int | None
    document_bytes_last: int | None
    collabora_users: int | None
    days_sampled: Mapping[str, int]


def year_usage(ledger: Ledger, year: int, windows: Mapping[str, Window]) -> dict[str, YearUsage]:
    """The usage of every instance of `windows` in `year`, by slug; one without any sample has gaps only.

    InvalidFiles when the ledger's files break the format.
    """
    if not windows:
        return {}
    frame = _windows_table(ledger, windows)
    samples: dict[str, dict[int, dict[str, Any]]] = {slug: {} for slug in windows}
    for row in ledger.fetch(samples_by_month(_of_year(ledger.samples, year), frame)):
        # Whole numbers come as decimals where the engine's integers might be too narrow. In place: of a large fleet,
        # these rows are most of what the command holds.
        row.update({key: int(value) for key, value in row.items() if isinstance(value, Decimal)})
        samples[row["instance"]][row["month"]] = row
    people = {row["instance"]: row for row in ledger.fetch(users_by_month(_of_year(ledger.user_days, year), frame))}
    return {slug: _year(slug, year, window, samples[slug], people.get(slug, {})) for slug, window in windows.items()}


def _of_year(table: ir.Table, year: int) -> ir.Table:
    return table.filter(table.day.between(date(year, 1, 1), date(year, 12, 31)))


def _windows_table(ledger: Ledger, windows: Mapping[str, Window]) -> ir.Table:
    """The windows as a table: instance, first_day, last_day, billed (bit n-1 is set for a billed month n)."""
    columns: dict[str, list[Any]] = {
        "instance": list(windows),
        "first_day": [window.first_day for window in windows.values()],
        "last_day": [window.last_day for window in windows.values()],
        "billed": [sum(_bit(month) for month in window.months) for window in windows.values()],
    }
    schema = {"instance": "string", "first_day": "date", "last_day": "date", "billed": "int64"}
    return ledger.bring(columns, ibis.schema(schema))


def _bit(month: int) -> int:
    return 1 << (month - 1)


def samples_by_month(samples: ir.Table, windows: ir.Table) -> ir.Table:
    """Per instance and month that has samples: counts, sums, peaks and last values of each metric.

    `samples`: day, instance, metric, value, all of one year; `windows` as `_windows_table` makes it. Null
    where the metric has no sample in the month. `expected_<metric>` counts the days of the window that
    have one.
    """
    joined = samples.inner_join(windows, "instance")
    within = joined.day.between(joined.first_day, joined.last_day)
    users, documents, collabora = (
        joined.metric == metric for metric in ("active_users", "document_bytes", "collabora_users")
    )
    expected = {f"expected_{metric}": ((joined.metric == metric) & within).sum() for metric in METRICS}
    return joined.group_by(["instance", joined.day.month().cast("int64").name("month")]).agg(
        days=joined.day.nunique(),
        user_days=users.sum(),
        users_total=joined.value.sum(where=users),
        users_peak=joined.value.max(where=users),
        sms=joined.value.sum(where=joined.metric == "sms_sent"),
        emails=joined.value.sum(where=joined.metric == "emails_sent"),
        document_days=documents.sum(),
        documents_total=joined.value.sum(where=documents),
        documents_peak=joined.value.max(where=documents),
        documents_last=joined.value.argmax(joined.day, where=documents),
        collabora_last=joined.value.argmax(joined.day, where=collabora),
        **expected,
    )


def users_by_month(users: ir.Table, windows: ir.Table) -> ir.Table:
    """Distinct users per instance: columns month_1 … month_12, and billed for all billed months together.

    `users`: day, instance, user, all of one year, repeated or not. Each person becomes the set of months
    they were active in, as bits: one pass over the days counts every month and the year.
    """
    seen = users.select("instance", "user", month=(users.day.month() - 1).cast("int64")).distinct()
    # Each month comes once, so the sum of its bits is their union, which not every engine can aggregate.
    bits = (ibis.literal(1, type="int64") << seen.month).sum()
    people = seen.group_by(["instance", "user"]).agg(active=bits.cast("int64")).inner_join(windows, "instance")
    months = {f"month_{month}": (people.active & _bit(month) != 0).sum() for month in MONTHS}
    return people.group_by("instance").agg(billed=(people.active & people.billed != 0).sum(), **months)


def _year(
    slug: str, year: int, window: Window, samples: Mapping[int, Mapping[str, Any]], people: Mapping[str, int]
) -> YearUsage:
    billed = [samples[month] for month in window.months if month in samples]
    every = [samples[month] for month in MONTHS if month in samples]
    counted = any(row["user_days"] for row in billed)
    return YearUsage(
        instance=slug,
        year=year,
        months=tuple(_month(month, samples.get(month), people.get(f"month_{month}", 0)) for month in MONTHS),
        distinct_users=people.get("billed", 0) if counted else None,
        sms=_sum(row["sms"] for row in billed),
        emails=_sum(row["emails"] for row in billed),
        document_bytes_total=_sum(row["documents_total"] for row in billed),
        document_days=sum(row["document_days"] for row in billed),
        document_bytes_peak=max(_known(row["documents_peak"] for row in billed), default=None),
        document_bytes_last=_last(row["documents_last"] for row in billed),
        collabora_users=_last(row["collabora_last"] for row in every),
        days_sampled={metric: sum(row[f"expected_{metric}"] for row in every) for metric in METRICS},
    )


def _month(month: int, row: Mapping[str, Any] | None, people: int) -> MonthUsage:
    if row is None:
        return MonthUsage(month)
    return MonthUsage(
        month=month,
        active_users=people if row["user_days"] else None,
        mean_daily_active=_mean(row["users_total"], row["user_days"]),
        peak_daily_active=row["users_peak"],
        sms=row["sms"],
        emails=row["emails"],
        mean_document_bytes=_mean(row["documents_total"], row["document_days"]),
        days_sampled=row["days"],
    )


def _mean(total: int | None, days: int) -> Fraction | None:
    return None if total is None else Fraction(total, days)


def _known(values: Iterable[int | None]) -> Sequence[int]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[int | None]) -> int | None:
    known = _known(values)
    return sum(known) if known else None


def _last(values: Iterable[int | None]) -> int | None:
    known = _known(values)
    return known[-1] if known else None
