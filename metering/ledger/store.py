"""Opens a ledger: its files become two tables, checked as a whole, that say what counts."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import ibis
from ibis.expr import types as ir

from metering.ledger import checks, resolution
from metering.ledger.condense import Condensed, condense
from metering.ledger.files import MOVE_IT, LedgerFile, list_files
from metering.ledger.rows import HEADERS, pair_problem, read_samples, read_users
from metering.samples import FileKind
from provision.errors import InvalidFiles, Problem

# Files at fault that are read again to say what is wrong in them; the rest is only counted.
EXAMINED = 50
# The engine spills to disk above this, so that a big fleet needs no big machine.
MEMORY = "1GB"
# Rows of whole months that are checked by one query.
CHECKED_AT_ONCE = 5_000_000


class Ledger:
    """A ledger as it stood when it was opened. Its tables can only be had when the files keep the format.

    The engine's own files lie in a private temporary directory, which goes when the ledger is no longer used.
    """

    def __init__(self, directory: Path, files: Sequence[LedgerFile], found: Sequence[Problem]) -> None:
        self.directory = directory
        self._files = {(file.run, file.name.kind): file for file in files}
        self._scratch = Path(tempfile.mkdtemp(prefix="chill-ledger-"))
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self._connection = _connect(self._scratch)
        # Users without the samples that count them belong to a run that has not arrived whole.
        whole = [f for f in files if f.name.kind == "samples" or (f.run, "samples") in self._files]
        condensed = condense(whole, self._scratch)
        self._found = [*found, *condensed.problems]
        self._lengths = condensed.lengths
        self.rows = self._table("samples", condensed)
        self._user_rows = self._table("users", condensed)

    def _table(self, kind: FileKind, condensed: Condensed) -> ir.Table:
        if condensed.paths[kind]:
            return self._connection.read_parquet(condensed.paths[kind], table_name=kind)
        schema = {"run": "string", "date": "date"} | dict.fromkeys(HEADERS[kind], "string")
        return self._connection.create_table(kind, schema=ibis.schema(schema), temp=True)

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Run an expression over this ledger's tables: its rows, as plain Python values by column name."""
        rows: list[dict[str, Any]] = self._connection.to_pyarrow(expression).to_pylist()
        return rows

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
        return self.user_days.distinct()

    @property
    def user_days(self) -> ir.Table:
        """As `users`, but a person seen by two sources on one day stands twice: for counts of distinct
        people.
        """
        self._require_sound()
        return resolution.counting_users(self.rows, self._user_rows)

    @property
    def failures(self) -> ir.Table:
        """Samples that failed, whether or not a later run made up for them: day, instance, metric,
        collected_at, note.
        """
        self._require_sound()
        failed = self.rows.filter(self.rows.status == "failed")
        return failed.select("instance", "metric", "collected_at", "note", day=failed.date)

    def _require_sound(self) -> None:
        if self._format_problems:
            raise InvalidFiles(
                self._format_problems, f"nothing is computed from {self.directory} until this is put right"
            )

    def problems(self, known: Collection[str] | None = None) -> list[Problem]:
        """Everything wrong with the files, each with file and line.

        With `known`, the slugs of the fleet, samples of any other instance are a problem as well.
        """
        unknown = [] if known is None else list(self._unknown_instances(set(known)))
        return [*self._format_problems, *unknown]

    @cached_property
    def _format_problems(self) -> list[Problem]:
        problems = [*self._found]
        for rows, users in self._parts():
            wrong: list[tuple[str, FileKind]] = [
                (row["run"], "samples") for row in self.fetch(checks.wrong_sample_runs(rows).order_by("run"))
            ]
            wrong += [(row["run"], "users") for row in self.fetch(checks.wrong_user_runs(users).order_by("run"))]
            problems += [*self._examined(wrong), *self._repeated(rows, {run for run, _ in wrong})]
            # Files that were left out cannot be compared with the ones beside them.
            if not problems:
                problems += self._contradicted(rows, users)
        return problems

    def _parts(self) -> Iterator[tuple[ir.Table, ir.Table]]:
        """The samples and users rows of some months at a time: every check lies within a day, and memory is finite."""
        months: list[str] = []
        for month in sorted(self._lengths):
            if months and sum(self._lengths[m] for m in (*months, month)) > CHECKED_AT_ONCE:
                yield self._of_months(months[0], months[-1])
                months = []
            months.append(month)
        if months:
            yield self._of_months(months[0], months[-1])

    def _of_months(self, first: str, last: str) -> tuple[ir.Table, ir.Table]:
        begin, end = date.fromisoformat(f"{first}-01"), date.fromisoformat(f"{last}-01")
        end = end.replace(day=monthrange(end.year, end.month)[1])
        rows, users = (table.filter(table.date.between(begin, end)) for table in (self.rows, self._user_rows))
        return rows, users

    def _examined(self, wrong: Sequence[tuple[str, FileKind]]) -> Iterator[Problem]:
        for key in wrong[:EXAMINED]:
            file = self._files[key]
            found = (read_samples(file) if file.name.kind == "samples" else read_users(file)).problems
            yield from found or [Problem(file.place, "breaks the format", MOVE_IT)]
        if len(wrong) > EXAMINED:
            rest = f"{len(wrong) - EXAMINED} more files break the format"
            yield Problem(str(self.directory), rest, "correct those above first")

    def _repeated(self, rows: ir.Table, told: Collection[str]) -> Iterator[Problem]:
        for row in self.fetch(checks.repeated_samples(rows).order_by(["other", "instance", "metric"])):
            if row["one"] == row["other"]:
                if row["one"] not in told:
                    told = {*told, row["one"]}
                    yield from read_samples(self._files[row["one"], "samples"]).problems
            else:
                place, first = (self._files[row[run], "samples"].place for run in ("other", "one"))
                what = f"{row['instance']} {row['metric']}"
                yield Problem(place, f"{what} was collected at {row['collected_at']}, as in {first}", MOVE_IT)

    def _contradicted(self, rows: ir.Table, users: ir.Table) -> Iterator[Problem]:
        found = checks.contradicted_counts(rows, users).order_by(["run", "instance"])
        for row in self.fetch(found):
            value = None if row["value"] is None else int(row["value"])
            present = (row["run"], "users") in self._files
            place = self._files[row["run"], "samples"].place
            yield from pair_problem(place, row["instance"], value, row["people"], present)

    def _unknown_instances(self, known: Collection[str]) -> Iterator[Problem]:
        tables: Mapping[FileKind, ir.Table] = {"samples": self.rows, "users": self._user_rows}
        for kind, table in tables.items():
            named = checks.instances(table)
            # An empty name breaks the format, and is told as such.
            for row in self.fetch(named.filter(~named.instance.isin(["", *sorted(known)])).order_by("instance")):
                place = self._files[row["run"], kind].place
                more = f" (and in {row['runs'] - 1} more files)" if row["runs"] > 1 else ""
                hint = "add inventory/instances/<slug>.yml for it, or move its files out of the ledger"
                yield Problem(place, f"{row['instance']!r} is not an instance of this fleet{more}", hint)


def _connect(scratch: Path) -> Any:
    """DuckDB in memory, without reaching for anything over the network."""
    return ibis.duckdb.connect(
        autoinstall_known_extensions=False,
        autoload_known_extensions=False,
        memory_limit=MEMORY,
        preserve_insertion_order=False,
        temp_directory=str(scratch),
    )


def open_ledger(path: Path, years: Iterable[int] | None = None) -> Ledger:
    """Open the ledger in directory `path`: the files of `years`, or of all. An absent or empty one has no
    samples.

    Problems in the files do not raise here: ask `problems`. ChillError when files cannot be read.
    """
    return Ledger(path, *list_files(path, years))
