"""Many small CSV files become one columnar file a month, which any engine reads fast: Apache Parquet.

What is condensed is what the files say, neither checked cell by cell nor resolved. Columns: those of the
CSV files as text, and in front of them `run` (the file's name without its ending) and `date` (the day in
that name).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from metering.ledger.files import LedgerFile
from metering.ledger.rows import HEADERS, frame_problem, header_line, read_samples, read_users, split_rows
from metering.samples import FileKind
from provision.errors import ChillError, Problem

KINDS: tuple[FileKind, ...] = ("samples", "users")


@dataclass(slots=True)
class Condensed:
    """The Parquet files of each kind, how many rows each month (`2026-01`) has in them, and what was wrong with the
    files left out.
    """

    paths: dict[FileKind, list[Path]] = field(default_factory=lambda: {"samples": [], "users": []})
    lengths: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Body:
    """The rows of one file: as bytes without a quote in them, or, where there are quotes, as parsed cells."""

    file: LedgerFile
    plain: bytes = b""
    cells: Sequence[Sequence[str]] = ()

    @property
    def length(self) -> int:
        return len(self.cells) or self.plain.count(b"\n")


def condense(files: Sequence[LedgerFile], directory: Path) -> Condensed:
    """Write `<kind>-<YYYY-MM>.parquet` into `directory` for every month and kind of which there are files."""
    done = Condensed()
    ordered = sorted(files, key=_month_and_kind)
    for (month, kind), group in groupby(ordered, key=_month_and_kind):
        table, problems = _table(list(group), kind)
        done.problems += problems
        if table.num_rows:
            path = directory / f"{kind}-{month}.parquet"
            pyarrow.parquet.write_table(table, path)
            done.paths[kind].append(path)
            done.lengths[month] += table.num_rows
    return done


def _month_and_kind(file: LedgerFile) -> tuple[str, FileKind]:
    return file.path.name[:7], file.name.kind


def _table(files: Sequence[LedgerFile], kind: FileKind) -> tuple[pa.Table, list[Problem]]:
    """One month's rows. Files with rows that are not rows at all are left out and reported."""
    bodies, problems = _bodies(files, kind)
    try:
        return _parsed(bodies, kind), problems
    except pa.ArrowInvalid:
        # The parser stops at the first fault of a whole month: look for every file at fault.
        faults = {body.file: _row_problems(body.file) for body in bodies}
        problems += [problem for found in faults.values() for problem in found]
        return _parsed([body for body in bodies if not faults[body.file]], kind), problems


def _row_problems(file: LedgerFile) -> Sequence[Problem]:
    return (read_samples(file) if file.name.kind == "samples" else read_users(file)).problems


def _bodies(files: Sequence[LedgerFile], kind: FileKind) -> tuple[list[Body], list[Problem]]:
    bodies: list[Body] = []
    problems: list[Problem] = []
    header = len(header_line(kind))
    for file, data in _read(files):
        if problem := frame_problem(data, kind, file.place):
            problems.append(problem)
        elif b'"' in data:
            rows, faults = split_rows(data, kind, file.place)
            problems += faults
            bodies.append(Body(file, cells=[row.cells for row in rows]))
        elif kind == "users" and _repeats_a_line(data):
            problems += read_users(file).problems
        else:
            bodies.append(Body(file, plain=data[header:]))
    return bodies, problems


def _read(files: Sequence[LedgerFile]) -> Iterator[tuple[LedgerFile, bytes]]:
    for file in files:
        try:
            yield file, file.path.read_bytes()
        except OSError as error:
            raise ChillError(f"{file.place}: cannot be read: {error.strerror}", "see who owns the file") from None


def _repeats_a_line(data: bytes) -> bool:
    lines = data.split(b"\n")
    return len(set(lines)) != len(lines)


def _parsed(bodies: Sequence[Body], kind: FileKind) -> pa.Table:
    """The rows of all bodies as one table. ArrowInvalid when a plain one has rows of another width or is
    not UTF-8.
    """
    plain = [body for body in bodies if not body.cells]
    quoted = [body for body in bodies if body.cells]
    header = HEADERS[kind]
    block = b"".join(body.plain for body in plain)
    tables = [_from_cells([cells for body in quoted for cells in body.cells], header)]
    if block:
        tables.append(_from_block(block, header))
    table = pa.concat_tables(tables)
    lengths = np.array([body.length for body in (*quoted, *plain)], dtype=np.int64)
    if int(lengths.sum()) != table.num_rows:
        raise pa.ArrowInvalid("the rows are not one to a line")
    index = np.repeat(np.arange(len(lengths)), lengths)
    ordered = [body.file for body in (*quoted, *plain)]
    dates = pa.array([file.name.day for file in ordered], pa.date32()).take(pa.array(index))
    runs = pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array([f.run for f in ordered], pa.string()))
    return table.add_column(0, "date", dates).add_column(0, "run", runs)


def _from_cells(rows: Sequence[Sequence[str]], header: Sequence[str]) -> pa.Table:
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(header)}
    return pa.table(columns)


def _from_block(block: bytes, header: Sequence[str]) -> pa.Table:
    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    return pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(column_names=list(header)),
        # No quote is in the block; an empty line is a fault, not something to skip.
        parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=text,
    )
