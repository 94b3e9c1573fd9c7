"""The provider's count of SMS beside that of the logs: what the logs miss is filled in, the rest is compared.

Values of several sources add up. So the provider's count is written (as source `manual`) only for days of which no
server has a sample; and when a server's sample of such a day arrives later, the pull that brings it (late_samples.py)
takes it back with a 0. What a person recorded by hand is left alone, and counted with the logs. Why so:
docs/decisions/0015-people-and-providers.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.ledger.files import home, locked, publish_all
from metering.ledger.provider_csv import Export, Layout, read_export
from metering.ledger.record import next_moment
from metering.ledger.store import Ledger, open_ledger
from metering.samples import MANUAL, FileName, Sample, write_samples
from provision.errors import InvalidFiles, Problem, RequestError
from provision.fleet import Fleet

METRIC = "sms_sent"
# How a row that was written here is told from one that a person recorded.
NOTE = "from the provider's export"
_TAKEN_BACK = f"{NOTE}: taken back, a server has counted this day by now"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger has of a day and an instance: the servers' sum, the value recorded by hand, and that of an
    earlier import. None where there is none.
    """

    servers: int | None = None
    by_hand: int | None = None
    imported: int | None = None

    @property
    def counted(self) -> int | None:
        """What the logs, and who recorded something beside them, say; None when neither speaks."""
        if self.servers is None and self.by_hand is None:
            return None
        return (self.servers or 0) + (self.by_hand or 0)


