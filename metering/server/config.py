"""meter.toml: what is collected on this server. All problems of the file are reported at once.

Format: docs/metering.md, "meter.toml". Relative paths are taken from the directory of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from metering.server.errors import MeterError
from metering.server.table import Table

DEFAULT_PATH = Path("/etc/chill/meter.toml")
DEFAULT_ZONE = "Europe/Brussels"
# The forms of names that stand in file names: they must not lead anywhere else.
SLUG = r"[a-z][a-z0-9-]{0,19}[a-z0-9]"
SERVER = r"[A-Za-z0-9][A-Za-z0-9.-]*"


@dataclass(frozen=True, slots=True)
class Mail:
    """Who sends in the name of an instance: Unix user ids, SASL names, and as a last resort envelope senders.

    A sender is an address or `@domain`, in lower case.
    """

    uids: frozenset[int]
    sasl: frozenset[str]
    senders: frozenset[str]


@dataclass(frozen=True, slots=True)
class Postfix:
    """The mail server's logs (globs), and the relays (`address:port`) that are hops on this machine, not
    deliveries.
    """

    logs: tuple[str, ...]
    internal_relays: frozenset[str]


@dataclass(frozen=True, slots=True)
class Instance:
    """What is collected for one production environment; what is empty is not collected."""

    slug: str
    dsn: str = field(default="", repr=False)
    documents: tuple[Path, ...] = ()
    logs: tuple[str, ...] = ()
    mail: Mail | None = None
    service_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Config:
    """A valid meter.toml."""

    path: Path
    server: str
    timezone: ZoneInfo
    spool: Path
    state: Path
    postfix: Postfix | None
    instances: Mapping[str, Instance] = field(hash=False)


def load_config(path: Path) -> Config:
    """Read and check `path`. MeterError (status 2) with every problem found, each with its key."""
    document = _read(path)
    top = Table(document, path.name, "")
    base = path.absolute().parent
    server = top.text("server", pattern=SERVER, example="srv1.example.net")
    zone = _zone(top)
    spool, state = base / top.text("spool"), base / top.text("state")
    postfix = _postfix(top.table("postfix"), base) if "postfix" in document else None
    instances = {slug: _instance(slug, table, base) for slug, table in top.tables("instances", SLUG)}
    _one_owner_each(top, instances.values())
    problems = top.finish()
    if problems or zone is None:
        raise MeterError("\n".join(problems), f"correct {path} and run the command again", status=2)
    return Config(path, server, zone, spool, state, postfix, instances)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        hint = "--config FILE names another; `chill-provision server prepare` writes it on servers"
        raise MeterError(f"{path}: there is no such file", hint, status=2) from None
    except OSError as error:
        raise MeterError(f"{path}: cannot be read: {error.strerror}", status=2) from None
    except UnicodeDecodeError:
        raise MeterError(f"{path}: is not UTF-8 text", status=2) from None
    except tomllib.TOMLDecodeError as error:
        raise MeterError(f"{path}: is not TOML: {error}", status=2) from None


def _zone(top: Table) -> ZoneInfo | None:
    name = top.text("timezone", default=DEFAULT_ZONE)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        top.fault("timezone", f"{name!r} is not a time zone", "for example Europe/Brussels")
    return None


def _postfix(table: Table, base: Path) -> Postfix:
    if "journal" in table:
        table.ignore("journal")
        table.fault("journal", "reading the journal is not supported yet", "name log files in postfix.logs")
    logs = _globs(table, "logs", base)
    if not logs and table.clean("logs"):
        table.fault("logs", "is missing", 'logs = ["/var/log/mail.log*"]')
    relays = table.texts("internal_relays", pattern=r"\S+:\d{1,5}", example="127.0.0.1:10024")
    return Postfix(logs, frozenset(relays))


def _instance(slug: str, table: Table, base: Path) -> Instance:
    dsn = table.text("dsn", default="")
    if dsn and "=" not in dsn and not dsn.startswith(("postgresql://", "postgres://")):
        # The value is not shown: it may hold a password.
        table.fault("dsn", "is not a PostgreSQL connection string", 'dsn = "postgresql:///chill_acme"')
    documents = table.texts("documents")
    for place in documents:
        if "://" in place:
            kind = place.split("://", 1)[0]
            table.fault("documents", f"stores of the kind {kind}:// are not supported yet", "name local directories")
    if table.texts("wopi_logs"):
        table.fault("wopi_logs", "is not supported yet", "leave it empty and use `chill-meter record collabora_users`")
    mail = None
    if "mail" in table:
        who = table.table("mail")
        senders = who.texts("senders", pattern=r"[^@\s]*@[^@\s]+", example="@acme.chill.pro")
        mail = Mail(
            uids=frozenset(who.integers("uids")),
            sasl=frozenset(who.texts("sasl")),
            senders=frozenset(sender.lower() for sender in senders),
        )
    accounts = frozenset(name.casefold() for name in table.texts("service_accounts"))
    paths = tuple(base / place for place in documents)
    return Instance(slug, dsn, paths, _globs(table, "logs", base), mail, accounts)


def _globs(table: Table, key: str, base: Path) -> tuple[str, ...]:
    return tuple(str(base / glob) for glob in table.texts(key))


def _one_owner_each(top: Table, instances: Any) -> None:
    """What says who sent a mail must say it of one instance only."""
    owners: dict[tuple[str, object], str] = {}
    for instance in instances:
        for kind in ("uids", "sasl", "senders") if instance.mail else ():
            for identity in sorted(getattr(instance.mail, kind)):
                other = owners.setdefault((kind, identity), instance.slug)
                if other != instance.slug:
                    key = f"instances.{instance.slug}.mail.{kind}"
                    top.fault(key, f"{identity!r} is also that of {other}", "each belongs to one instance only")
