"""Opens a ledger: its files become two tables, checked as a whole, that say what counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
from ibis.expr import types as ir

from metering.ledger import resolution
from metering.ledger.engines import DUCKDB, make_engine
from metering.ledger.files import LedgerFile, list_files
from metering.ledger.month_files import MonthFiles, by_month
from metering.ledger.monthly import KINDS, read_month, write_rows
from metering.ledger.months import Hold, Month, Vanished, list_months
from metering.ledger.scratch import Scratch
from metering.ledger.settle import ADDENDS, COUNTS, SAMPLES, USERS
from metering.samples import FileKind
from provision.errors import ChillError, InvalidFiles, Problem

# How often a ledger is listed anew because a compaction took files away meanwhile.
ATTEMPTS = 5
# Inside the ledger; hidden, so not part of it.
READING = ".reading"


class Ledger:
    """A ledger as it stood when it was opened. Its tables can only be had when the files keep the format.

    What is not compacted is condensed into Parquet files in a private temporary directory, which goes when the ledger
    is no longer used. Compacted months are read where they lie, and stay there as long.
    """

    def __init__(
        self,
        directory: Path,
        files: Sequence[LedgerFile],
        found: Sequence[Problem],
        compacted: Sequence[Month] = (),
        engine: str = DUCKDB,
    ) -> None:
        self.directory = directory
        self._held = Hold(compacted)
        # Engines on other machines see the ledger, but not where this machine has its temporary files.
        self._scratch = Scratch(None if engine == DUCKDB or not directory.is_dir() else directory / READING)
        self._engine = make_engine(engine, self._scratch.path)
        self._problems = [*found, *(problem for month in compacted for problem in month.problems())]
        self._places: dict[str, str] = {}
        self._paths: dict[FileKind, list[Path]] = {"samples": [], "users": []}
        # Without its lists and checksums nothing is known of a compacted month.
        for month in by_month(files, [] if self._problems else compacted):
            self._take(month)
        self.rows = self._table("samples", SAMPLES.insert(0, ADDENDS))
        self._user_rows = self._table("users", USERS.insert(0, COUNTS))

    def _take(self, month: MonthFiles) -> None:
        """Note the Parquet files of a month, made here unless all of it is compacted."""
        self._places |= {file.run: file.place for file in month.files if file.name.kind == "samples"}
        if month.compacted and not month.files:
            for kind in KINDS:
                self._paths[kind].append(month.compacted.parquet(kind))
            return
        settled = read_month(month)
        self._problems += settled.problems
        for kind, table in settled.tables.items():
            if table.num_rows:
                path = self._scratch.path / f"{month.month}.{kind}.parquet"
                write_rows(table, path)
                self._paths[kind].append(path)

    def _table(self, kind: FileKind, schema: pa.Schema) -> ir.Table:
        return self._engine.table(ibis.util.gen_name(kind), self._paths[kind], schema)

    def bring(self, columns: Mapping[str, Sequence[Any]], schema: ibis.Schema) -> ir.Table:
        """Rows that a question brings with it, by column, as a table to be joined with those of the ledger."""
        return self._engine.bring(columns, schema)

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Run an expression over this ledger's tables: its rows, as plain Python values by column name."""
        return self._engine.fetch(expression)

    @property
    def samples(self) -> ir.Table:
        """What counts: day, instance, metric, value (exact decimal); one row per day, instance and metric.

        InvalidFiles when a file breaks the format: no number comes from half of a ledger.
        """
        self._require_sound()
        return resolution.resolved_samples(self.rows)

    @property
    def users(self) -> ir.Table:
        """Who was active: day, instance, user (a pseudonym), distinct. InvalidFiles as with `samples`."""
        return self.user_days.select("day", "instance", "user").distinct()

    @property
    def user_days(self) -> ir.Table:
        """As `users`, but a person seen by two sources on one day stands twice: for counts of distinct
        people.
        """
        self._require_sound()
        return resolution.counting_users(self._user_rows)

    @property
    def failures(self) -> ir.Table:
        """Samples that failed, whether or not a later run made up for them: day, instance, metric,
        collected_at, note.
        """
        self._require_sound()
        failed = self.rows.filter(self.rows.status == "failed")
        return failed.select("instance", "metric", "collected_at", "note", "day")

    def _require_sound(self) -> None:
        if self._problems:
            raise InvalidFiles(self._problems, f"nothing is computed from {self.directory} until this is put right")

    def problems(self, known: Collection[str] | None = None) -> list[Problem]:
        """Everything wrong with the files, each with file and line.

        With `known`, the slugs of the fleet, samples of any other instance are a problem as well.
        """
        unknown = [] if known is None else list(self._unknown_instances(set(known)))
        return [*self._problems, *unknown]

    def _unknown_instances(self, known: Collection[str]) -> Iterator[Problem]:
        # The users of an instance without samples are a contradiction already.
        named = {row["instance"] for row in self.fetch(self.rows.select("instance").distinct())}
        unknown = sorted(named - {*known})
        if not unknown:
            return
        rows = self.rows.filter(self.rows.instance.isin(unknown))
        found = rows.group_by("instance").agg(run=rows.run.min(), runs=rows.run.nunique())
        for row in self.fetch(found.order_by("instance")):
            month = f"{self.directory.name}/{row['run'][:4]}/{row['run'][:7]}"
            place = self._places.get(row["run"], f"{month}: {row['run']}")
            more = f" (and in {row['runs'] - 1} more files)" if row["runs"] > 1 else ""
            hint = "add inventory/instances/<slug>.yml for it, or move its files out of the ledger"
            yield Problem(place, f"{row['instance']!r} is not an instance of this fleet{more}", hint)


def open_ledger(path: Path, years: Iterable[int] | None = None, engine: str = DUCKDB) -> Ledger:
    """Open the ledger in directory `path`: the files of `years`, or of all. An absent or empty one has no
    samples.

    `engine` as in chill.toml. Problems in the files do not raise here: ask `problems`. ChillError when files cannot be
    read, RequestError when the engine cannot run.
    """
    wanted = None if years is None else list(years)
    for _ in range(ATTEMPTS):
        # Files first: a compaction removes them only when the month that holds their rows is there.
        files, found = list_files(path, wanted)
        try:
            return Ledger(path, files, found, list_months(path, wanted)[0], engine)
        except Vanished:
            continue
    raise ChillError(f"{path}: files go while it is read", "wait until chill-meter compact has ended")
