"""Ledgers and fleets for tests: files as servers write them, and what the ledger makes of them as text."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from metering.ledger.files import list_files
from metering.ledger.rows import pair_problems, read_samples, read_users
from metering.ledger.store import Ledger, open_ledger
from metering.samples import SAMPLES_HEADER, USERS_HEADER
from provision.errors import Problem
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from tests.unit.provision.fleets import add_instance, make_fleet

SERVER = "srv1.example.net"


def pseudonym(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()[:16]


def cell_time(at: str) -> str:
    """20260102T001500Z as it stands in cells."""
    return f"{at[:4]}-{at[4:6]}-{at[6:11]}:{at[11:13]}:{at[13:15]}Z"


def write_run(
    directory: Path,
    day: str,
    at: str,
    values: Mapping[tuple[str, str], int | None],
    people: Mapping[str, Sequence[str]] | None = None,
    server: str = SERVER,
    notes: Mapping[tuple[str, str], str] | None = None,
) -> tuple[Path, Path | None]:
    """One run's files in `directory`: values by (instance, metric), None for a failed one; people by instance."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [",".join(SAMPLES_HEADER)]
    for (instance, metric), value in values.items():
        status = "failed" if value is None else "ok"
        number = "" if value is None else value
        note = (notes or {}).get((instance, metric), "")
        rows.append(f"{day},{instance},{metric},{number},{status},{server},{cell_time(at)},{note}")
    samples = directory / f"{day}.{server}.{at}.samples.csv"
    samples.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="")
    if people is None:
        return samples, None
    lines = [",".join(USERS_HEADER)]
    lines += [f"{day},{instance},{user}" for instance, users in people.items() for user in users]
    users = directory / f"{day}.{server}.{at}.users.csv"
    users.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return samples, users


def write_days(
    ledger: Path, days: Iterable[date], value: int | None = 1, metric: str = "sms_sent", hour: int = 0
) -> None:
    """One run per day, in the night after it, with one sample of acme; None for a failed one."""
    for day in days:
        at = (day + timedelta(days=1)).strftime(f"%Y%m%dT{hour:02d}1500Z")
        note = {("acme", metric): "the database did not answer"} if value is None else None
        write_run(ledger / str(day.year), day.isoformat(), at, {("acme", metric): value}, notes=note)


def march(*days: int) -> list[date]:
    """These days of March 2026, which is when the contracts of `make_ledger_fleet` start."""
    return [date(2026, 3, day) for day in days]


def make_ledger_fleet(directory: Path, slugs: Iterable[str] = ("acme",)) -> Fleet:
    """A loaded fleet whose contracts start on 1 March 2026, with an empty ledger."""
    make_fleet(directory)
    for slug in slugs:
        add_instance(directory, slug)
    return load_fleet(directory)


def problems_of(ledger: Path, known: Collection[str] | None = None) -> list[str]:
    """The problems as `place: message`, without their hints."""
    return [f"{problem.place}: {problem.message}" for problem in open_ledger(ledger).problems(known)]


def samples_of(ledger: Ledger) -> list[tuple[date, str, str, int]]:
    rows = ledger.fetch(ledger.samples.order_by(["day", "instance", "metric"]))
    return [(row["day"], row["instance"], row["metric"], int(row["value"])) for row in rows]


def users_of(ledger: Ledger) -> list[tuple[date, str, str]]:
    rows = ledger.fetch(ledger.users.order_by(["day", "instance", "user"]))
    return [(row["day"], row["instance"], row["user"]) for row in rows]


def line_by_line(directory: Path) -> list[Problem]:
    """The problems of a ledger, file after file as `chill-meter pull` checks them."""
    files = list_files(directory)[0]
    users = {file.run: read_users(file) for file in files if file.name.kind == "users"}
    problems = [problem for file in users.values() for problem in file.problems]
    for file in files:
        if file.name.kind == "samples":
            samples = read_samples(file)
            problems += samples.problems
            if not problems:
                problems += pair_problems(samples, users.get(file.run))
    return problems
