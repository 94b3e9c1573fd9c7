"""active_users: distinct enabled people who wrote or logged in on a day.

Who wrote stands in the audit columns of the database (docs/release-contract.md, 9), whose tables and letter
case differ from version to version: they are looked up. Who logged in was read in the log, as keyed digests.
Only ids, user names and audit columns are read, in a read-only transaction; names are compared in memory and
never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from metering.server.application_log import source_name
from metering.server.config import Instance
from metering.server.errors import SourceError
from metering.server.run import Measured, Run

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 120
# Column pairs (who, when), in lower case and without underscores.
AUDIT_PAIRS: Final = (("createdbyid", "createdat"), ("updatedbyid", "updatedat"))
_TIMES: Final = ("timestamp without time zone", "timestamp with time zone", "date")

_COLUMNS: Final = """
SELECT c.table_schema, c.table_name, c.column_name, c.data_type
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
  AND (replace(lower(c.column_name), '_', '') = ANY(%s) OR lower(c.table_name) = 'users')
ORDER BY c.table_schema <> 'public', c.table_schema, c.table_name, c.ordinal_position
"""


@dataclass(frozen=True, slots=True)
class User:
    """A row of the application's users. `username` never leaves this process."""

    id: str
    username: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class AuditColumns:
    """Where a table says who wrote, and when; `kind` is the type of the second column."""

    schema: str
    table: str
    who: str
    when: str
    kind: str


def collector(run: Run, instance: Instance) -> ActiveUsers | None:
    """Collected where the instance has a database."""
    return ActiveUsers(run, instance) if instance.dsn else None


class ActiveUsers:
    """Connects at the first measure, and asks all days over the one connection."""

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._instance = instance
        self._database: Database | SourceError | None = None

    def measure(self, day: date) -> Measured:
        instance, pseudonyms = self._instance, self._run.pseudonyms
        note = self._check_logs(day)
        database = self._open()
        if not database.audit and not instance.logs:
            raise SourceError("this role may read no table with audit columns, and no log tells of logins")
        logins = self._run.state.logins(day, instance.slug)
        writers = database.writers(day)
        active, excluded = set(), set()
        for user in database.users:
            pseudonym = pseudonyms.of_user(instance.slug, day.year, user.id)
            if user.username.casefold() in instance.service_accounts:
                excluded.add(pseudonym)
            elif user.enabled and (
                user.id in writers or pseudonyms.of_login(instance.slug, day.year, user.username) in logins
            ):
                active.add(pseudonym)
        # The database forgets: an update hides the one before. Whoever was seen earlier stays seen.
        active |= self._run.state.active(day, instance.slug) - excluded
        return Measured(len(active), frozenset(active), note)

    def close(self) -> None:
        if isinstance(self._database, Database):
            self._database.close()

    def _check_logs(self, day: date) -> str:
        """A note for what the sources no longer hold. SourceError when the logs could not be read."""
        notes = []
        if self._instance.logs:
            source = source_name(self._instance.slug)
            if self._run.readings[source].failure:
                raise SourceError(self._run.readings[source].failure)
            if day < self._run.oldest_day(source):
                notes.append("the logs no longer tell who logged in")
        if day < self._run.yesterday:
            notes.append("counted later: writes that were overwritten since are not seen")
        return "; ".join(notes)

    def _open(self) -> Database:
        if self._database is None:
            try:
                self._database = Database(self._instance.dsn, self._run.config.timezone)
            except SourceError as failure:
                self._database = failure
        if isinstance(self._database, SourceError):
            raise self._database
        return self._database


