"""What names of a ledger's files tell is wrong: the checks of `check.py` that look at no row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.ledger.findings import Finding, Subject
from metering.ledger.forgotten import forgotten_years
from metering.ledger.months import file_digest
from metering.samples import MANUAL, FileName, iso_time
from provision.errors import Problem

# Clocks of servers are not exact.
TOLERANCE = timedelta(hours=1)
_GENUINE = "find out which of the two is genuine, and move the other out of the ledger"
_HISTORY = "bring it back from the fleet's history or a backup; chill-report audit says what else differs"
_CLOCK = "see the clock of that server; move the file out of the ledger and collect the day again"


def future_days(subject: Subject) -> Iterator[Finding]:
    """Days that have not begun, and files collected later than now, or before their day."""
    today = subject.now.astimezone(subject.zone).date()
    for place, name in subject.names():
        if name.day > today:
            yield Finding("error", Problem(place, f"is of {name.day}, a day that has not begun", _CLOCK))
        elif name.collected_at > subject.now + TOLERANCE:
            when = iso_time(name.collected_at)
            yield Finding("error", Problem(place, f"was collected at {when}, which is yet to come", _CLOCK))
        elif name.server != MANUAL and name.collected_at < _beginning(name.day, subject.zone) - TOLERANCE:
            when = iso_time(name.collected_at)
            yield Finding("error", Problem(place, f"was collected at {when}, before its day began", _CLOCK))


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def kept_files(subject: Subject) -> Iterator[Finding]:
    """CSV files that lie beside the compacted month that holds their rows: they are what was compacted."""
    files = {file.name: file for file in subject.files}
    for month, name, digest in subject.folded():
        file = files.get(name)
        if file and file_digest(file.path) != digest:
            message = f"differs from what {month.place} was made of, which is what counts"
            yield Finding("error", Problem(file.place, message, _GENUINE))


def lonely_users(subject: Subject) -> Iterator[Finding]:
    """Users whose samples never came: the run has not arrived whole, and does not count."""
    names = {name for _, name in subject.names()}
    for place, name in subject.names():
        if name.kind == "users" and FileName(name.day, name.server, name.collected_at, "samples") not in names:
            message = "has no samples file beside it: the run has not arrived whole, and does not count"
            yield Finding("suspicion", Problem(place, message, "chill-meter pull, while the server still has the file"))


def closed_years(subject: Subject) -> Iterator[Finding]:
    """Files of which a closed year was made (docs/closing.md): they are there, and are what they were."""
    forgotten = forgotten_years(subject.fleet)
    present = {str(name): digest for _, name, digest in subject.folded()}
    files = {file.path.name: file for file in subject.files}
    for path in sorted(subject.fleet.directory.glob("closed/[0-9][0-9][0-9][0-9]/manifest.json")):
        year = path.parent.name
        if int(year) in forgotten:
            continue
        try:
            made_of = _closed_files(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            place = f"closed/{year}/{path.name}"
            yield Finding("error", Problem(place, "is not the manifest of a closed year", _HISTORY))
            continue
        for name, digest in sorted(made_of.items()):
            place = files[name].place if name in files else f"{subject.fleet.ledger.name}/{year}/{name}"
            found = file_digest(files[name].path) if name in files else present.get(name)
            if found is None:
                message = f"is gone: it was there when {year} was closed"
                yield Finding("error", Problem(place, message, _HISTORY))
            elif found != digest:
                message = f"has other content than when {year} was closed"
                yield Finding("error", Problem(place, message, _HISTORY))


def _closed_files(manifest: Path) -> Mapping[str, str]:
    """SHA-256 by name of the ledger's files that a closed year was made of."""
    files = json.loads(manifest.read_text(encoding="utf-8"))["ledger"]["files"]
    return {str(name): str(digest) for name, digest in files.items()}


LEDGER_CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (future_days, kept_files, lonely_users, closed_years)
