"""Forgetting a year in the ledger: what tells one person from another goes, its counts stay.

    forgotten/<YEAR>.<when>.counts.csv     beside the ledger: `period,instance,metric,value`

`period` is a day (2025-03-04), and for `active_users` also a month (2025-03) and the year (2025): distinct people. The
year's directory then leaves the ledger: its samples without its people would contradict themselves. Why so:
docs/decisions/0015-people-and-providers.md.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from metering.ledger.files import locked
from metering.ledger.store import Ledger, open_ledger
from metering.samples import compact_time
from provision.errors import ChillError, InvalidFiles, RequestError
from provision.fleet import Fleet

HEADER = ("period", "instance", "metric", "value")


@dataclass(frozen=True, slots=True)
class LedgerForgotten:
    """Where a year's counts are now, and how many people and instances (person and year) were forgotten."""

    year: int
    counts: Path | None
    people: int


def forget(fleet: Fleet, year: int, now: datetime) -> LedgerForgotten:
    """Keep the counts of a closed year, and remove its directory from the ledger. Running it twice is fine.

    RequestError when the year is not closed, InvalidFiles when its files break the format; nothing is changed then.
    ChillError when writing fails. A run that was interrupted can be run again: nothing is removed before its counts are
    on the disk.
    """
    closed = fleet.directory / "closed" / f"{year:04d}" / "manifest.json"
    if not closed.is_file():
        hint = f"first: chill-report close {year}; after this, its papers can no longer be made from the ledger"
        raise RequestError(f"YEAR: {year} is not closed: there is no {closed.relative_to(fleet.directory)}", hint)
    with locked(fleet.ledger):
        directory = fleet.ledger / f"{year:04d}"
        # What an interrupted run had put aside already.
        aside = fleet.ledger / f".forgotten-{year:04d}"
        shutil.rmtree(aside, ignore_errors=True)
        if not directory.exists():
            return LedgerForgotten(year, None, 0)
        ledger = open_ledger(fleet.ledger, [year])
        problems = ledger.problems()
        if problems:
            raise InvalidFiles(problems, "nothing is forgotten until this is put right")
        counts, people = _keep_counts(ledger, fleet.directory / "forgotten", year, now)
        del ledger
        directory.rename(aside)
        _sync(fleet.ledger)
        shutil.rmtree(aside)
    return LedgerForgotten(year, counts, people)


def _keep_counts(ledger: Ledger, place: Path, year: int, now: datetime) -> tuple[Path, int]:
    """Write the counts whole or not at all; the same ones are not written twice."""
    name = f"{year:04d}.{compact_time(now.astimezone(UTC))}.counts.csv"
    beside = place / f".{name}"
    try:
        place.mkdir(exist_ok=True)
        with beside.open("w", encoding="utf-8", newline="") as stream:
            people = _write_counts(stream, ledger, year)
            stream.flush()
            os.fsync(stream.fileno())
        for earlier in sorted(place.glob(f"{year:04d}.*.counts.csv")):
            if earlier.read_bytes() == beside.read_bytes():
                return earlier, people
        if (place / name).exists():
            raise ChillError(f"{place / name}: is there already", "run the command again in a second")
        beside.rename(place / name)
        _sync(place)
        return place / name, people
    finally:
        beside.unlink(missing_ok=True)


def _write_counts(stream: TextIO, ledger: Ledger, year: int) -> int:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(HEADER)
    samples = ledger.samples
    # Month by month: a year of a large fleet does not fit into memory as Python values.
    for month in range(1, 13):
        chosen = samples.filter(samples.day.month() == month).order_by(["day", "instance", "metric"])
        rows.writerows((row["day"], row["instance"], row["metric"], int(row["value"])) for row in ledger.fetch(chosen))
    rows.writerows(_people_by_month(ledger, year))
    by_year = _people_by_year(ledger)
    rows.writerows((f"{year:04d}", instance, "active_users", people) for instance, people in by_year)
    return sum(people for _, people in by_year)


def _people_by_month(ledger: Ledger, year: int) -> Iterator[tuple[str, str, str, int]]:
    users = ledger.users.mutate(month=ledger.users.day.month())
    counted = users.group_by(["month", "instance"]).agg(people=users.user.nunique())
    for row in ledger.fetch(counted.order_by(["month", "instance"])):
        yield f"{year:04d}-{row['month']:02d}", row["instance"], "active_users", int(row["people"])


def _people_by_year(ledger: Ledger) -> list[tuple[str, int]]:
    users = ledger.users
    counted = users.group_by("instance").agg(people=users.user.nunique()).order_by("instance")
    return [(row["instance"], int(row["people"])) for row in ledger.fetch(counted)]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
