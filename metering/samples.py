"""What a sample is, and its CSV form: the one thing servers and the control machine share.

Format: `samples.csv` and `users.csv` of the ledger (docs/ledger-format.md): UTF-8, comma, `\\n`, a header row.
Only the standard library is used here, because this module travels to servers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final, Literal, TextIO

Status = Literal["ok", "failed"]
FileKind = Literal["samples", "users"]

# Every metric with its unit, in the order in which papers show them.
METRICS: Final[dict[str, str]] = {
    "active_users": "users",
    "sms_sent": "messages",
    "emails_sent": "recipients",
    "document_bytes": "bytes",
    "collabora_users": "users",
}
SAMPLES_HEADER: Final = ("day", "instance", "metric", "value", "status", "source", "collected_at", "note")
USERS_HEADER: Final = ("day", "instance", "user")
# The source (and the server part of the file name) of a sample recorded by hand.
MANUAL: Final = "manual"

_FILE_NAME = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})\.(?P<server>[A-Za-z0-9][A-Za-z0-9.-]*)\.(?P<at>\d{8}T\d{6}Z)\.(?P<kind>samples|users)\.csv"
)
# Year, month, day, hour, minute, second in a compact time.
_TIME_PARTS: Final = (slice(0, 4), slice(4, 6), slice(6, 8), slice(9, 11), slice(11, 13), slice(13, 15))


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric, of one instance, on one day of the fleet's time zone, from one source.

    `value` is a whole number in the metric's unit, None unless `status` is "ok". 0 is a sample; nothing is a gap.
    `collected_at` is in UTC, to the second. `note` says why a sample failed; never anything about a person.
    """

    day: date
    instance: str
    metric: str
    value: int | None
    status: Status
    source: str
    collected_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class ActiveUser:
    """One active user on one day. `user` is a pseudonym: 16 hex digits, keyed per instance and year."""

    day: date
    instance: str
    user: str


@dataclass(frozen=True, slots=True)
class FileName:
    """The parts of the name of a samples or users file."""

    day: date
    server: str
    collected_at: datetime
    kind: FileKind

    def __str__(self) -> str:
        return f"{self.day.isoformat()}.{self.server}.{compact_time(self.collected_at)}.{self.kind}.csv"

    @classmethod
    def parse(cls, name: str) -> FileName | None:
        """The parts of `name`, or None when it is not the name of a samples or users file."""
        match = _FILE_NAME.fullmatch(name)
        if not match:
            return None
        try:
            day = date.fromisoformat(match["day"])
            # Ledgers have tens of thousands of files a year, and strptime takes ten times as long.
            year, month, day_of_month, hour, minute, second = (int(match["at"][part]) for part in _TIME_PARTS)
            collected_at = datetime(year, month, day_of_month, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return None
        return cls(day, match["server"], collected_at, "samples" if match["kind"] == "samples" else "users")


def compact_time(moment: datetime) -> str:
    """A UTC moment as it stands in file names: 20261123T001500Z."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def iso_time(moment: datetime) -> str:
    """A UTC moment as it stands in cells: 2026-11-23T00:15:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# All rows of a run carry the same moment.
@lru_cache(maxsize=1024)
def parse_iso_time(text: str) -> datetime:
    """The inverse of `iso_time`; ValueError when `text` is anything else."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def write_samples(stream: TextIO, samples: Iterable[Sample]) -> None:
    """Write a samples file, header included. Open the stream with `newline=""`."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(SAMPLES_HEADER)
    for s in samples:
        value = "" if s.value is None else str(s.value)
        rows.writerow(
            (s.day.isoformat(), s.instance, s.metric, value, s.status, s.source, iso_time(s.collected_at), s.note)
        )


def write_users(stream: TextIO, users: Iterable[ActiveUser]) -> None:
    """Write a users file, header included. Open the stream with `newline=""`."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(USERS_HEADER)
    rows.writerows((user.day.isoformat(), user.instance, user.user) for user in users)


def parse_sample(cells: dict[str, str]) -> Sample:
    """A sample from the cells of one row, by column name. ValueError names the cell at fault."""
    metric, status, value = cells["metric"], cells["status"], cells["value"]
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(METRICS)}")
    if status not in ("ok", "failed"):
        raise ValueError(f"status is {status!r}, expected ok or failed")
    if status == "ok" and not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise ValueError(f"value is {value!r}, expected a whole number, 0 or more")
    if status == "failed" and value:
        raise ValueError(f"value is {value!r}, expected nothing in a failed sample")
    try:
        day = date.fromisoformat(cells["day"])
    except ValueError:
        raise ValueError(f"day is {cells['day']!r}, expected a date such as 2026-11-23") from None
    try:
        collected_at = parse_iso_time(cells["collected_at"])
    except ValueError:
        raise ValueError(f"collected_at is {cells['collected_at']!r}, expected 2026-11-23T00:15:00Z") from None
    return Sample(
        day=day,
        instance=cells["instance"],
        metric=metric,
        value=int(value) if status == "ok" else None,
        status="ok" if status == "ok" else "failed",
        source=cells["source"],
        collected_at=collected_at,
        note=cells["note"],
    )
