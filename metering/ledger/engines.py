"""Where questions to a ledger are answered: the engines behind `engine` in chill.toml.

Every engine reads the same Parquet files and runs the same Ibis expressions. DuckDB runs in this process and needs
nothing; Spark runs on as many machines as its master has, and needs the extra [spark] and Java.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb
import ibis
import pyarrow as pa
from ibis.expr import types as ir

from provision.errors import ChillError, RequestError

DUCKDB = "duckdb"
SPARK = "spark"
# DuckDB spills to disk above this, so that a big fleet needs no big machine.
MEMORY = "400MB"
_ROWS_AT_ONCE = 10_000


class Engine(Protocol):
    """Answers questions to tables that lie in Parquet files."""

    def table(self, name: str, paths: Sequence[Path], schema: pa.Schema) -> ir.Table:
        """The rows of all files as one table with the columns of `schema`."""

    def bring(self, columns: Mapping[str, Sequence[Any]], schema: ibis.Schema) -> ir.Table:
        """Rows that a question brings with it, by column, as a table to be joined with the others."""

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        """The rows of an expression over such tables, as plain Python values by column name."""


class DuckDB:
    """In memory, in this process, without reaching for anything over the network; what is too much goes to `spill`."""

    def __init__(self, spill: Path) -> None:
        self._connection = ibis.duckdb.connect(
            autoinstall_known_extensions=False,
            autoload_known_extensions=False,
            memory_limit=MEMORY,
            preserve_insertion_order=False,
            temp_directory=str(spill),
        )

    def table(self, name: str, paths: Sequence[Path], schema: pa.Schema) -> ir.Table:
        if paths:
            return self._connection.read_parquet([str(path) for path in paths], table_name=name)
        return self._connection.create_table(name, schema=_plain(schema), temp=True)

    # By DuckDB itself: for what Ibis and Arrow do with Python's values they load pandas, a sixth of the time that one
    # customer's papers take.
    def bring(self, columns: Mapping[str, Sequence[Any]], schema: ibis.Schema) -> ir.Table:
        table = self._connection.create_table(ibis.util.gen_name("brought"), schema=schema, temp=True)
        values = ", ".join("unnest(?)" for _ in columns)
        with _duckdb_errors():
            self._connection.con.execute(f"INSERT INTO {table.get_name()} SELECT {values}", list(columns.values()))
        return table

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        names, query = expression.columns, self._connection.compile(expression)
        with _duckdb_errors():
            return [dict(zip(names, row, strict=True)) for row in self._rows(query)]

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, some at a time: as tuples of all they would take their memory twice."""
        found = self._connection.raw_sql(query)
        while some := found.fetchmany(_ROWS_AT_ONCE):
            yield from some


class Spark:
    """A Spark session at `master` (empty: the one that Spark's own configuration names)."""

    def __init__(self, master: str) -> None:
        self._session = _session(master)
        self._connection = ibis.pyspark.connect(self._session)

    def table(self, name: str, paths: Sequence[Path], schema: pa.Schema) -> ir.Table:
        if paths:
            with _spark_errors():
                # Ibis takes one path only.
                self._session.read.parquet(*map(_glob_free, paths)).createOrReplaceTempView(name)
                return self._connection.table(name)
        return ibis.memtable(schema.empty_table(), schema=_plain(schema))

    def bring(self, columns: Mapping[str, Sequence[Any]], schema: ibis.Schema) -> ir.Table:
        return ibis.memtable(dict(columns), schema=schema)

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        with _spark_errors():
            rows: list[dict[str, Any]] = self._connection.to_pyarrow(expression).to_pylist()
        return rows


@contextmanager
def _duckdb_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        hint = "see whether the disk with temporary files ($TMPDIR, else /tmp) is full"
        raise _failed("DuckDB", error, hint) from None


@contextmanager
def _spark_errors() -> Iterator[None]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        hint = "every worker must see the ledger at the same path and may read it; Spark's own log says more"
        raise _failed("Spark", error, hint) from None


def _failed(engine: str, error: Exception, hint: str) -> ChillError:
    return ChillError(f"engine: {engine} failed: {_gist(error)}", hint)


def _gist(error: Exception) -> str:
    """What an engine says, without the places in its code. What Java throws comes under a line about the call."""
    lines = [line.strip().removeprefix(": ") for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("An error occurred while calling")]
    return (told or [type(error).__name__])[0]


def make_engine(name: str, spill: Path) -> Engine:
    """The engine that `engine` in chill.toml names: `duckdb`, `spark` or `spark:<master>`. RequestError when it cannot
    run here.
    """
    if name == DUCKDB:
        return DuckDB(spill)
    kind, _, master = name.partition(":")
    if kind != SPARK:
        raise RequestError(f"engine: there is no engine {name!r}", "use duckdb, spark or spark:<master>")
    return Spark(master)


def _session(master: str) -> Any:
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        hint = "pip install 'petits-chills[spark]' where the toolkit is installed, or set engine = \"duckdb\""
        raise RequestError("engine: Spark is not installed here", hint) from None
    settings = SparkSession.builder.appName("petits-chills").config("spark.log.level", "ERROR")
    settings = settings.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    settings = settings.config("spark.sql.session.timeZone", "UTC")
    if master:
        settings = settings.master(master)
    if master.startswith("local"):
        # On one machine nothing is said to others.
        settings = settings.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    try:
        session = settings.getOrCreate()
    except (PySparkException, Py4JError, OSError, RuntimeError) as error:
        hint = "Spark needs Java 17 or newer (apt install openjdk-17-jre-headless) and a master that answers"
        raise RequestError(f"engine: Spark does not start: {_gist(error)}", hint) from None
    # Machines that are left without a word complain at length.
    atexit.register(session.stop)
    return session


def _plain(schema: pa.Schema) -> Any:
    """The schema without dictionaries, as Ibis has it."""
    plain = [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    return ibis.Schema.from_pyarrow(pa.schema(plain))


def _glob_free(path: Path) -> str:
    """A path as Spark takes it literally: Hadoop reads these characters as patterns."""
    return "".join(f"\\{character}" if character in "*?[]{}\\" else character for character in str(path))
