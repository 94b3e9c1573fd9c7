"""meter.toml: what is collected on this server. All problems of the file are reported at once.

Format: docs/metering.md, "meter.toml". Relative paths are taken from the directory of the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from metering.server.errors import MeterError
from metering.server.sms_patterns import DEFAULTS, SmsPattern, sms_of
from metering.server.sources import (
    ACTIVE_USERS,
    AuditTrail,
    Store,
    Wopi,
    active_users_of,
    audit_trail_of,
    credentials_of,
    documents_of,
    globs_of,
    wopi_of,
)
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
    """The mail server's logs (globs) or the systemd journal (of this system, unless another directory is named), and
    the relays (`address:port`) that are hops on this machine, not deliveries.
    """

    logs: tuple[str, ...]
    internal_relays: frozenset[str]
    journal: bool = False
    journal_directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """What is collected for one production environment; what is empty is not collected."""

    slug: str
    dsn: str = field(default="", repr=False)
    documents: tuple[Path, ...] = ()
    logs: tuple[str, ...] = ()
    mail: Mail | None = None
    service_accounts: frozenset[str] = frozenset()
    active_users: frozenset[str] = frozenset(ACTIVE_USERS)
    audit_trail: AuditTrail = field(default_factory=AuditTrail)
    stores: tuple[Store, ...] = ()
    credentials: Path | None = None
    wopi: Wopi | None = None
    sms: tuple[SmsPattern, ...] = DEFAULTS


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
        # The parser quotes keys, which may be anything: of such a message only the place is told.
        told, place = re.fullmatch(r"(.*?)( \(at .*\))?", str(error), re.DOTALL).groups("")  # type: ignore[union-attr]
        reason = "a key or a table stands there twice" if told.startswith(("Duplicate", "Cannot")) else told
        raise MeterError(f"{path}: is not TOML: {reason}{place}", status=2) from None


def _zone(top: Table) -> ZoneInfo | None:
    name = top.text("timezone", default=DEFAULT_ZONE)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        top.fault("timezone", "is not a time zone that this machine knows", "for example Europe/Brussels")
    return None


def _postfix(table: Table, base: Path) -> Postfix:
    journal = table.flag("journal", default=False)
    directory = table.text("journal_directory", default="")
    logs = globs_of(table, "logs", base)
    if journal and logs:
        table.fault("journal", "counts the same mails again that are in postfix.logs", "keep one of the two")
    if directory and not journal:
        table.fault("journal_directory", "is of no use without journal = true")
    if not logs and not journal and table.clean("logs"):
        table.fault("logs", "is missing", 'logs = ["/var/log/mail.log*"], or journal = true')
    relays = table.texts("internal_relays", pattern=r"\S+:\d{1,5}", example="127.0.0.1:10024")
    return Postfix(logs, frozenset(relays), journal, base / directory if directory else None)


def _instance(slug: str, table: Table, base: Path) -> Instance:
    dsn = table.text("dsn", default="")
    if dsn and "=" not in dsn and not dsn.startswith(("postgresql://", "postgres://")):
        # The value is not shown: it may hold a password.
        table.fault("dsn", "is not a PostgreSQL connection string", 'dsn = "postgresql:///chill_acme"')
    directories, stores = documents_of(table, base)
    credentials = credentials_of(table, base, stores)
    wopi = wopi_of(table, base)
    logs = globs_of(table, "logs", base)
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
    sources = active_users_of(table, dsn, logs)
    trail = audit_trail_of(table)
    sms = sms_of(table)
    return Instance(slug, dsn, directories, logs, mail, accounts, sources, trail, stores, credentials, wopi, sms)


def _one_owner_each(top: Table, instances: Any) -> None:
    """What says who sent a mail must say it of one instance only."""
    owners: dict[tuple[str, object], str] = {}
    for instance in instances:
        for kind in ("uids", "sasl", "senders") if instance.mail else ():
            for identity in sorted(getattr(instance.mail, kind)):
                other = owners.setdefault((kind, identity), instance.slug)
                if other != instance.slug:
                    key = f"instances.{instance.slug}.mail.{kind}"
                    shown = identity if kind == "uids" else "one of these"
                    top.fault(key, f"{shown} is also that of {other}", "each belongs to one instance only")