@dataclass(frozen=True, slots=True)
class Compared:
    """One day of an instance: messages by the provider and by the ledger (None: a gap), and what is to be written
    (None: nothing).
    """

    day: date
    instance: str
    provider: int
    ledger: int | None
    write: int | None
    note: str = ""

    @property
    def disagrees(self) -> bool:
        return self.ledger is not None and self.ledger != self.provider


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found and wrote. `left_out`: messages outside the period, or of today, which is not over."""

    export: Export
    first: date | None
    last: date | None
    left_out: int
    days: Sequence[Compared]
    files: Sequence[Path]


def import_sms(
    fleet: Fleet,
    path: Path,
    layout: Layout,
    period: tuple[date | None, date | None],
    now: datetime,
    write: bool = True,
) -> Imported:
    """Compare a provider's export with the ledger, and (unless `write` is False) write what the ledger has not.

    `period`: the first and the last day that the export covers; None for those of its first and last row. A day of it
    without a row has 0 messages. RequestError or InvalidFiles when the file, or what is said about it, is wrong:
    nothing is written then. ChillError when the ledger cannot be written. Run again, it writes nothing.
    """
    zone = ZoneInfo(fleet.settings.timezone)
    _check(fleet, layout)
    export = read_export(path, layout, frozenset(fleet.instances), zone)
    today = now.astimezone(zone).date()
    _refuse_the_future(path, export, today)
    known = [day for day, _ in export.messages if day < today]
    first, last = period[0] or min(known, default=None), period[1] or max(known, default=None)
    if first is None or last is None or first > (last := min(last, today - timedelta(days=1))):
        raise RequestError(f"{path.name}: no day that is over is left", "see --since and --until")
    left_out = sum(number for (day, _), number in export.messages.items() if not first <= day <= last)
    slugs = (
        {layout.instance} if layout.instance else {*layout.accounts.values(), *(slug for _, slug in export.messages)}
    )
    if not write:
        days = _compare(export, _recorded(fleet.ledger, first, last), slugs, first, last)
        return Imported(export, first, last, left_out, days, ())
    with locked(fleet.ledger):
        days = _compare(export, _recorded(fleet.ledger, first, last), slugs, first, last)
        files = _write(fleet.ledger, [day for day in days if day.write is not None], now)
    return Imported(export, first, last, left_out, days, files)


def take_back(ledger: Path, days: Iterable[date], now: datetime) -> int:
    """Take back what was imported for days of which a server has a sample by now; how many values. The ledger's lock
    must be held. InvalidFiles when the ledger has faults.
    """
    wanted = frozenset(days)
    recorded = _recorded(ledger, min(wanted), max(wanted))
    twice = [
        Compared(day, slug, have.imported, have.servers, 0, _TAKEN_BACK)
        for (day, slug), have in sorted(recorded.items())
        if day in wanted and have.imported and have.servers is not None
    ]
    _write(ledger, twice, now)
    return len(twice)


def _check(fleet: Fleet, layout: Layout) -> None:
    named = [("--account", slug) for slug in layout.accounts.values()]
    for option, slug in [*named, *([("--instance", layout.instance)] if layout.instance else [])]:
        if slug not in fleet.instances:
            known = ", ".join(fleet.instances) or "none yet"
            raise RequestError(f"{option}: there is no such instance in {fleet.directory}", f"known: {known}")
    if bool(layout.instance) == ("account" in layout.columns):
        hint = "--map account=COLUMN when the file names accounts, --instance SLUG when all of it is one instance's"
        raise RequestError("whose messages these are must be said once", hint)


def _refuse_the_future(path: Path, export: Export, today: date) -> None:
    future = sorted({day for day, _ in export.messages if day > today})
    if future:
        what = f"has days in the future, {future[0]} first"
        raise InvalidFiles([Problem(path.name, what, "are day and month the right way round in --date-format?")])


def _recorded(directory: Path, first: date, last: date) -> Mapping[tuple[date, str], Recorded]:
    ledger = open_ledger(directory, range(first.year, last.year + 1))
    problems = ledger.problems()
    if problems:
        raise InvalidFiles(problems, "nothing is imported until the ledger is put right")
    return _by_day(ledger, first, last)


def _by_day(ledger: Ledger, first: date, last: date) -> Mapping[tuple[date, str], Recorded]:
    rows = ledger.rows
    wanted = rows.filter((rows.metric == METRIC) & (rows.addends > 0) & rows.day.between(first, last))
    found: dict[tuple[date, str], Recorded] = {}
    for row in ledger.fetch(wanted.select("day", "instance", "source", "value", "note")):
        key, value = (row["day"], row["instance"]), int(row["value"])
        have = found.get(key, Recorded())
        if row["source"] != MANUAL:
            found[key] = Recorded((have.servers or 0) + value, have.by_hand, have.imported)
        elif row["note"].startswith(NOTE):
            found[key] = Recorded(have.servers, have.by_hand, value)
        else:
            found[key] = Recorded(have.servers, value, have.imported)
    return found


def _compare(
    export: Export, recorded: Mapping[tuple[date, str], Recorded], slugs: Iterable[str], first: date, last: date
) -> list[Compared]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [_one(day, slug, export, recorded.get((day, slug), Recorded())) for slug in sorted(slugs) for day in days]


def _one(day: date, slug: str, export: Export, have: Recorded) -> Compared:
    provider = export.messages.get((day, slug), 0)
    if have.counted is not None:
        # Somebody counted: an earlier import is taken back, else both would add up.
        note = _TAKEN_BACK if have.imported else ""
        return Compared(day, slug, provider, have.counted, 0 if have.imported else None, note)
    if have.imported == provider:
        return Compared(day, slug, provider, None, None)
    return Compared(day, slug, provider, None, provider, NOTE + _credits(export.credits.get((day, slug))))


def _credits(number: Decimal | None) -> str:
    return f", {number.normalize():f} credits" if number is not None else ""


def _write(ledger: Path, days: Sequence[Compared], now: datetime) -> list[Path]:
    """One file a day. The ledger's lock must be held."""
    if not days:
        return []
    collected_at = next_moment(ledger, now)
    by_day: dict[date, list[Sample]] = {}
    for one in days:
        sample = Sample(one.day, one.instance, METRIC, one.write, "ok", MANUAL, collected_at.astimezone(UTC), one.note)
        by_day.setdefault(one.day, []).append(sample)
    moves: list[tuple[Path, Path]] = []
    try:
        for day, samples in sorted(by_day.items()):
            name = str(FileName(day, MANUAL, collected_at, "samples"))
            moves.append((ledger / f".{name}", home(ledger, day, name)))
            with moves[-1][0].open("w", encoding="utf-8", newline="") as stream:
                write_samples(stream, samples)
        publish_all(moves)
    finally:
        for staged, _ in moves:
            staged.unlink(missing_ok=True)
    return [target for _, target in moves]
