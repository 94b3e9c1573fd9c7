"""What is wrong in the cells of a month's files, asked of all rows at once; and the rows as typed columns.

It finds the files at fault; what exactly is wrong in them, `rows.py` says line by line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.ledger.codes import Bools, Codes, Ints, combined, matching, repeated, text_column
from metering.ledger.condense import TEXT, Raw, one_chunk
from metering.ledger.rows import PSEUDONYM, is_time
from metering.ledger.settle import SAMPLES, USERS
from metering.samples import METRICS


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A users file that does not hold what its samples file counts: `value` is None without an ok row, `people` None
    without rows.
    """

    run: str
    instance: str
    value: int | None
    people: int | None


def wrong_samples(raw: Raw) -> Ints:
    """The positions, in `raw.files`, of the samples files with a row that breaks the format."""
    table = raw.table
    status, value = text_column(table, "status"), text_column(table, "value")
    number = (status.rows == status.code("ok")) & matching(table, "value", r"^[0-9]{1,18}$")
    nothing = (status.rows == status.code("failed")) & (value.rows == value.code(""))
    sound = (
        _of_the_file(raw)
        & text_column(table, "source").matches([file.name.server for file in raw.files], raw.index)
        & text_column(table, "metric").where(lambda text: text in METRICS)
        & (number | nothing)
        & text_column(table, "collected_at").where(is_time)
    )
    return np.unique(raw.index[~sound])


def wrong_users(raw: Raw) -> Ints:
    """The positions, in `raw.files`, of the users files with a row that breaks the format or stands there twice."""
    sound = _of_the_file(raw) & matching(raw.table, "user", PSEUDONYM)
    people = (text_column(raw.table, name) for name in ("instance", "user"))
    return np.unique(raw.index[~sound | repeated(combined(_file(raw), *people))])


def _of_the_file(raw: Raw) -> Bools:
    """For each row whether it has the day of its file, and an instance."""
    days = text_column(raw.table, "day").matches([file.name.day.isoformat() for file in raw.files], raw.index)
    return days & text_column(raw.table, "instance").where(bool)


def _file(raw: Raw) -> Codes:
    return Codes(raw.index, len(raw.files))


def typed_samples(raw: Raw) -> pa.Table:
    """Sound rows as SAMPLES."""
    column = raw.table["value"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    texts = column.dictionary
    numbers = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts).cast(pa.int64())
    table = raw.table.drop_columns(["day"]).set_column(
        raw.table.column_names.index("value") - 1, "value", numbers.take(column.indices)
    )
    return _placed(raw, table, SAMPLES)


def typed_users(raw: Raw) -> pa.Table:
    """Sound rows as USERS."""
    return _placed(raw, raw.table.drop_columns(["day"]), USERS)


def _placed(raw: Raw, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the run and the day of each row's file, in the schema's columns."""
    index = pa.array(raw.index.astype(np.int32))
    runs = pa.DictionaryArray.from_arrays(index, pa.array([file.run for file in raw.files], pa.string()))
    days = pa.array([file.name.day for file in raw.files], pa.date32()).take(index)
    named: pa.Table = table.append_column("run", runs.cast(TEXT)).append_column("day", days)
    return named.select(schema.names).cast(schema)


def contradictions(samples: pa.Table, users: pa.Table) -> list[Contradiction]:
    """Where the users files do not bear out the samples files of the same runs, in the order of runs and instances.

    `samples` and `users`: sound rows, as SAMPLES and USERS.
    """
    ok = pc.and_(pc.equal(samples["metric"], "active_users"), pc.equal(samples["status"], "ok"))
    counted = samples.filter(ok)
    both = one_chunk(pa.concat_tables([counted.select(["run", "instance"]), users.select(["run", "instance"])]))
    runs, instances = text_column(both, "run"), text_column(both, "instance")
    keys = combined(runs, instances).rows
    places, first, group = np.unique(keys, return_index=True, return_inverse=True)
    people = np.bincount(group[counted.num_rows :], minlength=len(places))
    values = np.full(len(places), -1, np.int64)
    # The latest row of a run and instance is written last, and stays.
    times = text_column(one_chunk(counted), "collected_at").ranked().rows
    order = np.argsort(times, kind="stable")
    values[group[: counted.num_rows][order]] = counted["value"].to_numpy()[order]
    found = [
        Contradiction(
            runs.texts[runs.rows[first[at]]],
            instances.texts[instances.rows[first[at]]],
            None if values[at] < 0 else int(values[at]),
            int(people[at]) or None,
        )
        for at in np.flatnonzero(values != people)
    ]
    return sorted(found, key=lambda one: (one.run, one.instance))
