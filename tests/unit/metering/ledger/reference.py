"""The ledger's rule and a year's usage once more, in plain Python over the CSV files: slow, short, for comparison."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path

from metering.ledger.usage import MonthUsage, Window, YearUsage
from metering.samples import METRICS


@dataclass(slots=True)
class Reference:
    """What counts: values by (day, instance, metric), users by (day, instance)."""

    values: dict[tuple[date, str, str], int] = field(default_factory=dict)
    users: dict[tuple[date, str], set[str]] = field(default_factory=dict)


def read(ledger: Path) -> Reference:
    best: dict[tuple[str, str, str, str], tuple[str, int, Path]] = {}
    for path in ledger.rglob("*.samples.csv"):
        for row in _rows(path):
            key = (row["day"], row["instance"], row["metric"], row["source"])
            if row["status"] == "ok" and (key not in best or best[key][0] < row["collected_at"]):
                best[key] = (row["collected_at"], int(row["value"]), path)
    found = Reference()
    for (day, instance, metric, _), (_, value, path) in best.items():
        cell = (date.fromisoformat(day), instance, metric)
        found.values[cell] = found.values.get(cell, 0) + value
        beside = path.with_name(path.name.replace(".samples.", ".users."))
        if metric == "active_users" and beside.exists():
            people = {row["user"] for row in _rows(beside) if row["instance"] == instance}
            found.users.setdefault(cell[:2], set()).update(people)
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def usage(found: Reference, year: int, windows: Mapping[str, Window]) -> dict[str, YearUsage]:
    return {slug: _year(found, slug, year, window) for slug, window in windows.items()}


def _year(found: Reference, slug: str, year: int, window: Window) -> YearUsage:
    months = range(window.first_month, window.last_month + 1)
    documents = _series(found, slug, year, "document_bytes", months)
    sms, emails = (_series(found, slug, year, metric, months) for metric in ("sms_sent", "emails_sent"))
    collabora = _series(found, slug, year, "collabora_users", range(1, 13))
    seen = _series(found, slug, year, "active_users", months)
    return YearUsage(
        instance=slug,
        year=year,
        months=tuple(_month(found, slug, year, month) for month in range(1, 13)),
        distinct_users=len(_people(found, slug, year, months)) if seen else None,
        sms=sum(sms.values()) if sms else None,
        emails=sum(emails.values()) if emails else None,
        document_bytes_total=sum(documents.values()) if documents else None,
        document_days=len(documents),
        document_bytes_peak=max(documents.values(), default=None),
        document_bytes_last=documents[max(documents)] if documents else None,
        collabora_users=collabora[max(collabora)] if collabora else None,
        days_sampled={
            metric: sum(
                window.first_day <= day <= window.last_day for day in _series(found, slug, year, metric, range(1, 13))
            )
            for metric in METRICS
        },
    )


def _month(found: Reference, slug: str, year: int, month: int) -> MonthUsage:
    series = {metric: _series(found, slug, year, metric, range(month, month + 1)) for metric in METRICS}
    users, sms, emails, documents = (
        series[metric] for metric in ("active_users", "sms_sent", "emails_sent", "document_bytes")
    )
    return MonthUsage(
        month=month,
        active_users=len(_people(found, slug, year, range(month, month + 1))) if users else None,
        mean_daily_active=Fraction(sum(users.values()), len(users)) if users else None,
        peak_daily_active=max(users.values(), default=None),
        sms=sum(sms.values()) if sms else None,
        emails=sum(emails.values()) if emails else None,
        mean_document_bytes=Fraction(sum(documents.values()), len(documents)) if documents else None,
        days_sampled=len(set().union(*series.values())),
    )


def _series(found: Reference, slug: str, year: int, metric: str, months: range) -> dict[date, int]:
    return {
        day: value
        for (day, instance, name), value in found.values.items()
        if (instance, name, day.year) == (slug, metric, year) and day.month in months
    }


def _people(found: Reference, slug: str, year: int, months: range) -> set[str]:
    sets = [
        people
        for (day, instance), people in found.users.items()
        if (instance, day.year) == (slug, year) and day.month in months
    ]
    return set().union(*sets)
