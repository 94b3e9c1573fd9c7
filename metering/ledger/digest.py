"""A month of the ledger in a few numbers per instance and metric: what `chill-meter status` is told from.

A digest is made once for each state of a month's files and kept in `ledger/.digests/`, where it may be deleted at any
time. What it was made of (names, sizes and times of files) stands in its name: a digest of other files is never read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from metering.ledger.files import list_files
from metering.ledger.monthly import MonthFiles, by_month, read_month, read_rows
from metering.ledger.months import SUMS, Hold, Vanished, list_months
from metering.ledger.settle import ADDENDS, SAMPLES
from provision.errors import ChillError, InvalidFiles, Problem

DIRECTORY = ".digests"
# Of the digests' own form: part of their names.
VERSION = 1
ATTEMPTS = 5
_LARGEST = 2**63 - 1

Numbers = npt.NDArray[np.int64]
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

_SCHEMA = pa.schema(
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
            return [("", _SCHEMA.empty_table(), problems)]
        try:
            _held = Hold(compacted)
            present = [month for month in by_month(files, compacted) if month.month in months]
            return [(month.month, *_digest(ledger, month, month.month in with_values)) for month in present]
        except Vanished:
            continue
    raise ChillError(f"{ledger}: files go while it is read", "wait until chill-meter compact has ended")


def _digest(ledger: Path, month: MonthFiles, with_values: bool) -> tuple[pa.Table, Sequence[Problem]]:
    """The digest of a month, from where it is kept or from its files; and what is wrong with these."""
    columns = [name for name in _SCHEMA.names if with_values or name != "values"]
    kept = ledger / DIRECTORY / f"{month.month}.{_state(month)}.parquet"
    # Not read_table: what it does for data sets of many files takes longer than all the rest.
    with suppress(OSError, pa.ArrowException), pyarrow.parquet.ParquetFile(kept) as file:
        return file.read(columns, use_threads=False), ()
    samples, problems = _samples(month)
    if problems:
        return _SCHEMA.empty_table().select(columns), problems
    table = digest(samples)
    # A ledger that cannot be written is told of all the same, only slower.
    with suppress(OSError):
        _keep(table, kept)
    return table.select(columns), ()


def _samples(month: MonthFiles) -> tuple[pa.Table, Sequence[Problem]]:
    """The settled samples of a month whose every file was examined; or what is wrong with them."""
    if month.compacted and (damaged := month.compacted.problems()):
        return _SCHEMA.empty_table(), damaged
    if month.compacted and not month.files:
        return read_rows(month.compacted.parquet("samples"), SAMPLES.insert(0, ADDENDS)), ()
    rows = read_month(month)
    return rows.tables["samples"], rows.problems


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


def digest(samples: pa.Table) -> pa.Table:
    """The digest of one month's settled samples (`settle.py`), sorted by instance and metric."""
    names = _names(samples)
    counting = pc.greater(samples["addends"], 0)
    days = _days(samples)
    keys, numbers = names.code, samples["value"].fill_null(0).to_numpy()
    chosen = counting.to_numpy(zero_copy_only=False)
    rows: dict[int, list[Any]] = {key: [*pair, 0, 0, 0, 0, 0, "", []] for key, pair in enumerate(names.pairs)}
    for key, *found in _summed(keys[chosen], days[chosen], numbers[chosen]):
        rows[key][2:6], rows[key][8] = found[:4], found[4]
    for key, (day, _, note) in _failures(samples, keys, days, chosen).items():
        rows[key][6:8] = day, note
    listed = sorted(rows.values(), key=lambda row: (row[0], row[1]))
    return pa.table([list(column) for column in zip(*listed, strict=True)] or [[]] * len(_SCHEMA), schema=_SCHEMA)


class _Names(NamedTuple):
    """The (slug, metric) of each code, and the code of each row."""

    pairs: Sequence[Key]
    code: Numbers


def _names(samples: pa.Table) -> _Names:
    instances, metrics = (_encoded(samples, name) for name in ("instance", "metric"))
    combined = instances[1] * max(len(metrics[0]), 1) + metrics[1]
    present, code = np.unique(combined, return_inverse=True)
    width = max(len(metrics[0]), 1)
    return _Names([(instances[0][n // width], metrics[0][n % width]) for n in present.tolist()], code)


def _encoded(samples: pa.Table, name: str) -> tuple[list[str], Numbers]:
    column = samples[name].cast(pa.string()).combine_chunks().dictionary_encode()
    return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _days(samples: pa.Table) -> Numbers:
    found: Numbers = pc.day(samples["day"]).to_numpy().astype(np.int64)
    return found


def _summed(keys: Numbers, days: Numbers, values: Numbers) -> Iterator[tuple[int, int, int, int, int, list[int]]]:
    """For each key: days as bits, total, peak, last value, and the value of each day; sources added up."""
    if not len(keys):
        return
    order = np.lexsort((days, keys))
    keys, days, values = keys[order], days[order], values[order]
    cells = np.flatnonzero(np.r_[True, (np.diff(keys) != 0) | (np.diff(days) != 0)])
    daily, keys, days = _added(values, cells), keys[cells], days[cells]
    starts = np.flatnonzero(np.r_[True, np.diff(keys) != 0])
    ends = np.r_[starts[1:], len(keys)]
    bits = np.bitwise_or.reduceat(np.left_shift(1, days - 1), starts)
    totals, peaks, last = _added(daily, starts), np.maximum.reduceat(daily, starts), daily[ends - 1]
    every = daily.tolist()
    columns = (keys[starts], bits, totals, peaks, last, starts, ends)
    for key, bit, total, peak, value, start, end in zip(*(column.tolist() for column in columns), strict=True):
        yield key, bit, total, peak, value, every[start:end]


def _added(values: Numbers, starts: Numbers) -> Numbers:
    """Sums of the slices that begin at `starts`; what is too large for 64 bits is the largest number there is."""
    rough = np.add.reduceat(values.astype(np.float64), starts)
    return np.where(rough < _LARGEST, np.add.reduceat(values, starts), _LARGEST)


def _failures(
    samples: pa.Table, keys: Numbers, days: Numbers, chosen: npt.NDArray[np.bool_]
) -> dict[int, tuple[int, str, str]]:
    """For each key the last failure without a sample of the same day: day, moment, note."""
    failed = pc.equal(samples["status"].cast(pa.string()), "failed").to_numpy(zero_copy_only=False)
    unmended = failed & ~np.isin(keys * 32 + days, (keys * 32 + days)[chosen])
    found: dict[int, tuple[int, str, str]] = {}
    told: Any = samples.select(["collected_at", "note"]).filter(pa.array(unmended))
    rows = zip(
        keys[unmended].tolist(),
        days[unmended].tolist(),
        told["collected_at"].cast(pa.string()).to_pylist(),
        told["note"].cast(pa.string()).to_pylist(),
        strict=True,
    )
    for key, *failure in rows:
        day, moment, note = failure
        found[key] = max(found.get(key, (0, "", "")), (day, moment, note))
    return found


def month_of(day: date) -> str:
    """The month of a day, such as 2026-03."""
    return f"{day:%Y-%m}"
