"""An instance's PostgreSQL, asked gently: read-only transactions of one short statement each, so that neither a
lock nor a snapshot is held that the application would have to wait for.

SourceError stands in place of every database error: the texts of the server may quote data, so they are not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from metering.server.errors import SourceError

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS: Final = 10
# `row_security = off` makes a query fail where a policy would silently hide rows from it.
SETTINGS: Final = {
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "row_security": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}


class Database:
    """One connection, for one run."""

    def __init__(self, dsn: str) -> None:
        # Imported here, because a run that asks no database must start at once.
        import psycopg

        try:
            self._connection = psycopg.connect(
                dsn, connect_timeout=CONNECT_SECONDS, application_name="chill-meter", client_encoding="UTF8"
            )
        except psycopg.Error as error:
            raise SourceError(f"the database does not let us in: {_connection_fault(str(error))}") from None
        try:
            self._connection.read_only = True
            names = ", ".join("set_config(%s, %s, false)" for _ in SETTINGS)
            self.ask(f"SELECT {names}", [text for setting in SETTINGS.items() for text in setting])
        except BaseException:
            self._connection.close()
            raise

    def ask(self, query: Any, parameters: Sequence[Any] | None = None) -> list[Any]:
        """All rows of a query, asked in a read-only transaction of its own."""
        import psycopg

        try:
            with self._connection.transaction():
                return self._connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:
            raise SourceError(f"the database refused a query: {_error_name(error)}") from None

    def close(self) -> None:
        self._connection.close()


def _error_name(error: psycopg.Error) -> str:
    name = f"{type(error).__name__} {error.sqlstate or ''}".strip()
    words = {
        "57014": "it took longer than it may",
        "55P03": "a table is locked, perhaps by an upgrade",
        "42501": "this role lacks a right, or a row security policy hides rows from it",
    }
    told = words.get(error.sqlstate or "")
    return f"{told} ({name})" if told else name


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
