"""Runs on the lab server: plays the past day by day, and collects after each day as the nightly job would have.

The activity comes from year.py, copied beside this file. What is called each night is the installed meter itself; only
its clock is given, since a year of nights cannot be waited for. Each night's measuring is done as the user chill-meter.

    /usr/bin/python3 nights.py history FIRST LAST    who wrote what, into the database
    /usr/bin/python3 nights.py nights FIRST LAST     logs, documents and counting; prints the number of samples written

FIRST and LAST are days, both included.
"""

from __future__ import annotations

import gzip
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path

import year  # type: ignore[import-not-found]  # copied beside this file on the server

METER = "/usr/local/bin/chill-meter"
sys.path.insert(0, METER)

from metering.server.collect import collect  # noqa: E402
from metering.server.config import DEFAULT_PATH, load_config  # noqa: E402

INSTANCE = "acme"
USER = pwd.getpwnam("chill-acme")


@contextmanager
def collector() -> Iterator[None]:
    """Be chill-meter for a while: to files, and to PostgreSQL, which asks the kernel who is calling."""
    meter = pwd.getpwnam("chill-meter")
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(meter.pw_name, meter.pw_gid))
    os.setegid(meter.pw_gid)
    os.seteuid(meter.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def write_history(days: list[year.Day]) -> None:
    """People, and what they wrote, into the application's database, as its own user."""
    names = (*year.TEAM, year.SUPPORT)
    users = ",".join(f"('{name}', '{name}', '{name}@acme.example', '{name}@acme.example')" for name in names)
    notes = ",".join(
        f"('{name}', timestamp '{day.day} {9 + index % 8:02}:30')"
        for day in days
        for index, name in enumerate(day.writers)
    )
    script = f"""
        BEGIN;
        INSERT INTO users (username, usernameCanonical, email, emailCanonical) VALUES {users};
        INSERT INTO chill_person_person (firstName, lastName) VALUES ('Pretended', 'Person');
        INSERT INTO chill_person_accompanying_period (person_id, openingDate)
            SELECT max(id), '{days[0].day}' FROM chill_person_person;
        INSERT INTO chill_person_accompanying_period_comment (accompanyingPeriod_id, content, createdBy_id, createdAt)
            SELECT (SELECT max(id) FROM chill_person_accompanying_period), 'a pretended note', u.id, played.at
            FROM (VALUES {notes}) AS played (name, at) JOIN users u ON u.username = played.name;
        COMMIT;
    """
    command = ["runuser", "-u", USER.pw_name, "--", "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "chill_acme"]
    subprocess.run(command, input=script, text=True, check=True, cwd="/")


class Log:
    """A log that is rotated each month and compressed, under names that its glob finds, as readable as the live one."""

    def __init__(self, live: Path) -> None:
        self._live = live
        self._status = live.stat()

    def add(self, day: date, lines: Iterator[str]) -> None:
        path = self._live.with_name(f"{self._live.name}-{day:%Y%m}")
        if day.day == 1:
            self._compress(self._live.with_name(f"{self._live.name}-{day - timedelta(days=1):%Y%m}"))
        with path.open("a", encoding="utf-8") as log:
            log.writelines(f"{line}\n" for line in lines)
        self._give(path)

    def _compress(self, path: Path) -> None:
        if path.exists():
            packed = path.with_name(f"{path.name}.gz")
            with path.open("rb") as source, gzip.open(packed, "wb") as target:
                shutil.copyfileobj(source, target)
            self._give(packed)
            path.unlink()

    def _give(self, path: Path) -> None:
        os.chown(path, self._status.st_uid, self._status.st_gid)
        path.chmod(0o640)


def play_nights(first: date, last: date) -> None:
    """Day by day: what the day leaves in logs and documents, then the count of the night after it."""
    config = load_config(DEFAULT_PATH)
    instance = config.instances[INSTANCE]
    documents = instance.documents[0]
    application_log = Path(instance.logs[0].rstrip("*"))
    app, mail = Log(application_log), Log(Path("/var/log/mail.log"))
    rows = 0
    for day in year.play(first, last):
        app.add(day.day, year.monolog_lines([day], config.timezone))
        mail.add(day.day, year.postfix_lines([day], config.timezone, USER.pw_uid, config.server))
        store(documents, day)
        with collector():
            night = datetime.combine(day.day + timedelta(days=1), time(0, 15), config.timezone)
            outcome = collect(config, None, None, night, lambda _line: None)
        for key, reason in outcome.failures:
            print(f"{key}: {reason}", file=sys.stderr)
        rows += outcome.rows
    print(rows)


def store(documents: Path, day: year.Day) -> None:
    """A document of the day's size; sparse, as only its size is of interest."""
    if day.stored:
        path = documents / f"{day.day}.bin"
        with path.open("wb") as document:
            document.truncate(day.stored)
        os.chown(path, USER.pw_uid, documents.stat().st_gid)
        path.chmod(0o640)


if __name__ == "__main__":
    days = date.fromisoformat(sys.argv[2]), date.fromisoformat(sys.argv[3])
    if sys.argv[1] == "history":
        write_history(year.play(*days))
    else:
        play_nights(*days)
