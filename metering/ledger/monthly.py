"""The rows of one month of a ledger, checked as a whole and settled: the one way in, for answers and for compaction.

A month is its CSV files, and what was compacted of it before they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from metering.ledger.condense import TEXT, Raw, condense
from metering.ledger.files import MOVE_IT, LedgerFile
from metering.ledger.month_files import MonthFiles
from metering.ledger.rows import pair_problem, read_samples, read_users
from metering.ledger.settle import SAMPLES, USERS, repeated_samples, settle
from metering.ledger.sound import contradictions, typed_samples, typed_users, wrong_samples, wrong_users
from metering.samples import FileKind
from provision.errors import Problem

KINDS: tuple[FileKind, ...] = ("samples", "users")
# Files at fault that are read again to say what is wrong in them; the rest is only counted.
EXAMINED = 50
# Rows that an engine reads at a time, and a dictionary that holds their texts.
_GROUP = 500_000
_DICTIONARY = 8 * 2**20


@dataclass(frozen=True, slots=True)
class MonthRows:
    """The settled rows of a month, and what is wrong with its files: then the rows are not all there."""

    tables: dict[FileKind, pa.Table]
    problems: Sequence[Problem]


def read_month(month: MonthFiles) -> MonthRows:
    """Read, check and settle all rows of a month. Vanished or ChillError when a file cannot be read."""
    raw: dict[FileKind, Raw] = {}
    problems: list[Problem] = []
    wrong: list[tuple[LedgerFile, FileKind]] = []
    for kind in KINDS:
        read, faults = condense([file for file in month.files if file.name.kind == kind], kind)
        positions = wrong_samples(read) if kind == "samples" else wrong_users(read)
        wrong += [(read.files[at], kind) for at in positions]
        raw[kind] = read.without(positions) if len(positions) else read
        problems += faults
    problems += _examined(month.month, wrong)
    samples, users = typed_samples(raw["samples"]), typed_users(raw["users"])
    # Files that were left out cannot be compared with the ones beside them.
    contradicted = [] if problems else list(_contradicted(samples, users, month.files))
    if month.compacted:
        samples = pa.concat_tables([read_rows(month.compacted.parquet("samples"), SAMPLES), samples])
        users = pa.concat_tables([read_rows(month.compacted.parquet("users"), USERS), users])
    problems += _repeated(samples, month)
    settled = settle(samples, users)
    return MonthRows(dict(zip(KINDS, settled, strict=True)), [*problems, *contradicted])


def read_rows(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` of a Parquet file."""
    texts = [field.name for field in schema if field.type == TEXT]
    return pyarrow.parquet.read_table(path, columns=schema.names, read_dictionary=texts).cast(schema)


def write_rows(table: pa.Table, path: Path) -> None:
    """Write settled rows as Parquet: text as text, so that any engine reads it."""
    plain = pa.schema([(f.name, f.type.value_type if f.type == TEXT else f.type) for f in table.schema])
    pyarrow.parquet.write_table(
        table.cast(plain),
        path,
        row_group_size=_GROUP,
        compression="zstd",
        dictionary_pagesize_limit=_DICTIONARY,
        store_schema=False,
    )


def _examined(month: str, wrong: Sequence[tuple[LedgerFile, FileKind]]) -> Iterator[Problem]:
    for file, kind in wrong[:EXAMINED]:
        found = (read_samples(file) if kind == "samples" else read_users(file)).problems
        yield from found or [Problem(file.place, "breaks the format", MOVE_IT)]
    if len(wrong) > EXAMINED:
        rest = f"{len(wrong) - EXAMINED} more files break the format"
        yield Problem(month, rest, "correct those above first")


def _repeated(samples: pa.Table, month: MonthFiles) -> Iterator[Problem]:
    files = {file.run: file for file in month.files if file.name.kind == "samples"}
    within: set[str] = set()
    for found in repeated_samples(samples):
        if found.one == found.other and found.one in files:
            if found.one not in within:
                within.add(found.one)
                yield from read_samples(files[found.one]).problems
            continue
        # The place that can still be put right comes first; what was compacted stays.
        one, other = sorted((found.one, found.other), key=lambda run: (run in files, run))
        first, place = (_place(run, files, month) for run in (one, other))
        what = f"{found.instance} {found.metric}"
        yield Problem(place, f"{what} was collected at {found.collected_at}, as in {first}", MOVE_IT)


def _place(run: str, files: dict[str, LedgerFile], month: MonthFiles) -> str:
    if run in files:
        return files[run].place
    return f"{month.compacted.place}/{run}" if month.compacted else run


def _contradicted(samples: pa.Table, users: pa.Table, files: Sequence[LedgerFile]) -> Iterator[Problem]:
    places = {file.run: file.place for file in files if file.name.kind == "samples"}
    listed = {file.run for file in files if file.name.kind == "users"}
    for found in contradictions(samples, users):
        yield from pair_problem(places[found.run], found.instance, found.value, found.people, found.run in listed)
