"""Who wrote on which local day: one table read in batches that are short, and far enough apart that the application
does not notice.

A time column with an index is asked day by day. Else the table is walked along its primary key, BATCH rows at a
time, with a pause after each that is PACE times as long as the batch took. A table whose key the role
may not read is asked in one statement, within the statement timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from metering.server.discovery import TIMES, Asks, Audit, Column
from metering.server.errors import SourceError

if TYPE_CHECKING:
    from psycopg import sql

BATCH: Final = 5_000
PACE: Final = 4.0

# By local day, the ids of those who wrote.
Writers = dict[date, set[str]]
Pair = tuple[Column, Column]


def read_writers(
    database: Asks,
    audit: Audit,
    first: date,
    last: date,
    zone: ZoneInfo,
    pause: Callable[[float], None] = time.sleep,
) -> Writers:
    """Who wrote in a table from local day `first` to `last`, both included. SourceError when that cannot be had."""
    writers: Writers = {}
    indexed = [pair for pair in audit.pairs if pair[1].indexed]
    others = [pair for pair in audit.pairs if not pair[1].indexed]
    for pair in indexed:
        for number in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(number)
            _add(writers, _whole(database, audit, [pair], day, day, zone))
    if others and audit.table.key:
        _walk(database, audit, others, (first, last, zone), pause, writers)
    elif others:
        _add(writers, _whole(database, audit, others, first, last, zone))
    return writers


def read_changes(
    database: Asks, audit: Audit, first: date, last: date, zone: ZoneInfo, pause: Callable[[float], None] = time.sleep
) -> dict[date, set[date]]:
    """By the local day of their last update, from `first` to `last`: the days on which rows of a table were made;
    date.min where that is not known. SourceError when that cannot be had.
    """
    made = next((when for _, when in audit.pairs if when.folded == "createdat"), None)
    changed = next((when for _, when in audit.pairs if when.folded == "updatedat"), None)
    if changed is None:
        return {}
    pair = (made or changed, changed)
    found = read_writers(database, Audit(audit.table, [pair]), first, last, zone, pause)
    days = {day: {date.fromisoformat(one) for one in texts} for day, texts in found.items()}
    return days if made else {day: {date.min} for day in days}


def goes_back(database: Asks, audit: Audit, day: date, zone: ZoneInfo) -> bool:
    """Whether a table has an entry of before a local day."""
    from psycopg import sql

    _, when = audit.pairs[0]
    _, bounds = _local_day(when, day, day, zone)
    query = sql.SQL("SELECT EXISTS (SELECT FROM {table} WHERE {when} < %s)").format(
        table=_table(audit), when=sql.Identifier(when.name)
    )
    return bool(database.ask(query, bounds[:1])[0][0])


def _add(writers: Writers, rows: Sequence[Sequence[Any]]) -> None:
    for who, day, *_ in rows:
        writers.setdefault(day, set()).add(who)


def _whole(
    database: Asks, audit: Audit, pairs: Sequence[Pair], first: date, last: date, zone: ZoneInfo
) -> Sequence[Sequence[Any]]:
    from psycopg import sql

    rows = sql.SQL("SELECT {columns} FROM {table}").format(columns=_names(pairs, ()), table=_table(audit))
    try:
        return database.ask(*_writers_in(rows, [], pairs, first, last, zone))
    except SourceError as failure:
        if "longer" not in failure.reason:
            raise
        name = f"{audit.table.schema}.{audit.table.name}"
        advice = "let the role read its primary key, and it is read in batches"
        raise SourceError(f"{name} is too big for one query: {advice}; or index its column of times") from None


def _walk(
    database: Asks,
    audit: Audit,
    pairs: Sequence[Pair],
    span: tuple[date, date, ZoneInfo],
    pause: Callable[[float], None],
    writers: Writers,
) -> None:
    """Read the table along its primary key; each batch tells where the next one begins."""
    key = audit.table.key
    after: Sequence[str] = ()
    while True:
        begun = time.monotonic()
        rows = database.ask(*batch_query(audit, pairs, after, span))
        _add(writers, [row for row in rows if row[1] is not None])
        ends = [row[2:] for row in rows if row[1] is None]
        if not ends:
            return
        after = ends[0][: len(key)]
        pause(PACE * (time.monotonic() - begun))


def batch_query(
    audit: Audit, pairs: Sequence[Pair], after: Sequence[str], span: tuple[date, date, ZoneInfo]
) -> tuple[sql.Composed, list[Any]]:
    """A batch of the rows whose key follows `after` (the text of each of its columns; nothing: from the beginning).

    Rows: (who, day, NULL, …) for each writer, and (NULL, NULL, key, …) for the last row of the batch.
    """
    from psycopg import sql

    key = audit.table.key
    names = [sql.Identifier(column.name) for column in key]
    where: sql.Composable = sql.SQL("")
    if after:
        marks = [sql.SQL("%s::") + sql.SQL(column.kind) for column in key]
        where = sql.SQL(" WHERE ({}) > ({})").format(sql.SQL(", ").join(names), sql.SQL(", ").join(marks))
    rows = sql.SQL("SELECT {columns} FROM {table}{where} ORDER BY {key} LIMIT {batch}").format(
        columns=_names(pairs, key),
        table=_table(audit),
        where=where,
        key=sql.SQL(", ").join(names),
        batch=sql.Literal(BATCH),
    )
    query, parameters = _writers_in(rows, list(after), pairs, *span, width=len(key))
    last = sql.SQL(" UNION ALL (SELECT NULL, NULL, {texts} FROM batch ORDER BY {order} LIMIT 1)").format(
        texts=sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in names),
        # Named with the table: a bare name would mean the text, which sorts otherwise.
        order=sql.SQL(", ").join(sql.SQL("batch.{} DESC").format(name) for name in names),
    )
    return query + last, parameters


def _writers_in(
    rows: sql.Composed,
    parameters: list[Any],
    pairs: Sequence[Pair],
    first: date,
    last: date,
    zone: ZoneInfo,
    width: int = 0,
) -> tuple[sql.Composed, list[Any]]:
    """The distinct (who, day, and `width` empty columns) among rows, for each pair of columns."""
    from psycopg import sql

    parts = []
    empty = sql.SQL(", NULL") * width if width else sql.SQL("")
    for who, when in pairs:
        who_text: sql.Composable = sql.SQL("{}::text").format(sql.Identifier(who.name))
        if who.kind in TIMES:
            made, _ = _local_day(who, first, last, zone)
            who_text = sql.SQL("coalesce({}::text, '0001-01-01')").format(made)
        local, bounds = _local_day(when, first, last, zone)
        parts.append(
            sql.SQL(
                "SELECT DISTINCT {who}, {day}{empty} FROM batch"
                " WHERE {when} >= %s AND {when} < %s AND {who} IS NOT NULL"
            ).format(who=who_text, day=local, empty=empty, when=sql.Identifier(when.name))
        )
        parameters += bounds
    # A batch is read once and kept; a whole table is too big to be kept.
    kept = sql.SQL("MATERIALIZED" if width else "NOT MATERIALIZED")
    union = sql.SQL(" UNION ALL ").join(parts)
    return sql.SQL("WITH batch AS {kept} ({rows}) {union}").format(kept=kept, rows=rows, union=union), parameters


def _local_day(when: Column, first: date, last: date, zone: ZoneInfo) -> tuple[sql.Composable, list[Any]]:
    """The local day of a column of times, and the beginning and the end of a span of days (of 23 to 25 hours each) in
    the form of the column. A time without a zone is local.
    """
    from psycopg import sql

    name = sql.Identifier(when.name)
    ends = (first, last + timedelta(days=1))
    if when.kind == "date":
        return name, list(ends)
    if when.kind == "timestamp with time zone":
        local = sql.SQL("({name} AT TIME ZONE {zone})::date").format(name=name, zone=sql.Literal(zone.key))
        return local, [datetime.combine(end, time_of_day(), zone) for end in ends]
    return sql.SQL("{}::date").format(name), [datetime.combine(end, time_of_day()) for end in ends]


def _names(pairs: Sequence[Pair], key: Sequence[Column]) -> sql.Composable:
    from psycopg import sql

    names = dict.fromkeys(column.name for column in [*key, *(column for pair in pairs for column in pair)])
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def _table(audit: Audit) -> sql.Composable:
    from psycopg import sql

    return sql.Identifier(audit.table.schema, audit.table.name)
