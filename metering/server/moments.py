"""Time stamps of log lines become days of the fleet's time zone.

Two forms are read: RFC 3339 with an offset (`2026-01-20T19:48:07.123456+01:00`; without an offset it is local
time), and the traditional one of syslog (`Jan 20 19:48:07`, RFC 3164), which is local time and names no year.
"""

from __future__ import annotations

import re
from calendar import isleap
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_OFFSET = re.compile(rb"([+-])(\d\d):?(\d\d)")


class Moment(NamedTuple):
    """A local day (2026-11-23), and the minutes since 1970 in UTC."""

    day: str
    minute: int


class Moments:
    """Reads time stamps; remembers the minutes it has seen, because a log repeats them thousands of times."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._seen: dict[bytes, Moment] = {}

    def dated(self, minute: bytes, offset: bytes) -> Moment | None:
        """A stamp with a year: its first 16 characters, and its offset (`Z`, `+01:00`, or empty: local time).

        None when it is no date.
        """
        key = minute + offset
        known = self._seen.get(key)
        if known is None:
            try:
                moment = datetime.fromisoformat(minute.decode("ascii", "replace")).replace(tzinfo=self._offset(offset))
            except ValueError:
                return None
            known = self._remember(key, moment)
        return known

    def undated(self, minute: bytes, year: int) -> Moment | None:
        """A stamp without a year: its first 12 characters (`Jan 20 19:48`). None when it is no date in that
        year.
        """
        key = b"%d " % year + minute
        known = self._seen.get(key)
        if known is None:
            try:
                moment = datetime(
                    year,
                    MONTHS[minute[:3]],
                    int(minute[4:6]),
                    int(minute[7:9]),
                    int(minute[10:12]),
                    tzinfo=self._zone,
                )
            except (ValueError, KeyError):
                return None
            known = self._remember(key, moment)
        return known

    def _remember(self, key: bytes, moment: datetime) -> Moment:
        if len(self._seen) > 20_000:
            self._seen.clear()
        day = moment.astimezone(self._zone).date().isoformat()
        known = self._seen[key] = Moment(day, int(moment.timestamp()) // 60)
        return known

    def _offset(self, text: bytes) -> timezone | ZoneInfo:
        if text in (b"Z", b"z"):
            return UTC
        match = _OFFSET.fullmatch(text)
        if not match:
            return self._zone
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=-minutes if match[1] == b"-" else minutes))


class Years:
    """Gives years to stamps without one, within one log, from the order of its lines.

    The first line's year is the latest in which it is not after the file's own date: a log of last December
    that is read in January belongs to last year. A log without years must not span more than a year.
    """

    def __init__(self, context: str, reference: date) -> None:
        self._reference = reference
        self._year, self._month, self._day = 0, 0, 0
        if context:
            self._year, self._month, self._day = (int(part) for part in context.split("-"))

    @property
    def context(self) -> str:
        """What must be remembered to go on with the same log later."""
        return f"{self._year}-{self._month}-{self._day}" if self._year else ""

    def of(self, stamp: bytes) -> int:
        """The year of the next line, whose stamp is `Jan 20 …`; 0 when that is no date.

        Not every line needs to be told: what comes out is the same.
        """
        month, digits = MONTHS.get(stamp[:3], 0), stamp[4:6].strip()
        if not month or not digits.isdigit():
            return 0
        day = int(digits)
        if not self._year:
            self._year = self._first_year(month, day)
        elif self._day == 1 and day >= 28 and month == (self._month - 2) % 12 + 1:
            # A line of the last day of a month written just after one of the first of the next: several processes
            # share a log.
            return self._year - 1 if month == 12 else self._year
        elif month < self._month:
            self._year += 1
        self._month, self._day = month, day
        return self._year

    def _first_year(self, month: int, day: int) -> int:
        latest = self._reference + timedelta(days=1)
        year = latest.year - 1 if (month, day) > (latest.month, latest.day) else latest.year
        while (month, day) == (2, 29) and not isleap(year):
            year -= 1
        return year
