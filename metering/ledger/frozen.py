"""A year of the ledger as it stood once: of what it consisted, and the same year read again without what came later.

A ledger only grows: late samples are new files. What a year consisted of is therefore the names of its files with
their SHA-256, whether they lie there as CSV or were compacted meanwhile, and a digest of their rows, the same for both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metering.ledger.engines import DUCKDB
from metering.ledger.files import list_files
from metering.ledger.month_files import MonthFiles, by_month
from metering.ledger.monthly import KINDS, read_month, write_rows
from metering.ledger.months import Vanished, file_digest, known_names, list_months
from metering.ledger.settle import SAMPLES, USERS, settle
from metering.ledger.store import ATTEMPTS, Ledger
from metering.samples import FileKind
from provision.errors import ChillError, Problem

_SCHEMAS: Mapping[FileKind, pa.Schema] = {"samples": SAMPLES, "users": USERS}
_SUFFIX: Mapping[FileKind, str] = {kind: f".{kind}.csv" for kind in KINDS}


@dataclass(frozen=True, slots=True)
class RowsDigest:
    """How many rows a month has of one kind, and the SHA-256 of their canonical text (docs/closing.md)."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Present:
    """What the ledger holds of a year: SHA-256 of CSV files by name, of those that lie there and of those compacted."""

    files: Mapping[str, str]
    folded: Mapping[str, str]

    @property
    def names(self) -> Collection[str]:
        """Of all files, there or compacted."""
        return {*self.files, *self.folded}

    def digest(self, name: str) -> str:
        """The SHA-256 of a file: of the one that lies there, else of the one that was compacted."""
        return self.files.get(name) or self.folded[name]


def year_files(ledger: Path, year: int) -> Present:
    """The files of which `year` consists now. ChillError when they cannot be read."""
    for _ in range(ATTEMPTS):
        files, _found = list_files(ledger, [year])
        try:
            folded = {str(name): digest for name, digest in known_names(ledger, [year]).items()}
        except (OSError, ValueError):
            # `damaged_months` says what is wrong with it.
            folded = {}
        try:
            return Present({file.path.name: file_digest(file.path) for file in files}, folded)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ChillError(f"{error.filename}: cannot be read: {error.strerror}", "see who owns the file") from None
    raise ChillError(f"{ledger}: files go while it is read", "wait until chill-meter compact has ended")


def year_names(ledger: Path, year: int) -> set[str]:
    """The names of the files of which `year` consists now. OSError or ValueError as with `known_names`."""
    files, _found = list_files(ledger, [year])
    return {file.path.name for file in files} | {str(name) for name in known_names(ledger, [year])}


def damaged_months(ledger: Path, year: int) -> list[Problem]:
    """What is wrong with the compacted months of `year`: nothing can be said of their rows."""
    return [problem for month in list_months(ledger, [year])[0] for problem in month.problems()]


def rows_digests(ledger: Path, year: int, names: Collection[str]) -> dict[str, dict[FileKind, RowsDigest]]:
    """By month and kind, the digest of the rows that came in the files `names`; only of months that have any."""
    runs = _Runs.of(names)
    found: dict[str, dict[FileKind, RowsDigest]] = {}
    for month in _months(ledger, year):
        tables = read_month(month).tables
        digests = {kind: _digest(runs.only(tables[kind], kind), kind) for kind in KINDS}
        if any(digest.rows for digest in digests.values()):
            found[month.month] = digests
    return found


def open_as_of(ledger: Path, year: int, names: Collection[str], engine: str = DUCKDB) -> Ledger:
    """The ledger of `year` as if there were only the rows that came in the files `names`."""
    for _ in range(ATTEMPTS):
        files, found = list_files(ledger, [year])
        try:
            return _Frozen(ledger, files, found, list_months(ledger, [year])[0], engine, runs=_Runs.of(names))
        except Vanished:
            continue
    raise ChillError(f"{ledger}: files go while it is read", "wait until chill-meter compact has ended")


@dataclass(frozen=True, slots=True)
class _Runs:
    """Which runs' rows are taken, by kind: those whose file of that kind is named."""

    names: Mapping[FileKind, pa.Array]

    @classmethod
    def of(cls, names: Iterable[str]) -> _Runs:
        listed = list(names)
        return cls({kind: pa.array(_run_names(listed, kind), pa.string()) for kind in KINDS})

    def only(self, table: pa.Table, kind: FileKind) -> pa.Table:
        """The rows of `table` that came in these runs, with the columns of the files."""
        taken = pc.is_in(table["run"].cast(pa.string()), value_set=self.names[kind])
        return table.filter(taken).select(_SCHEMAS[kind].names)


def _run_names(names: Iterable[str], kind: FileKind) -> list[str]:
    return [name.removesuffix(_SUFFIX[kind]) for name in names if name.endswith(_SUFFIX[kind])]


def _months(ledger: Path, year: int) -> list[MonthFiles]:
    files, _found = list_files(ledger, [year])
    return by_month(files, list_months(ledger, [year])[0])


def _digest(table: pa.Table, kind: FileKind) -> RowsDigest:
    """Each row is a line, its cells joined by tabs in the schema's order, nothing for null; lines in byte order."""
    cells = [pc.fill_null(table[name].cast(pa.string()), "") for name in _SCHEMAS[kind].names]
    lines = pc.binary_join_element_wise(*cells, "\t")
    digest = hashlib.sha256()
    for chunk in lines.take(pc.sort_indices(lines)).chunks if isinstance(lines, pa.ChunkedArray) else [lines]:
        digest.update("".join(f"{line}\n" for line in chunk.to_pylist()).encode())
    return RowsDigest(len(lines), digest.hexdigest())


class _Frozen(Ledger):
    """A ledger of which only some runs' rows count."""

    def __init__(self, *arguments: Any, runs: _Runs) -> None:
        self._runs = runs
        super().__init__(*arguments)

    def _take(self, month: MonthFiles) -> None:
        self._places |= {file.run: file.place for file in month.files if file.name.kind == "samples"}
        read = read_month(month)
        self._problems += read.problems
        kept = [self._runs.only(read.tables[kind], kind) for kind in KINDS]
        for kind, table in zip(KINDS, settle(*kept), strict=True):
            if table.num_rows:
                path = self._scratch.path / f"{month.month}.{kind}.parquet"
                write_rows(table, path)
                self._paths[kind].append(path)
