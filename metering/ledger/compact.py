"""Compaction: the CSV files of closed months become Parquet files with the same rows, which give the same answers.

At every moment either the CSV files of a month answer or its Parquet files do. These are written beside the ledger and
synced to the disk; the one rename that brings their directory into place is the moment from which the CSV files in its
list no longer count; only then are they removed. Whatever was left half-done, the next compaction finishes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from metering.ledger.files import MOVE_IT, LedgerFile, list_files, locked
from metering.ledger.month_files import MonthFiles, by_month
from metering.ledger.monthly import KINDS, read_month, write_rows
from metering.ledger.months import FOLDED, SUMS, Month, file_digest, list_months, write_sums
from metering.ledger.settle import ordered
from metering.samples import FileKind
from provision.errors import ChillError, InvalidFiles, PartlyDone, Problem

# Inside the ledger, so that moving a month in is a rename within one file system; hidden, so not part of it.
STAGING = ".compacting"
# What lies together in the files: readers ask by instance.
_ORDER: Mapping[FileKind, tuple[str, ...]] = {
    "samples": ("instance", "metric", "day", "run", "collected_at"),
    "users": ("instance", "user", "day", "run"),
}


@dataclass(frozen=True, slots=True)
class Compacted:
    """A month that was compacted: how many CSV files it took in, and their bytes and those of the files it became."""

    month: str
    files: int
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        before, after = (f"{size / 10**6:.1f} MB" for size in (self.bytes_before, self.bytes_after))
        return f"{self.month}: {self.files} files of {before} are now in Parquet files of {after}"


def compact(ledger: Path, until: str, keep_csv: bool, report: Callable[[str], None]) -> list[Compacted]:
    """Compact every month up to `until` (such as 2026-09, included) of which there are CSV files that are not
    compacted; of one that was compacted before, they are added to it. Without `keep_csv`, CSV files whose rows are in a
    compacted month are removed.

    `report` gets a line of text about each month. A month with a problem stays as it is: PartlyDone when others were
    compacted, else InvalidFiles. ChillError when the ledger cannot be read or written.
    """
    done: list[Compacted] = []
    with locked(ledger):
        shutil.rmtree(ledger / STAGING, ignore_errors=True)
        files, problems = list_files(ledger)
        if problems:
            raise InvalidFiles(problems, "nothing was compacted")
        compacted = [month for month in list_months(ledger)[0] if month.month <= until]
        damaged = [problem for month in compacted for problem in month.problems()]
        if damaged:
            raise InvalidFiles(damaged, "nothing was compacted")
        for month in by_month([file for file in files if file.path.name[:7] <= until], compacted):
            if month.files:
                found, faults = _compact(ledger, month)
                problems += faults
                done += found
                for one in found:
                    report(str(one))
        problems += _tidy(ledger, until, files, keep_csv)
        shutil.rmtree(ledger / STAGING, ignore_errors=True)
    if problems:
        raise _unsound(problems, done)
    return done


def _unsound(problems: Sequence[Problem], done: Sequence[Compacted]) -> ChillError:
    if not done:
        return InvalidFiles(problems, "a month with a fault stays as it is: correct it, then run the command again")
    text = "\n".join(str(problem) for problem in problems)
    return PartlyDone(
        f"{text}\n{len(done)} months were compacted", "those with a fault stay as they are: correct it first"
    )


def _compact(ledger: Path, month: MonthFiles) -> tuple[list[Compacted], Sequence[Problem]]:
    """One month: what became of it, or what is wrong with its files."""
    settled = read_month(month)
    if settled.problems:
        return [], settled.problems
    folded = {file.path.name: file_digest(file.path) for file in month.files}
    earlier = month.compacted.folded() if month.compacted else {}
    made = write_month(ledger, month.month, settled.tables, {**earlier, **folded})
    before = sum(file.path.stat().st_size for file in month.files)
    after = sum(made.parquet(kind).stat().st_size for kind in KINDS)
    return [Compacted(month.month, len(folded), before, after)], []


def _tidy(ledger: Path, until: str, files: Sequence[LedgerFile], keep_csv: bool) -> list[Problem]:
    """Remove what no longer counts: generations that were displaced and that nobody reads, and CSV files. What is wrong
    with those that stay.
    """
    compacted, displaced = list_months(ledger)
    for month in displaced:
        _remove_displaced(month, ledger / STAGING)
    present: dict[str, list[LedgerFile]] = {}
    for file in files:
        present.setdefault(file.path.name[:7], []).append(file)
    problems: list[Problem] = []
    for month in compacted:
        if not keep_csv and month.month <= until and month.month in present:
            problems += _remove_folded(month, present[month.month])
    return problems


def _remove_folded(month: Month, files: Sequence[LedgerFile]) -> list[Problem]:
    """Remove the CSV files whose rows are in the month. One that has another content than then stays, as a problem."""
    folded = month.folded()
    problems: list[Problem] = []
    for file in files:
        if file.path.name in folded:
            if file_digest(file.path) == folded[file.path.name]:
                file.path.unlink()
            else:
                problems.append(Problem(file.place, f"differs from the one whose rows are in {month.place}", MOVE_IT))
    sync(month.path.parent)
    return problems


def _remove_displaced(month: Month, staging: Path) -> None:
    descriptor = os.open(month.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Renamed first, so that no name in the ledger ever stands for half a month.
        staging.mkdir(exist_ok=True)
        month.path.rename(staging / f"{month.path.name}.displaced")
    except BlockingIOError:
        # Somebody reads it: the next compaction removes it.
        return
    finally:
        os.close(descriptor)


def write_month(ledger: Path, month: str, tables: Mapping[FileKind, pa.Table], folded: Mapping[str, str]) -> Month:
    """Bring a new generation of a month into the ledger, whole and synced to the disk. `tables`: all its settled rows;
    `folded`: SHA-256 by name of every CSV file they come from. The ledger's lock must be held.

    ChillError when what was written does not read as what was meant.
    """
    earlier = [found for group in list_months(ledger, [int(month[:4])]) for found in group if found.month == month]
    generation = max((found.generation for found in earlier), default=0) + 1
    name = f"{month}.{generation}"
    staged = ledger / STAGING / name
    staged.mkdir(parents=True)
    for kind in KINDS:
        path = staged / f"{kind}.parquet"
        table = ordered(tables[kind], _ORDER[kind])
        write_rows(table, path)
        if not pyarrow.parquet.read_table(path).equals(table.cast(pyarrow.parquet.read_schema(path))):
            raise ChillError(f"{path}: does not hold what was written", "the CSV files stay; check the disk")
    (staged / FOLDED).write_text(write_sums(folded), encoding="utf-8")
    sums = {file.name: file_digest(file) for file in staged.iterdir()}
    (staged / SUMS).write_text(write_sums(sums), encoding="utf-8")
    for path in (*staged.iterdir(), staged):
        sync(path)
    home = ledger / month[:4]
    if not home.is_dir():
        home.mkdir()
        sync(ledger)
    staged.rename(home / name)
    sync(home)
    return Month(home / name, month, generation, f"{ledger.name}/{month[:4]}/{name}")


def sync(path: Path) -> None:
    """Bring a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
