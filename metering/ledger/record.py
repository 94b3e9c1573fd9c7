"""What a person counted: `chill-meter record` writes a sample by hand, as the source `manual`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.ledger.files import folded_names, home, list_files, locked, publish
from metering.samples import MANUAL, METRICS, FileName, Sample, write_samples
from provision.errors import RequestError
from provision.fleet import Fleet

# People are counted from the users files, and nobody can write those by hand.
RECORDABLE = tuple(metric for metric in METRICS if metric != "active_users")
LARGEST = 10**18 - 1


def record(fleet: Fleet, slug: str, metric: str, value: int, day: date, note: str, now: datetime) -> Path:
    """Add one sample to the fleet's ledger and return its file. It adds to what servers count of that
    metric and day; recorded again, it replaces what was recorded by hand before.

    `value` in the metric's unit; `day` in the fleet's time zone; `now` with a time zone. RequestError
    when the request is wrong, and nothing is written; ChillError when the ledger cannot be written.
    """
    fleet.instance(slug)
    _check(metric, value, note)
    if day > now.astimezone(ZoneInfo(fleet.settings.timezone)).date():
        raise RequestError(f"--day: {day} is in the future", "give the day to which the value belongs")
    with locked(fleet.ledger):
        collected_at = next_moment(fleet.ledger, now)
        name = str(FileName(day, MANUAL, collected_at, "samples"))
        target = home(fleet.ledger, day, name)
        staged = fleet.ledger / f".{name}"
        try:
            with staged.open("w", encoding="utf-8", newline="") as stream:
                write_samples(stream, [Sample(day, slug, metric, value, "ok", MANUAL, collected_at, note)])
            publish(staged, target)
        finally:
            staged.unlink(missing_ok=True)
    return target


def _check(metric: str, value: int, note: str) -> None:
    if metric == "active_users":
        hint = f"these can be recorded: {', '.join(RECORDABLE)}"
        raise RequestError("METRIC: active_users is counted from people's pseudonyms, not recorded by hand", hint)
    if metric not in RECORDABLE:
        raise RequestError(f"METRIC: there is no metric {metric!r}", f"these can be recorded: {', '.join(RECORDABLE)}")
    if not 0 <= value <= LARGEST:
        raise RequestError(f"VALUE: {value} is out of range", f"give a whole number of {METRICS[metric]}, 0 or more")
    if not all(character.isprintable() for character in note):
        raise RequestError("--note: has characters that cannot be printed", "give one line of text")


def next_moment(ledger: Path, now: datetime) -> datetime:
    """A `collected_at` that is later than that of any earlier record, also when the clock went back."""
    moment = now.astimezone(UTC).replace(microsecond=0)
    names = [*(file.name for file in list_files(ledger)[0]), *folded_names(ledger)]
    earlier = [name.collected_at for name in names if name.server == MANUAL]
    return max([moment, *(taken + timedelta(seconds=1) for taken in earlier)])
