"""Making the digest of a month (digest.py) from its settled rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from metering.ledger.digest import SCHEMA, Key
from metering.ledger.month_files import MonthFiles
from metering.ledger.monthly import read_month, read_rows
from metering.ledger.settle import ADDENDS, SAMPLES
from provision.errors import Problem

_LARGEST = 2**63 - 1

Numbers = npt.NDArray[np.int64]


def make_digest(month: MonthFiles) -> tuple[pa.Table, Sequence[Problem]]:
    """The digest of a month's files; an empty one, with what is wrong with them, when something is."""
    samples, problems = _samples(month)
    return (SCHEMA.empty_table(), problems) if problems else (digest(samples), ())


def _samples(month: MonthFiles) -> tuple[pa.Table, Sequence[Problem]]:
    """The settled samples of a month whose every file was examined; or what is wrong with them."""
    if month.compacted and (damaged := month.compacted.problems()):
        return SCHEMA.empty_table(), damaged
    if month.compacted and not month.files:
        return read_rows(month.compacted.parquet("samples"), SAMPLES.insert(0, ADDENDS)), ()
    rows = read_month(month)
    return rows.tables["samples"], rows.problems


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
    return pa.table([list(column) for column in zip(*listed, strict=True)] or [[]] * len(SCHEMA), schema=SCHEMA)


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
