"""Where a database says who wrote, and when: tables and columns differ from version to version, so they are
looked up in PostgreSQL's catalog, those that this role may not read included: these are told, with the
GRANT to run, and never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from metering.server.errors import SourceError
from metering.server.sources import AuditTrail

# Column pairs (who, when), in lower case and without underscores.
AUDIT_PAIRS: Final = (("createdbyid", "createdat"), ("updatedbyid", "updatedat"))
TIMES: Final = ("timestamp without time zone", "timestamp with time zone", "date")
USER_COLUMNS: Final = ("id", "username", "enabled")
# Of the tables that may not be read, so many are named.
_NAMED: Final = 3

# Every column of the application's own tables: not of partitions, which are read through their parents, nor of
# what belongs to an extension. `sought` are names without underscores; a table of one of `tables` comes whole.
_CATALOG: Final = """
SELECT n.nspname AS schema, c.relname AS "table", a.attname AS name, format_type(a.atttypid, NULL) AS kind,
       has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
       has_schema_privilege(n.oid, 'USAGE') AS usable,
       coalesce(array_position(p.indkey::int2[], a.attnum), -1) AS key_place,
       EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
               WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
                 AND m.amname = 'btree') AS indexed
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index p ON p.indrelid = c.oid AND p.indisprimary
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^(pg_|information_schema$)'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND (replace(lower(a.attname), '_', '') = ANY(%s) OR a.attnum = ANY(p.indkey::int2[]) OR lower(c.relname) = ANY(%s))
ORDER BY n.nspname <> 'public', n.nspname, c.relname, a.attnum
"""


class Asks(Protocol):
    """A database that can be asked (database.py)."""

    def ask(self, query: Any, parameters: Sequence[Any] | None = None) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `kind` is its type, `key_place` its place in the primary key (-1: none), `indexed` whether a
    btree index begins with it.
    """

    name: str
    kind: str
    readable: bool
    key_place: int = -1
    indexed: bool = False

    @property
    def folded(self) -> str:
        return self.name.lower().replace("_", "")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with those of its columns that matter here; `usable`: whether the role may enter its schema."""

    schema: str
    name: str
    usable: bool
    columns: Sequence[Column]

    def column(self, *choice: str) -> Column | None:
        """The column with the first of these folded names that is there."""
        by_name = {column.folded: column for column in reversed(self.columns)}
        return next((by_name[name] for name in choice if name in by_name), None)

    @property
    def key(self) -> Sequence[Column]:
        """The primary key, where there is one that the role may read; else nothing."""
        key = sorted((column for column in self.columns if column.key_place >= 0), key=lambda one: one.key_place)
        return key if self.usable and all(column.readable for column in key) else ()


@dataclass(frozen=True, slots=True)
class Audit:
    """The pairs (who, when) of one table."""

    table: Table
    pairs: Sequence[tuple[Column, Column]]

    @property
    def columns(self) -> Sequence[Column]:
        return [column for pair in self.pairs for column in pair]


@dataclass(frozen=True, slots=True)
class Found:
    """What a database has: its users' columns (by USER_COLUMNS), its audit columns, its audit trail."""

    users: Table
    audits: Sequence[Audit]
    trail: Audit | None


def discover(database: Asks, trail: AuditTrail, wanted: frozenset[str]) -> Found:
    """Look up what is `wanted` (of `columns`, `audit_trail`) in a database.

    SourceError when there are no users, when a part may not be read, or when the audit trail has no columns
    that are known.
    """
    sought = [name for pair in AUDIT_PAIRS for name in pair]
    tables = _tables(database.ask(_CATALOG, [sought, ["users", trail.table]]))
    users = _users(tables)
    trail_table = next((table for table in tables if table.name.lower() == trail.table), None)
    audits: list[Audit] = []
    if "columns" in wanted:
        audits = [Audit(table, pairs) for table in tables if table is not trail_table and (pairs := _pairs(table))]
    found_trail = None
    if "audit_trail" in wanted and trail_table:
        found_trail = _trail(trail_table, trail)
    needed = [(users, _user_columns(users)), *((audit.table, audit.columns) for audit in audits)]
    if found_trail:
        needed.append((found_trail.table, found_trail.columns))
    _require_rights(database, needed)
    return Found(users, audits, found_trail)


def _tables(rows: Iterable[Sequence[Any]]) -> list[Table]:
    columns: dict[tuple[str, str, bool], list[Column]] = {}
    for schema, table, name, kind, readable, usable, key_place, indexed in rows:
        columns.setdefault((schema, table, usable), []).append(Column(name, kind, readable, key_place, indexed))
    return [Table(*place, found) for place, found in columns.items()]


def _users(tables: Iterable[Table]) -> Table:
    for table in tables:
        if table.name.lower() == "users" and all(table.column(name) for name in USER_COLUMNS):
            return table
    raise SourceError("there is no table users with the columns id, username and enabled")


def _user_columns(users: Table) -> list[Column]:
    return [column for name in USER_COLUMNS if (column := users.column(name))]


def _pairs(table: Table) -> Sequence[tuple[Column, Column]]:
    return [
        (who, when)
        for who_name, when_name in AUDIT_PAIRS
        if (who := table.column(who_name)) and (when := table.column(when_name)) and when.kind in TIMES
    ]


def _trail(table: Table, trail: AuditTrail) -> Audit:
    who, when = table.column(*trail.user), table.column(*trail.time)
    if not who or not when or when.kind not in TIMES:
        keys = 'audit_trail = {user = "…", time = "…"}'
        raise SourceError(f"the audit trail {_name(table)} has no columns that are known: name them with {keys}")
    return Audit(table, [(who, when)])


def _require_rights(database: Asks, needed: Sequence[tuple[Table, Sequence[Column]]]) -> None:
    """SourceError with the GRANTs to run, unless the role may read all of this."""
    lacking = [
        (table, columns) for table, columns in needed if not table.usable or not all(one.readable for one in columns)
    ]
    if not lacking:
        return
    role = _quoted(str(database.ask("SELECT current_user")[0][0]))
    grants = [grant for table, columns in lacking[:_NAMED] for grant in _grants(table, columns, role)]
    more = f"; and {len(lacking) - _NAMED} more tables" if len(lacking) > _NAMED else ""
    tables = ", ".join(_name(table) for table, _ in lacking[:_NAMED])
    raise SourceError(f"this role may not read {tables}{more}: run {' '.join(dict.fromkeys(grants))}")


def _grants(table: Table, columns: Sequence[Column], role: str) -> list[str]:
    key = [column for column in table.columns if column.key_place >= 0]
    names = ", ".join(dict.fromkeys(_quoted(column.name) for column in [*key, *columns]))
    schema = [] if table.usable else [f"GRANT USAGE ON SCHEMA {_quoted(table.schema)} TO {role};"]
    return [*schema, f"GRANT SELECT ({names}) ON {_name(table)} TO {role};"]


def _name(table: Table) -> str:
    return f"{_quoted(table.schema)}.{_quoted(table.name)}"


def _quoted(name: str) -> str:
    """An identifier as SQL wants it, on one line."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and not name[0].isdigit()
    if plain:
        return name
    return '"' + "".join(char if char.isprintable() else "?" for char in name).replace('"', '""') + '"'


def user_names(users: Table) -> Mapping[str, str]:
    """The names of the users' columns, by USER_COLUMNS."""
    return {name: column.name for name, column in zip(USER_COLUMNS, _user_columns(users), strict=True)}
