"""What a server remembers between two runs: one SQLite database under `state`, and the lock of the run.

What was counted and how far the logs were read stand in the same database, so that both are committed
together: a run that is killed at any instant counts nothing twice and forgets nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal

from metering.samples import iso_time, parse_iso_time
from metering.server.state_files import make_private, open_database, take_lock

Status = Literal["ok", "failed"]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which value is meant: one metric of one instance on one day."""

    day: date
    instance: str
    metric: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was last written about a key.

    `basis` is how much the logs had said by then; `final`: no use trying again.
    """

    status: Status
    value: int | None
    final: bool
    basis: int


class State:
    """The state of one server, locked for one run. Use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.db: sqlite3.Connection
        self._lock = -1

    def __enter__(self) -> State:
        make_private(self.directory)
        self._lock = take_lock(self.directory / "lock")
        try:
            self.db = open_database(self.directory / "state.sqlite")
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def reserve(self, now: datetime) -> datetime:
        """The `collected_at` of this run: now, or one second after the last one when the clock stands or
        jumped back.
        """
        moment = now.astimezone(UTC).replace(microsecond=0)
        with self.transaction():
            row = self.db.execute("SELECT value FROM meta WHERE key = 'collected_at'").fetchone()
            if row:
                moment = max(moment, parse_iso_time(row[0]) + timedelta(seconds=1))
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('collected_at', ?)", (iso_time(moment),))
        return moment

    def horizon(self, first_day: date) -> date:
        """The first day this server knows anything of: `first_day` of the first run, or the oldest line ever
        read.
        """
        with self.transaction():
            self.db.execute("INSERT OR IGNORE INTO meta VALUES ('begun', ?)", (first_day.isoformat(),))
        rows = self.db.execute(
            "SELECT value FROM meta WHERE key = 'begun'"
            " UNION ALL SELECT first_day FROM sources WHERE first_day IS NOT NULL"
        )
        return min(date.fromisoformat(row[0]) for row in rows)

    def first_day(self, source: str) -> tuple[date | None, bool]:
        """The day of the oldest line ever read in a source, and whether the source's older logs are thrown
        away.
        """
        row = self.db.execute("SELECT first_day, rotated FROM sources WHERE source = ?", (source,)).fetchone()
        if not row:
            return None, False
        return (date.fromisoformat(row[0]) if row[0] else None), bool(row[1])

    def note_source(self, source: str, first_day: str | None, rotated: bool) -> None:
        """Remember the oldest line seen in a source; part of the transaction under way."""
        self.db.execute(
            "INSERT INTO sources VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE SET"
            " first_day = min(coalesce(first_day, excluded.first_day),"
            " coalesce(excluded.first_day, first_day)),"
            " rotated = max(rotated, excluded.rotated)",
            (source, first_day, rotated),
        )

    def knows_files(self, source: str) -> bool:
        """Whether log files of a source were ever read."""
        return self.db.execute("SELECT 1 FROM files WHERE source = ? LIMIT 1", (source,)).fetchone() is not None

    def value(self, name: str) -> str:
        """What was remembered under a name; empty when nothing was."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_value(self, name: str, value: str) -> None:
        """Remember something under a name; part of the transaction under way."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def first_time(self, signature: str) -> bool:
        """Whether a damaged file is told of for the first time; always, when the signature is empty."""
        if not signature:
            return True
        return self.db.execute("INSERT OR IGNORE INTO told VALUES (?)", (signature,)).rowcount > 0

    def add_count(self, day: str, instance: str, metric: str, number: int) -> None:
        """Add to what the logs say; part of the transaction under way."""
        self.db.execute(
            "INSERT INTO counts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            (day, instance, metric, number),
        )

    def count(self, key: Key) -> int:
        """What the logs said so far."""
        row = self.db.execute(
            "SELECT value FROM counts WHERE day = ? AND instance = ? AND metric = ?", _cells(key)
        ).fetchone()
        return int(row[0]) if row else 0

    def add_login(self, day: str, instance: str, digest: str) -> None:
        """Remember that somebody logged in; part of the transaction under way."""
        self.db.execute("INSERT OR IGNORE INTO logins VALUES (?, ?, ?)", (day, instance, digest))

    def logins(self, day: date, instance: str) -> frozenset[str]:
        """Who logged in, as keyed digests."""
        rows = self.db.execute("SELECT user FROM logins WHERE day = ? AND instance = ?", (day.isoformat(), instance))
        return frozenset(row[0] for row in rows)

    def add_editor(self, day: str, instance: str, digest: str) -> None:
        """Remember that somebody opened a document with Collabora; part of the transaction under way.

        Who is new in that year raises the count of the day and of all days after it until the end of the year; so the
        count of a day is that of the distinct people of the year so far.
        """
        year = day[:4]
        row = self.db.execute(
            "SELECT first_day FROM editors WHERE year = ? AND instance = ? AND user = ?", (year, instance, digest)
        ).fetchone()
        end = date.fromisoformat(row[0]) if row else date(int(year), 12, 31) + timedelta(days=1)
        first = date.fromisoformat(day)
        if first < end:
            self.db.execute("INSERT OR REPLACE INTO editors VALUES (?, ?, ?, ?)", (year, instance, digest, day))
            for number in range(first.toordinal(), end.toordinal()):
                self.add_count(date.fromordinal(number).isoformat(), instance, "collabora_users", 1)

    def basis(self, key: Key) -> int:
        """How much the logs say by now about a key: what was counted, or how many logged in."""
        return len(self.logins(key.day, key.instance)) if key.metric == "active_users" else self.count(key)

    def active(self, day: date, instance: str) -> frozenset[str]:
        """The pseudonyms last written for a day."""
        rows = self.db.execute("SELECT user FROM active WHERE day = ? AND instance = ?", (day.isoformat(), instance))
        return frozenset(row[0] for row in rows)

    def collected_days(self) -> frozenset[date]:
        """The complete days that were written."""
        return frozenset(date.fromisoformat(row[0]) for row in self.db.execute("SELECT day FROM days"))

    def written(self, key: Key) -> Written | None:
        """What was last written about a key."""
        row = self.db.execute(
            "SELECT status, value, final, basis FROM written WHERE day = ? AND instance = ? AND metric = ?",
            _cells(key),
        ).fetchone()
        return Written(row[0], row[1], bool(row[2]), row[3]) if row else None

    def changed(self) -> frozenset[Key]:
        """The values of written days about which the logs say something else than when they were written."""
        return _keys(
            self.db.execute(
                "SELECT now.day, now.instance, now.metric FROM"
                " (SELECT day, instance, metric, value FROM counts UNION ALL"
                "  SELECT day, instance, 'active_users', count(*) FROM logins GROUP BY day, instance) AS now"
                " JOIN days USING (day) LEFT JOIN written AS old USING (day, instance, metric)"
                " WHERE old.status IS NULL OR (old.status = 'ok' AND old.basis <> now.value)"
            )
        )

    def failed(self, since: date) -> frozenset[Key]:
        """The values of written days, from `since` on, that failed and may succeed yet."""
        return _keys(
            self.db.execute(
                "SELECT day, instance, metric FROM written JOIN days USING (day)"
                " WHERE status = 'failed' AND NOT final AND day >= ?",
                (since.isoformat(),),
            )
        )

    def note_written(self, key: Key, written: Written, users: frozenset[str]) -> None:
        """Remember what a sample file says; part of the transaction under way."""
        values = (*_cells(key), written.status, written.value, written.final, written.basis)
        self.db.execute("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        if key.metric == "active_users" and written.status == "ok":
            place = (key.day.isoformat(), key.instance)
            self.db.execute("DELETE FROM active WHERE day = ? AND instance = ?", place)
            self.db.executemany("INSERT INTO active VALUES (?, ?, ?)", [(*place, user) for user in users])

    def note_day(self, day: date) -> None:
        """Remember that a complete day was written; part of the transaction under way."""
        self.db.execute("INSERT OR IGNORE INTO days VALUES (?)", (day.isoformat(),))


def _keys(rows: Iterable[tuple[str, str, str]]) -> frozenset[Key]:
    return frozenset(Key(date.fromisoformat(day), instance, metric) for day, instance, metric in rows)


def _cells(key: Key) -> tuple[str, str, str]:
    return key.day.isoformat(), key.instance, key.metric
