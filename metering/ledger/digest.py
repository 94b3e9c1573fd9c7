"""A month of the ledger in a few numbers per instance and metric: what `chill-meter status` is told from.

A digest is made once for each state of a month's files and kept in `ledger/.digests/`, where it may be deleted at any
time. What it was made of (names, sizes and times of files) stands in its name: a digest of other files is never read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet

from metering.ledger.files import list_files
from metering.ledger.month_files import MonthFiles, by_month
from metering.ledger.months import SUMS, Hold, Vanished, list_months
from provision.errors import ChillError, InvalidFiles, Problem

DIRECTORY = ".digests"
# Of the digests' own form: part of their names.
VERSION = 1
ATTEMPTS = 5

Key = tuple[str, str]


class MonthFigures(NamedTuple):
    """One metric of one instance in one month, in the metric's unit; days without a sample are left out.

    `days`: bit n-1 is set when day n has a sample, all of its sources added up. `total`, `peak` and `last_value` (of
    the last day with a sample) are 0 when there is none. `failed`: the last day that failed and no other run made up
    for, 0 when there is none, with its `note`. `values`: those of the days, in order; empty where they were not asked
    for.
    """

    days: int
    total: int
    peak: int
    last_value: int
    failed: int
    note: str
    values: Sequence[int] = ()

    @property
    def sampled(self) -> int:
        """How many days have a sample."""
        return self.days.bit_count()


Figures = Mapping[Key, Mapping[str, MonthFigures]]

SCHEMA = pa.schema(
    [
        ("instance", pa.string()),
        ("metric", pa.string()),
        ("days", pa.int32()),
        ("total", pa.int64()),
        ("peak", pa.int64()),
        ("last_value", pa.int64()),
        ("failed", pa.int32()),
        ("note", pa.string()),
        ("values", pa.list_(pa.int64())),
    ]
)


_KEY = ("instance", "metric")


def read_figures(ledger: Path, months: Collection[str], with_values: Collection[str] = ()) -> Figures:
    """The figures of `months` (such as 2026-03), by (slug, metric) and month. Only what has a row has figures.

    The values of days come for the months `with_values` alone. InvalidFiles when files of these months break the
    format; ChillError when they cannot be read.
    """
    found: dict[Key, dict[str, MonthFigures]] = {}
    problems: list[Problem] = []
    keys: pa.Table = None
    of_keys: Sequence[dict[str, MonthFigures]] = ()
    for month, table, wrong in _tables(ledger, sorted(months), with_values):
        problems += wrong
        # Most months have the same instances and metrics as the one before: where to put their figures is known.
        if keys is None or not keys.equals(table.select(_KEY)):
            keys = table.select(_KEY)
            pairs = zip(*(keys[name].to_pylist() for name in _KEY), strict=True)
            of_keys = [found.setdefault(pair, {}) for pair in pairs]
        numbers = [table[name].to_pylist() for name in table.column_names if name not in _KEY]
        if month not in with_values:
            numbers.append([()] * len(of_keys))
        # Half a million tuples for a large fleet: made without a call of Python for each.
        figures = map(partial(tuple.__new__, MonthFigures), zip(*numbers, strict=True))
        for of_key, one in zip(of_keys, figures, strict=True):
            of_key[month] = one
    if problems:
        raise InvalidFiles(problems, f"nothing is told from {ledger} until this is put right")
    return found


def _tables(
    ledger: Path, months: Sequence[str], with_values: Collection[str]
) -> Sequence[tuple[str, pa.Table, Sequence[Problem]]]:
    years = {int(month[:4]) for month in months}
    for _ in range(ATTEMPTS):
        # Files first: a compaction removes them only when the month that holds their rows is there.
        files, problems = list_files(ledger, years)
        compacted, _displaced = list_months(ledger, years)
        if problems:
            return [("", SCHEMA.empty_table(), problems)]
        try:
            _held = Hold(compacted)
            present = [month for month in by_month(files, compacted) if month.month in months]
            return [(month.month, *_digest(ledger, month, month.month in with_values)) for month in present]
        except Vanished:
            continue
    raise ChillError(f"{ledger}: files go while it is read", "wait until chill-meter compact has ended")


def _digest(ledger: Path, month: MonthFiles, with_values: bool) -> tuple[pa.Table, Sequence[Problem]]:
    """The digest of a month, from where it is kept or from its files; and what is wrong with these."""
    columns = [name for name in SCHEMA.names if with_values or name != "values"]
    kept = ledger / DIRECTORY / f"{month.month}.{_state(month)}.parquet"
    # Not read_table: what it does for data sets of many files takes longer than all the rest.
    with suppress(OSError, pa.ArrowException), pyarrow.parquet.ParquetFile(kept) as file:
        return file.read(columns, use_threads=False), ()
    # Rarely needed, and with it comes what takes a tenth of a second to load.
    from metering.ledger.digesting import make_digest

    table, problems = make_digest(month)
    if problems:
        return table.select(columns), problems
    # A ledger that cannot be written is told of all the same, only slower.
    with suppress(OSError):
        _keep(table, kept)
    return table.select(columns), ()


def _state(month: MonthFiles) -> str:
    """What a month's files are, as 16 hex digits: other files, other digits."""
    paths = [file.path for file in month.files]
    if month.compacted:
        paths += [month.compacted.path / SUMS, month.compacted.parquet("samples")]
    parts = [f"{VERSION}"]
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise Vanished(path) from None
        parts.append(f"{path.parent.name}/{path.name} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _keep(table: pa.Table, path: Path) -> None:
    """Keep a digest, whole or not at all, in place of earlier ones of its month."""
    path.parent.mkdir(exist_ok=True)
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# What chill-meter can make again at any time.\n*\n", encoding="utf-8")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pyarrow.parquet.write_table(table, beside, compression="zstd")
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    for other in path.parent.glob(f"{path.name[:7]}.*.parquet"):
        if other != path:
            other.unlink(missing_ok=True)


def month_of(day: date) -> str:
    """The month of a day, such as 2026-03."""
    return f"{day:%Y-%m}"
