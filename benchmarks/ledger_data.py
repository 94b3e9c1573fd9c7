"""A year of a fleet's ledger, of any size, drawn from a seeded generator: as compacted months, or as CSV files.

Both forms hold the same rows; `bench_ledger.py` proves it at a small size. At a large one only the first is made,
because tens of thousands of CSV files take longer to write than anything here takes to read.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from metering.ledger.compact import write_month
from metering.ledger.condense import TEXT
from metering.ledger.settle import SAMPLES, USERS, settle
from metering.samples import SAMPLES_HEADER, USERS_HEADER, compact_time, iso_time

YEAR = 2025
INSTANCES_PER_SERVER = 100
# Of each instance; every day about 40 % of them are active, so 10,000 instances have 35 million user-days a year.
PEOPLE = 24
ACTIVE = 0.4
DAILY = ("active_users", "document_bytes", "emails_sent", "sms_sent")
# One run in so many is followed by another, which found more e-mails in lines that arrived late.
CORRECTED = 20


@dataclass(frozen=True, slots=True)
class Year:
    """A fleet of so many instances: `instance-00042` lives on server 0 with the 99 others."""

    instances: int

    @property
    def slugs(self) -> list[str]:
        return [f"instance-{number:05d}" for number in range(self.instances)]

    @property
    def servers(self) -> int:
        return -(-self.instances // INSTANCES_PER_SERVER)

    def months(self) -> Iterator[tuple[str, pa.Table, pa.Table]]:
        """Month by month its name, SAMPLES and USERS."""
        random = np.random.default_rng(YEAR)
        people = np.char.mod("%016x", random.integers(0, 2**63, self.instances * PEOPLE))
        volume = random.integers(10**9, 40 * 10**9, self.instances)
        for month in range(1, 13):
            days = monthrange(YEAR, month)[1]
            active = random.random((days, self.instances, PEOPLE)) < ACTIVE
            volume = volume + random.integers(0, 10**9, self.instances)
            users = self._users(month, active, people)
            yield f"{YEAR}-{month:02d}", self._samples(random, month, active, volume), users

    def _run(self, month: int, day: npt.NDArray[np.int64], server: npt.NDArray[np.int64], again: bool) -> pa.Array:
        """The run of each row, as TEXT: the nightly one, or the one that came later that morning."""
        names = [
            f"{YEAR}-{month:02d}-{d + 1:02d}.{_server(s)}.{compact_time(_collected(month, d, again))}"
            for d in range(monthrange(YEAR, month)[1])
            for s in range(self.servers)
        ]
        return _chosen(day * self.servers + server, names)

    def _users(self, month: int, active: npt.NDArray[np.bool_], people: npt.NDArray[np.str_]) -> pa.Table:
        day, instance, person = np.nonzero(active)
        return pa.table(
            {
                "run": self._run(month, day, instance // INSTANCES_PER_SERVER, False),
                "day": _days(month, day),
                "instance": _chosen(instance, self.slugs),
                "user": _chosen(instance * PEOPLE + person, people.tolist()),
            },
            schema=USERS,
        )

    def _samples(
        self, random: np.random.Generator, month: int, active: npt.NDArray[np.bool_], volume: npt.NDArray[np.int64]
    ) -> pa.Table:
        days = len(active)
        shape = (days, self.instances)
        day, instance = (axis.ravel() for axis in np.indices(shape))
        values = {
            "active_users": active.sum(axis=2),
            "document_bytes": np.broadcast_to(volume, shape) + random.integers(0, 10**6, shape),
            "emails_sent": random.poisson(30, shape),
            "sms_sent": random.poisson(2, shape),
        }
        parts = [self._rows(month, day, instance, metric, values[metric].ravel(), False) for metric in DAILY]
        late = (day * self.servers + instance // INSTANCES_PER_SERVER) % CORRECTED == 0
        more = values["emails_sent"].ravel()[late] + 1
        parts.append(self._rows(month, day[late], instance[late], "emails_sent", more, True))
        return pa.concat_tables(parts)

    def _rows(
        self,
        month: int,
        day: npt.NDArray[np.int64],
        instance: npt.NDArray[np.int64],
        metric: str,
        values: npt.NDArray[np.int64],
        again: bool,
    ) -> pa.Table:
        server = instance // INSTANCES_PER_SERVER
        times = [iso_time(_collected(month, d, again)) for d in range(monthrange(YEAR, month)[1])]
        same = np.zeros(len(day), np.int64)
        return pa.table(
            {
                "run": self._run(month, day, server, again),
                "day": _days(month, day),
                "instance": _chosen(instance, self.slugs),
                "metric": _chosen(same, [metric]),
                "value": pa.array(values, pa.int64()),
                "status": _chosen(same, ["ok"]),
                "source": _chosen(server, [_server(number) for number in range(self.servers)]),
                "collected_at": _chosen(day, times),
                "note": _chosen(same, [""]),
            },
            schema=SAMPLES,
        )


def _server(number: int) -> str:
    return f"srv{number}.example.net"


def _collected(month: int, day: int, again: bool) -> datetime:
    following = date(YEAR, month, day + 1) + timedelta(days=1)
    return datetime.fromisoformat(f"{following}T{'09' if again else '00'}:15:00Z")


def _days(month: int, day: npt.NDArray[np.int64]) -> pa.Array:
    first = np.datetime64(f"{YEAR}-{month:02d}-01", "D")
    return pa.array(first + day.astype("timedelta64[D]"), pa.date32())


def _chosen(codes: npt.NDArray[np.int64], texts: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(texts, pa.string())).cast(TEXT)


def write_compacted(year: Year, ledger: Path) -> None:
    """The year as `chill-meter compact` leaves it."""
    for month, samples, users in year.months():
        write_month(ledger, month, dict(zip(("samples", "users"), settle(samples, users), strict=True)), {})


def write_csv(year: Year, ledger: Path) -> int:
    """The year as `chill-meter pull` leaves it; the number of files."""
    count = 0
    directory = ledger / str(YEAR)
    directory.mkdir(parents=True)
    for _, *tables in year.months():
        for kind, header, table in zip(("samples", "users"), (SAMPLES_HEADER, USERS_HEADER), tables, strict=True):
            for run, text in _files(table, header):
                (directory / f"{run}.{kind}.csv").write_text(text, encoding="utf-8")
                count += 1
    return count


def _files(table: pa.Table, header: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    runs = table["run"].cast(pa.string()).to_pylist()
    columns = [pc.cast(table[name], pa.string()).to_pylist() for name in header]
    rows: dict[str, list[str]] = {}
    for run, *cells in zip(runs, *columns, strict=True):
        rows.setdefault(run, [",".join(header)]).append(",".join(cells))
    for run, lines in rows.items():
        yield run, "\n".join(lines) + "\n"
