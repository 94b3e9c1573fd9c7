"""Forgetting a year on a server: its keys, and everything kept about single people of that year.

What is left are counts. The control machine forgets its part by itself (metering/ledger/forget.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from metering.server.config import Config
from metering.server.errors import MeterError
from metering.server.pseudonyms import destroy_keys
from metering.server.spool import Spool
from metering.server.state import State


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was destroyed: keys, rows about single people in the state, and sample files in the spool."""

    year: int
    keys: int
    rows: int
    files: int


def forget(config: Config, year: int, now: datetime, pulled: bool) -> Forgotten:
    """Destroy the keys of `year`, and all that the state and the spool hold about its people; twice does no harm.

    `pulled` says that the ledger holds what the spool has of that year: it is removed as well. `now` is an aware
    moment.
    MeterError (status 2) when the year is not over, not wholly collected, or still in the spool; (status 1) when it
    cannot be done.
    """
    today = now.astimezone(config.timezone).date()
    if not 1 <= year < today.year:
        raise MeterError(f"YEAR: {year} is not over", f"give a year before {today.year}", status=2)
    if not config.state.is_dir():
        raise MeterError(f"state: there is no directory {config.state}", "nothing was ever collected here", status=2)
    try:
        with State(config.state) as state:
            return _forget(config, state, year, pulled)
    except sqlite3.Error as error:
        raise MeterError(f"state: the database in {config.state} cannot be used: {error}", "run it again") from None
    except OSError as error:
        place = error.filename or config.state
        hint = "part of the year may be there still: correct this and run it again"
        raise MeterError(f"{place}: {error.strerror or 'input/output error'}", hint) from None


def _forget(config: Config, state: State, year: int, pulled: bool) -> Forgotten:
    spool = Spool(config.spool, config.server)
    waiting = spool.of_year(year)
    _require_collected(state, year)
    if waiting and not pulled:
        hint = (
            "run `chill-meter pull` on the control machine, then this command again with --pulled, which removes them"
        )
        raise MeterError(f"{config.spool} still holds {len(waiting)} files of {year}", hint, status=2)
    # First the keys: from then on nothing can be added to what is removed below.
    keys = destroy_keys(config.state / "keys", year)
    rows = _delete_people(state, year)
    spool.remove(waiting)
    return Forgotten(year, keys, rows, len(waiting))


def _require_collected(state: State, year: int) -> None:
    """What was not collected yet could never be: people would be missing from the counts."""
    begun = _begun(state)
    if begun is None or begun.year > year:
        return
    collected = state.collected_days()
    missing = [day for day in _days(max(begun, date(year, 1, 1)), date(year, 12, 31)) if day not in collected]
    if missing:
        hint = f"run `chill-meter collect --since {missing[0]} --until {missing[-1]}` and pull, then this command again"
        raise MeterError(f"{len(missing)} days of {year} were not collected, {missing[0]} first", hint, status=2)


def _begun(state: State) -> date | None:
    """The first day that this server knows anything of; None when it never collected."""
    if not state.collected_days():
        return None
    return state.horizon(min(state.collected_days()))


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _delete_people(state: State, year: int) -> int:
    """Delete the rows about single people: those of every table that has a user, and a day or a year."""
    deleted = 0
    with state.transaction():
        for table, columns in _tables(state):
            if "user" in columns and not columns.isdisjoint(("day", "year")):
                when = "substr(day, 1, 4)" if "day" in columns else "printf('%04d', year)"
                statement = f'DELETE FROM "{table}" WHERE {when} = ?'  # noqa: S608 (names from the schema itself)
                deleted += state.db.execute(statement, (f"{year:04}",)).rowcount
    # Deleted rows are overwritten in the database (secure_delete); a write-ahead log, if there is one, is emptied.
    state.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return deleted


def _tables(state: State) -> list[tuple[str, frozenset[str]]]:
    names = [row[0] for row in state.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [(name, frozenset(row[1] for row in state.db.execute(f'PRAGMA table_info("{name}")'))) for name in names]
