"""The parts of an instance's table in meter.toml that say where people and documents are looked for.

Format: docs/metering.md, "meter.toml".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from metering.server.table import Table

# Where active people are looked for; all of them unless the configuration names some.
ACTIVE_USERS: Final = ("columns", "audit_trail", "logins")
_STORE = re.compile(
    r"(?:swift://(?P<container>[^/\s]{1,256})|s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?)"
)

# The claims that name a person: lexik/jwt-authentication-bundle writes `username`, RFC 7519 has `sub`.
CLAIMS: Final = ("username", "sub")


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The table of the application's audit trail, and its columns, each as a choice of names: the first that
    is there counts. Names are compared in lower case and, but for the table's, without underscores.
    """

    table: str = "chill_main_audit_trail"
    user: tuple[str, ...] = ("userid", "createdbyid", "authorid", "actorid")
    time: tuple[str, ...] = ("occurredat", "createdat", "loggedat", "datetime", "date")


@dataclass(frozen=True, slots=True)
class Store:
    """Documents that lie elsewhere: `swift://NAME` (a container) or `s3://NAME/PREFIX` (a bucket)."""

    kind: Literal["swift", "s3"]
    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Wopi:
    """Logs of the calls that Collabora makes (globs), and how their tokens are read: the claims that name the
    person, the first that is there; and, where given, the file of the key that proves them.
    """

    logs: tuple[str, ...]
    claims: tuple[str, ...] = CLAIMS
    key: Path | None = None


def documents_of(table: Table, base: Path) -> tuple[tuple[Path, ...], tuple[Store, ...]]:
    """Directories, and stores elsewhere."""
    directories: list[Path] = []
    stores: list[Store] = []
    for place in table.texts("documents"):
        match = _STORE.fullmatch(place)
        if match and match["container"]:
            stores.append(Store("swift", match["container"]))
        elif match:
            stores.append(Store("s3", match["bucket"], match["prefix"] or ""))
        elif "://" in place:
            hint = 'a directory, "swift://container" or "s3://bucket/prefix"'
            # The rest of the value is not shown: it may hold a password.
            kind = place.partition("://")[0]
            table.fault("documents", f"a place {kind}://… of this form cannot be measured", hint)
        else:
            directories.append(base / place)
    return tuple(directories), tuple(stores)


def wopi_of(table: Table, base: Path) -> Wopi | None:
    """The logs of Collabora's calls, None where there are none."""
    logs = globs_of(table, "wopi_logs", base)
    key = _path(table, "wopi_key", base)
    claims = tuple(table.texts("wopi_claims")) or CLAIMS
    if not logs:
        for needless in ("wopi_key", "wopi_claims"):
            if needless in table:
                table.fault(needless, "is of no use without wopi_logs", 'wopi_logs = ["/var/log/nginx/wopi.log*"]')
    return Wopi(logs, claims, key) if logs else None


def active_users_of(table: Table, dsn: str, logs: Sequence[str]) -> frozenset[str]:
    """The sources of active people that are switched on."""
    named = table.texts("active_users", pattern="|".join(ACTIVE_USERS), example='columns", "audit_trail", "logins')
    if not named:
        if "active_users" in table and table.clean("active_users"):
            table.fault("active_users", "names no source", "leave the key out, and all that are there are read")
        return frozenset(ACTIVE_USERS)
    if not dsn:
        table.fault("active_users", "needs the database that says who is a user", 'dsn = "postgresql:///chill_acme"')
    if "logins" in named and not logs:
        table.fault("active_users", "logins are read in the application's logs", 'logs = ["…/metering.log*"]')
    return frozenset(named)


def audit_trail_of(table: Table) -> AuditTrail:
    """Where the audit trail stands."""
    default = AuditTrail()
    if "audit_trail" not in table:
        return default
    inner = table.table("audit_trail")
    names = {key: inner.text(key, default="").lower() for key in ("table", "user", "time")}
    return AuditTrail(
        names["table"] or default.table,
        (names["user"].replace("_", ""),) if names["user"] else default.user,
        (names["time"].replace("_", ""),) if names["time"] else default.time,
    )


def credentials_of(table: Table, base: Path, stores: Sequence[Store]) -> Path | None:
    """The file with the passwords of the stores, which must not stand in meter.toml."""
    place = _path(table, "credentials", base)
    if stores and not place and table.clean("credentials"):
        table.fault("credentials", "is missing", 'credentials = "/etc/chill/acme-store.toml"')
    return place


def globs_of(table: Table, key: str, base: Path) -> tuple[str, ...]:
    """The globs under `key`, made absolute."""
    return tuple(str(base / glob) for glob in table.texts(key))


def _path(table: Table, key: str, base: Path) -> Path | None:
    place = table.text(key, default="") if key in table else ""
    return base / place if place else None
