"""active_users: distinct enabled people who wrote or logged in on a day.

Three sources, each of which can be switched off (`active_users` in meter.toml), and their union:

- `columns`: audit columns of the database (docs/release-contract.md, 9), whose tables and letter case differ
  from version to version: they are looked up (discovery.py);
- `audit_trail`: the application's audit trail, where it keeps one;
- `logins`: lines of the application's log, which were read as keyed digests.

Only ids, user names and audit columns are read, in read-only transactions; names are compared in memory and
never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.application_log import source_name
from metering.server.config import Instance
from metering.server.database import Database
from metering.server.discovery import Audit, Found, discover, user_names
from metering.server.errors import SourceError
from metering.server.run import Measured, Run
from metering.server.writers import Writers, read_writers

METRIC: Final = "active_users"
_DATABASE: Final = ("columns", "audit_trail")


@dataclass(frozen=True, slots=True)
class User:
    """A row of the application's users. `username` never leaves this process."""

    id: str
    username: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class People:
    """Who was active on a day, as pseudonyms. `sources` holds those of each source that was read; `earlier`, those
    that an earlier collection saw and the sources no longer show. The numbers are those of the people whom a
    source shows and who do not count.
    """

    sources: Mapping[str, frozenset[str]]
    earlier: frozenset[str]
    service_accounts: int
    disabled: int
    strangers: int
    note: str = ""

    @property
    def active(self) -> frozenset[str]:
        return self.earlier.union(*self.sources.values())


def collector(run: Run, instance: Instance) -> ActiveUsers | None:
    """Collected where the instance has a database."""
    return ActiveUsers(run, instance) if instance.dsn else None


class ActiveUsers:
    """Connects at the first measure, and reads the tables once for all the days that follow it."""

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._instance = instance
        self._wants_logins = bool(instance.logs) and "logins" in instance.active_users
        self._database: Application | SourceError | None = None

    def measure(self, day: date) -> Measured:
        people = self.people(day)
        return Measured(len(people.active), people.active, people.note)

    def people(self, day: date) -> People:
        """Who was active, by source. SourceError when a source cannot be read."""
        slug, pseudonyms = self._instance.slug, self._run.pseudonyms
        notes = self._check_logs(day)
        database = self._open()
        if day < self._run.yesterday and database.forgets:
            notes.append("counted later: writes that were overwritten since are not seen")
        shown, strangers = self._shown(day, database)
        if not shown:
            raise SourceError("the database has no table with audit columns, and no log tells of logins")
        services = {user.id for user in database.users if user.username.casefold() in self._instance.service_accounts}
        enabled = {user.id for user in database.users if user.enabled}
        names = {user.id: pseudonyms.of_user(slug, day.year, user.id) for user in database.users}
        sources = {source: frozenset(names[one] for one in (ids & enabled) - services) for source, ids in shown.items()}
        seen = frozenset().union(*shown.values())
        # The database forgets: an update hides the one before. Whoever was seen earlier stays seen.
        earlier = self._run.state.active(day, slug).difference({names[one] for one in services}, *sources.values())
        return People(
            sources, earlier, len(seen & services), len(seen - enabled - services), strangers, "; ".join(notes)
        )

    def _shown(self, day: date, database: Application) -> tuple[dict[str, frozenset[str]], int]:
        """By source, the ids of the users whom it shows; and how many it shows who are no users."""
        slug, pseudonyms = self._instance.slug, self._run.pseudonyms
        ids = frozenset(user.id for user in database.users)
        writers = database.writers(day)
        shown = {source: found & ids for source, found in writers.items()}
        strangers = len(frozenset().union(*writers.values()) - ids)
        if self._wants_logins:
            logins = self._run.state.logins(day, slug)
            digests = {user.id: pseudonyms.of_login(slug, day.year, user.username) for user in database.users}
            shown["logins"] = frozenset(one for one, digest in digests.items() if digest in logins)
            strangers += len(logins.difference(digests.values()))
        return shown, strangers

    def close(self) -> None:
        if isinstance(self._database, Application):
            self._database.close()

    def _check_logs(self, day: date) -> list[str]:
        """Notes for what the sources no longer hold. SourceError when the logs could not be read."""
        notes = []
        if self._wants_logins:
            source = source_name(self._instance.slug)
            if self._run.readings[source].failure:
                raise SourceError(self._run.readings[source].failure)
            if day < self._run.oldest_day(source):
                notes.append("the logs no longer tell who logged in")
        return notes

    def _open(self) -> Application:
        if self._database is None:
            try:
                self._database = Application(self._instance, self._run.config.timezone, self._run.today)
            except SourceError as failure:
                self._database = failure
        if isinstance(self._database, SourceError):
            raise self._database
        return self._database


class Application:
    """An instance's database: its users, and who wrote on a day, until `today`. SourceError for every fault."""

    def __init__(self, instance: Instance, zone: ZoneInfo, today: date) -> None:
        self._zone = zone
        self._today = today
        self._begun: date | None = None
        self._writers: dict[str, Writers] = {}
        self._database = Database(instance.dsn)
        try:
            wanted = instance.active_users.intersection(_DATABASE)
            found = discover(self._database, instance.audit_trail, wanted)
            self._sources = _sources(found)
            self.users = _read_users(self._database, found)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    @property
    def forgets(self) -> bool:
        """Whether nothing but columns that are overwritten tells who wrote."""
        return "columns" in self._sources and "audit_trail" not in self._sources

    def writers(self, day: date) -> Mapping[str, frozenset[str]]:
        """By source, the ids of those who wrote on a local day."""
        if self._begun is None or day < self._begun:
            # One pass serves every day that is asked later.
            self._writers = {source: self._read(audits, day) for source, audits in self._sources.items()}
            self._begun = day
        return {source: frozenset(writers.get(day, ())) for source, writers in self._writers.items()}

    def _read(self, audits: Sequence[Audit], first: date) -> Writers:
        writers: Writers = {}
        for audit in audits:
            for day, ids in read_writers(self._database, audit, first, self._today, self._zone).items():
                writers.setdefault(day, set()).update(ids)
        return writers


def _sources(found: Found) -> dict[str, Sequence[Audit]]:
    sources: dict[str, Sequence[Audit]] = {}
    if found.audits:
        sources["columns"] = found.audits
    if found.trail:
        sources["audit_trail"] = [found.trail]
    return sources


def _read_users(database: Database, found: Found) -> Sequence[User]:
    from psycopg import sql

    names = user_names(found.users)
    query = sql.SQL("SELECT {id}::text, {username}, {enabled} FROM {table}").format(
        table=sql.Identifier(found.users.schema, found.users.name),
        **{key: sql.Identifier(name) for key, name in names.items()},
    )
    return [User(row[0], row[1] or "", bool(row[2])) for row in database.ask(query)]
