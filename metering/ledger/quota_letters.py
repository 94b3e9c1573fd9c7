"""Tells a configured address when an instance reaches a mark of a quota: a letter per instance, metric, year and mark.

What was told stands in `journal/quotas/<year>.jsonl`, one JSON object a line, append-only: `time` (UTC), `instance`,
`metric`, `year`, `mark` (percent), `used`, `included`, `message_id`. A line is written when the mail server has taken
the letter. A run that is killed between the two sends the letter again, with the same Message-ID: rather twice, and
recognisable, than never.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TextIO

from metering.ledger.quota import MARKS, Quota, fleet_quotas
from metering.ledger.quota_words import WORDS, amount
from metering.samples import iso_time
from provision.errors import ChillError, InvalidFiles, Problem
from provision.fleet import Fleet
from provision.mail import read_password, send

DIRECTORY = "quotas"
# For so long into a year, samples of the year before may still come.
LATE_DAYS = 31


@dataclass(frozen=True, slots=True)
class Crossing:
    """A mark (percent) that a quota has reached and that nobody was told of yet, with lower ones in the same case."""

    quota: Quota
    mark: int
    lower: Sequence[int]

    @property
    def marks(self) -> Sequence[int]:
        return (*self.lower, self.mark)


@dataclass(frozen=True, slots=True)
class Told:
    """The crossings that were told, and why the others were not: empty when all were."""

    crossings: Sequence[Crossing]
    failure: str = ""
    hint: str = ""


def crossings(quotas: Iterable[Quota], told: Iterable[tuple[str, str, int, int]]) -> Iterator[Crossing]:
    """What is to be told; `told`: (instance, metric, year, mark) of what was. Marks reached at once are one letter."""
    known = set(told)
    for quota in quotas:
        new = [mark for mark in quota.marks if (quota.instance, quota.metric, quota.year, mark) not in known]
        # Whoever was told of all of it needs no letter about a part of it: a quota may have grown since.
        if new and new[-1] == quota.marks[-1]:
            yield Crossing(quota, new[-1], new[:-1])


def tell_all(fleet: Fleet, today: date, now: datetime) -> Told:
    """Send every letter that is due. `today` in the fleet's time zone: in January, the year before is looked at as
    well, because its last samples may come late. What goes wrong is in the result.
    """
    sent: list[Crossing] = []
    try:
        yesterday = today - timedelta(days=1)
        before = date(yesterday.year - 1, 12, 31)
        for until in (before, yesterday) if (today - before).days <= LATE_DAYS else (yesterday,):
            quotas, problems = fleet_quotas(fleet, until)
            if problems:
                raise InvalidFiles(problems)
            told = tell(fleet, until.year, quotas.values(), now)
            sent += told.crossings
            if told.failure:
                return Told(sent, told.failure, told.hint)
    except ChillError as error:
        return Told(sent, error.message, error.hint)
    return Told(sent)


def tell(fleet: Fleet, year: int, quotas: Iterable[Quota], now: datetime) -> Told:
    """Send the letters that are due to `metering.quota_mail_to`, and note each. The first that fails ends it: the rest
    is due again at the next run.

    ChillError when another run is at it, or the notes cannot be written; InvalidFiles when they cannot be read.
    """
    sent: list[Crossing] = []
    with _notes(fleet.journal / DIRECTORY / f"{year:04d}.jsonl") as notes:
        for crossing in crossings(quotas, _read(notes)):
            message = letter(fleet, crossing, now)
            password_file = fleet.path(fleet.settings.mail.password_file)
            try:
                send(message, fleet.settings.mail, lambda: read_password(password_file))  # noqa: B023 (called at once)
            except ChillError as error:
                hint = "see chill.toml: metering.quota_mail_to, and the section mail; it is tried again at the next run"
                return Told(sent, f"a letter about a quota was not sent: {error.message}", hint)
            _note(notes, crossing, message["Message-ID"], now)
            sent.append(crossing)
    return Told(sent)


def letter(fleet: Fleet, crossing: Crossing, now: datetime) -> EmailMessage:
    """The letter about one crossing, in the fleet's language. Its Message-ID is the same whenever it is made."""
    quota, settings = crossing.quota, fleet.settings
    words = WORDS[settings.language]
    values = {
        "slug": quota.instance,
        "client": fleet.instances[quota.instance].client,
        "what": words.metrics[quota.metric],
        "year": quota.year,
        "mark": crossing.mark,
        "percent": quota.percent,
        "used": amount(quota.used or 0, quota.metric, settings.language),
        "included": amount(quota.included, quota.metric, settings.language),
        "next": words.exceeded if crossing.mark >= MARKS[-1] else words.near,
    }
    message = EmailMessage()
    message["From"] = settings.mail.sender
    message["To"] = settings.metering.quota_mail_to
    message["Subject"] = words.subject.format(**values)
    message["Date"] = format_datetime(now.astimezone(UTC))
    name = f"quota.{quota.year}.{quota.instance}.{quota.metric}.{crossing.mark}"
    message["Message-ID"] = f"<{name}@{settings.domain}>"
    # No holiday notice comes back (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(words.body.format(**values), cte="quoted-printable")
    return message


@contextmanager
def _notes(path: Path) -> Iterator[TextIO]:
    """The file of what was told, open for reading and appending, for one run at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield stream
    except BlockingIOError:
        raise ChillError("another command is sending the letters about quotas", "wait until it has ended") from None
    except OSError as error:
        raise ChillError(
            f"{path}: cannot be written: {error.strerror}", "the letters are sent at the next run"
        ) from None


def _read(notes: TextIO) -> list[tuple[str, str, int, int]]:
    notes.seek(0)
    lines = notes.readlines()
    if lines and not lines[-1].endswith("\n"):
        # The note of a run that was killed while it wrote: the letter goes out again.
        notes.truncate(sum(len(line.encode()) for line in lines[:-1]))
        lines.pop()
    return [_parsed(line, f"journal/{DIRECTORY}/{Path(notes.name).name}:{n}") for n, line in enumerate(lines, start=1)]


def _parsed(line: str, place: str) -> tuple[str, str, int, int]:
    try:
        note: Mapping[str, Any] = json.loads(line)
        return str(note["instance"]), str(note["metric"]), int(note["year"]), int(note["mark"])
    except (ValueError, KeyError, TypeError):
        hint = "restore the line from the fleet's history; no letter is sent as long as it is not known which were"
        raise InvalidFiles([Problem(place, "is not a note about a letter", hint)]) from None


def _note(notes: TextIO, crossing: Crossing, message_id: str, now: datetime) -> None:
    for mark in crossing.marks:
        note = {
            "time": iso_time(now),
            "instance": crossing.quota.instance,
            "metric": crossing.quota.metric,
            "year": crossing.quota.year,
            "mark": mark,
            "used": crossing.quota.used,
            "included": crossing.quota.included,
            "message_id": message_id,
        }
        notes.write(f"{json.dumps(note)}\n")
    notes.flush()
    os.fsync(notes.fileno())
