"""What counts, decided once for all rows of a month: the ledger's resolution rule over arrays.

Within (day, instance, metric, source) the `ok` row with the latest `collected_at` counts; over sources values add up.
Of the users, those count that stand in the users file of the run whose `active_users` row counts; over sources they
are united. Every rule lies within a day, so a month can be settled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from metering.ledger.codes import Bools, Codes, combined, repeated, text_column
from metering.ledger.condense import TEXT, one_chunk

_SAMPLES = [
    ("run", TEXT),
    ("day", pa.date32()),
    ("instance", TEXT),
    ("metric", TEXT),
    ("value", pa.int64()),
    ("status", TEXT),
    ("source", TEXT),
    ("collected_at", TEXT),
    ("note", TEXT),
]
_USERS = [("run", TEXT), ("day", pa.date32()), ("instance", TEXT), ("user", TEXT)]

# Rows as the files have them, and `run`: the file's name without its ending.
SAMPLES = pa.schema(_SAMPLES)
USERS = pa.schema(_USERS)
# In front of settled rows. Of samples: how many rows, of as many sources, add up to the value of this row's day,
# instance and metric; 0 when this row does not count. Of users: whether the row counts.
ADDENDS = pa.field("addends", pa.int32())
COUNTS = pa.field("counts", pa.bool_())


@dataclass(frozen=True, slots=True)
class Repeated:
    """Two rows collected in the same second, which leaves open which one counts: runs `one` and `other`, by name."""

    instance: str
    metric: str
    collected_at: str
    one: str
    other: str


def settle(samples: pa.Table, users: pa.Table) -> tuple[pa.Table, pa.Table]:
    """SAMPLES and USERS of one month → the same rows with `addends` and `counts`."""
    samples, users = one_chunk(samples), one_chunk(users)
    counting = _counting(samples)
    addends = np.zeros(samples.num_rows, np.int32)
    if counting.any():
        cells = combined(*(_codes(samples, name) for name in ("day", "instance", "metric"))).rows[counting]
        _, cell, times = np.unique(cells, return_inverse=True, return_counts=True)
        addends[counting] = times[cell]
    counts = _users_counting(samples, users, counting)
    return (
        samples.add_column(0, ADDENDS, pa.array(addends)),
        users.add_column(0, COUNTS, pa.array(counts)),
    )


def _codes(table: pa.Table, name: str) -> Codes:
    if name != "day":
        return text_column(table, name)
    days = table["day"].combine_chunks().cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes(days - days.min(initial=0), int(np.ptp(days)) + 1) if len(days) else Codes(days, 1)


def _counting(samples: pa.Table) -> Bools:
    """For each row whether it is the one of its day, instance, metric and source that counts."""
    keys = combined(*(_codes(samples, name) for name in ("day", "instance", "metric", "source"))).rows
    status = text_column(samples, "status")
    sound = status.rows == status.code("ok")
    # `collected_at` has one fixed width, so the order of its text is the order of time.
    times = text_column(samples, "collected_at").ranked().rows
    order = np.lexsort((times, sound, keys))
    last = np.ones(len(order), np.bool_)
    last[:-1] = keys[order][1:] != keys[order][:-1]
    found = np.zeros(len(order), np.bool_)
    found[order] = last
    counting: Bools = found & sound
    return counting


def _users_counting(samples: pa.Table, users: pa.Table, counting: Bools) -> Bools:
    """For each row of users whether its run's `active_users` row of its instance counts."""
    metric = text_column(samples, "metric")
    chosen = counting & (metric.rows == metric.code("active_users"))
    ours, theirs = (_pairs(samples, users, name) for name in ("run", "instance"))
    wanted = combined(Codes(ours[0].rows[chosen], ours[0].size), Codes(theirs[0].rows[chosen], theirs[0].size))
    return np.isin(combined(ours[1], theirs[1]).rows, wanted.rows)


def _pairs(samples: pa.Table, users: pa.Table, name: str) -> tuple[Codes, Codes]:
    """A column of both tables in codes that mean the same text in both."""
    both = one_chunk(pa.concat_tables([samples.select([name]), users.select([name])]))
    codes = text_column(both, name)
    return (
        Codes(codes.rows[: samples.num_rows], codes.size),
        Codes(codes.rows[samples.num_rows :], codes.size),
    )


def repeated_samples(samples: pa.Table) -> list[Repeated]:
    """The rows of one month that leave open which one counts, in the order of runs, instances and metrics."""
    samples = one_chunk(samples)
    keys = ("day", "instance", "metric", "source", "collected_at")
    again = repeated(combined(*(_codes(samples, name) for name in keys)))
    if not again.any():
        return []
    runs: dict[tuple[str, ...], list[str]] = {}
    for row in samples.filter(pa.array(again)).to_pylist():
        key = (str(row["day"]), row["instance"], row["metric"], row["source"], row["collected_at"])
        runs.setdefault(key, []).append(row["run"])
    found = [Repeated(key[1], key[2], key[4], min(names), max(names)) for key, names in runs.items()]
    return sorted(found, key=lambda one: (one.other, one.instance, one.metric))


def ordered(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The rows in the order of these columns: what is alike lies together, and takes little room in Parquet."""
    table = one_chunk(table)
    codes = [_codes(table, name) if name == "day" else text_column(table, name).ranked() for name in columns]
    return table.take(pa.array(np.argsort(combined(*codes).rows, kind="stable")))
