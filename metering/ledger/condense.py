"""Many small CSV files of a month become one table of text, read by the block: the way in for whole years.

Nothing is judged here but whether rows are rows; `sound.py` looks at the cells. Columns are those of the CSV files,
dictionary-encoded: each distinct text stands once, so that whatever is asked of a text is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from metering.ledger.files import LedgerFile
from metering.ledger.months import Vanished
from metering.ledger.rows import HEADERS, frame_problem, header_line, read_samples, read_users, split_rows
from metering.samples import FileKind
from provision.errors import ChillError, Problem

TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Raw:
    """The rows of the files of one kind of one month: `table` has the columns of the CSV files as TEXT, one chunk each;
    `index` says for each row where in `files` its file stands.
    """

    files: Sequence[LedgerFile]
    table: pa.Table
    index: npt.NDArray[np.int64]

    def without(self, positions: npt.NDArray[np.int64]) -> Raw:
        """The same less all rows of the files at these positions."""
        kept = ~np.isin(self.index, positions)
        return Raw(self.files, self.table.filter(pa.array(kept)), self.index[kept])


@dataclass(frozen=True, slots=True)
class Body:
    """The rows of one file: as bytes without a quote in them, or, where there are quotes, as parsed cells."""

    file: LedgerFile
    plain: bytes = b""
    cells: Sequence[Sequence[str]] = ()

    @property
    def length(self) -> int:
        return len(self.cells) or self.plain.count(b"\n")


def condense(files: Sequence[LedgerFile], kind: FileKind) -> tuple[Raw, list[Problem]]:
    """The rows of one month's files of one kind. A file with rows that are not rows at all is left out and reported.

    Vanished when a file is gone; ChillError when one cannot be read.
    """
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
        else:
            bodies.append(Body(file, plain=data[header:]))
    return bodies, problems


def _read(files: Sequence[LedgerFile]) -> Iterator[tuple[LedgerFile, bytes]]:
    for file in files:
        try:
            yield file, file.path.read_bytes()
        except FileNotFoundError:
            raise Vanished(file.place) from None
        except OSError as error:
            raise ChillError(f"{file.place}: cannot be read: {error.strerror}", "see who owns the file") from None


def _parsed(bodies: Sequence[Body], kind: FileKind) -> Raw:
    """The rows of all bodies as one table. ArrowInvalid when a plain one has rows of another width or is
    not UTF-8.
    """
    plain = [body for body in bodies if not body.cells]
    quoted = [body for body in bodies if body.cells]
    header = HEADERS[kind]
    tables = [_from_cells([cells for body in quoted for cells in body.cells], header)]
    if block := b"".join(body.plain for body in plain):
        tables.append(_from_block(block, header))
    table = one_chunk(pa.concat_tables(tables))
    lengths = np.array([body.length for body in (*quoted, *plain)], dtype=np.int64)
    if int(lengths.sum()) != table.num_rows:
        raise pa.ArrowInvalid("the rows are not one to a line")
    index = np.repeat(np.arange(len(lengths)), lengths)
    return Raw([body.file for body in (*quoted, *plain)], table, index)


def one_chunk(table: pa.Table) -> pa.Table:
    """The same table with one dictionary for each column of text, and one chunk."""
    return table.unify_dictionaries().combine_chunks()


def _from_cells(rows: Sequence[Sequence[str]], header: Sequence[str]) -> pa.Table:
    columns = {name: pa.array([row[i] for row in rows], pa.string()).cast(TEXT) for i, name in enumerate(header)}
    return pa.table(columns)


def _from_block(block: bytes, header: Sequence[str]) -> pa.Table:
    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, TEXT), strings_can_be_null=False)
    return pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(column_names=list(header)),
        # No quote is in the block; an empty line is a fault, not something to skip.
        parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=text,
    )
