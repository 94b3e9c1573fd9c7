"""A server in a directory: meter.toml, logs, and the real `collect`, for tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from metering.server.collect import Outcome, collect
from metering.server.config import load_config

NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
YESTERDAY = date(2026, 11, 22)

SMS = (
    "[{day}T{time}.123456+01:00] messenger.INFO: Symfony\\Component\\Notifier\\Message\\SmsMessage"
    " was handled successfully (acknowledging to transport)."
    ' {{"class":"Symfony\\\\Component\\\\Notifier\\\\Message\\\\SmsMessage"}} []\n'
)


def sms_line(day: date | str = YESTERDAY, time: str = "10:00:00") -> str:
    return SMS.format(day=day, time=time)


def sms_lines(number: int, day: date | str = YESTERDAY, first: int = 0) -> str:
    """`number` different lines; those of another `first` are others again."""
    times = (f"{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(first, first + number))
    return "".join(sms_line(day, time) for time in times)


@dataclass
class Server:
    """A server called srv1 with the instance acme, unless `text` says otherwise."""

    root: Path
    text: str = '[instances.acme]\nlogs = ["app/metering.log*"]\n'
    head: str = 'server = "srv1"\nspool = "spool"\nstate = "state"\n'
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / "app").mkdir(exist_ok=True)
        self.config.write_text(self.head + self.text)

    @property
    def config(self) -> Path:
        return self.root / "meter.toml"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def log(self) -> Path:
        return self.root / "app" / "metering.log"

    def collect(self, since: date | None = None, until: date | None = None, now: datetime = NOON) -> Outcome:
        outcome = collect(load_config(self.config), since, until, now, lambda text: None)
        self.outcomes.append(outcome)
        return outcome

    def rows(self) -> list[dict[str, str]]:
        """All rows of all sample files, in the order of collection."""
        files = sorted(self.spool.glob("*.samples.csv"), key=lambda path: (path.name.split(".")[-3], path.name))
        rows = []
        for path in files:
            with path.open(newline="") as stream:
                rows += list(csv.DictReader(stream))
        return rows

    def values(self, metric: str, instance: str = "acme") -> dict[str, int]:
        """Per day the last good value: what the ledger's rule of resolution would take."""
        return {
            row["day"]: int(row["value"])
            for row in self.rows()
            if (row["metric"], row["instance"], row["status"]) == (metric, instance, "ok")
        }

    def failed(self, metric: str) -> dict[str, str]:
        """Per day the note of the last failure."""
        return {r["day"]: r["note"] for r in self.rows() if (r["metric"], r["status"]) == (metric, "failed")}

    def everything_written(self, leave_out: Sequence[Path] = ()) -> bytes:
        """Every byte below the spool and the state."""
        places = [self.spool, self.root / "state"]
        files = [path for place in places for path in place.rglob("*") if path.is_file() and path not in leave_out]
        return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in files)