class Database:
    """An instance's database: its users, and who wrote on a day. SourceError in place of every database
    error.
    """

    def __init__(self, dsn: str, zone: Any) -> None:
        # Imported here, because a run that asks no database must start at once.
        import psycopg

        self._zone = zone
        try:
            self._connection = psycopg.connect(
                dsn, connect_timeout=CONNECT_SECONDS, application_name="chill-meter", client_encoding="UTF8"
            )
        except psycopg.Error as error:
            raise SourceError(f"the database does not let us in: {_connection_fault(str(error))}") from None
        try:
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
            self._ask("SELECT set_config('statement_timeout', %s, false)", [f"{STATEMENT_SECONDS}s"])
            columns = self._ask(_COLUMNS, [[name for pair in AUDIT_PAIRS for name in pair]])
            self.users = self._read_users(columns)
            self.audit = _pair_up(columns)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def writers(self, day: date) -> frozenset[str]:
        """The ids of those who created or changed anything on a local day."""
        from psycopg import sql

        found: set[str] = set()
        for place in self.audit:
            query = sql.SQL(
                "SELECT DISTINCT {who}::text FROM {table} WHERE {when} >= %s AND {when} < %s AND {who} IS NOT NULL"
            ).format(
                who=sql.Identifier(place.who),
                when=sql.Identifier(place.when),
                table=sql.Identifier(place.schema, place.table),
            )
            found.update(row[0] for row in self._ask(query, self._bounds(day, place.kind)))
        return frozenset(found)

    def _bounds(self, day: date, kind: str) -> list[date | datetime]:
        """The beginning and the end of a local day (of 23 to 25 hours), in the form of a column."""
        days = (day, day + timedelta(days=1))
        if kind == "date":
            return list(days)
        zone = self._zone if kind == "timestamp with time zone" else None
        return [datetime.combine(one, time(), zone) for one in days]

    def _read_users(self, columns: Sequence[Sequence[str]]) -> Sequence[User]:
        from psycopg import sql

        tables: dict[tuple[str, str], dict[str, str]] = {}
        for schema, table, column, _ in columns:
            if table.lower() == "users" and column.lower() in ("id", "username", "enabled"):
                tables.setdefault((schema, table), {})[column.lower()] = column
        # The order of the columns puts the schema `public` first.
        for (schema, table), names in tables.items():
            if len(names) == 3:
                query = sql.SQL("SELECT {id}::text, {username}, {enabled} FROM {table}").format(
                    table=sql.Identifier(schema, table),
                    **{key: sql.Identifier(name) for key, name in names.items()},
                )
                return tuple(User(row[0], row[1] or "", bool(row[2])) for row in self._ask(query))
        raise SourceError("this role may not read the columns id, username and enabled of a table users")

    def _ask(self, query: Any, parameters: Sequence[Any] | None = None) -> list[Any]:
        import psycopg

        try:
            return self._connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:
            # The text of the error may quote data: only its name is told.
            raise SourceError(f"the database refused a query: {_error_name(error)}") from None


def _pair_up(columns: Sequence[Sequence[str]]) -> Sequence[AuditColumns]:
    """The pairs of audit columns, from rows of (schema, table, column, type)."""
    tables: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for schema, table, column, kind in columns:
        tables.setdefault((schema, table), {})[column.lower().replace("_", "")] = (column, kind)
    return [
        AuditColumns(schema, table, names[who][0], *names[when])
        for (schema, table), names in tables.items()
        for who, when in AUDIT_PAIRS
        if who in names and when in names and names[when][1] in _TIMES
    ]


def _error_name(error: psycopg.Error) -> str:
    return f"{type(error).__name__} {error.sqlstate or ''}".strip()


def _connection_fault(text: str) -> str:
    """Why a connection failed, in our words: the server's may hold addresses and names."""
    faults = (
        ("authentication failed", "the login was refused"),
        ("no pg_hba.conf entry", "the login was refused"),
        ("role", "there is no such role, or it may not log in"),
        ("database", "there is no such database, or this role may not connect to it"),
        ("too many", "it has too many connections"),
        ("starting up", "it is starting up"),
        ("timeout", "it does not answer"),
        ("refused", "it does not answer"),
        ("No such file", "it does not answer"),
    )
    fatal = text.partition("FATAL:")[2]
    return next((words for sign, words in faults if sign in (fatal or text)), "the connection failed")
