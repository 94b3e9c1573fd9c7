"""active_users: distinct enabled people who wrote or logged in on a day.

Three sources, each of which can be switched off (`active_users` in meter.toml), and their union:

- `columns`: audit columns of the database (docs/release-contract.md, 9), whose tables and letter case differ
  from version to version: they are looked up (discovery.py);
- `audit_trail`: the application's audit trail, where it keeps one;
- `logins`: lines of the application's log, which were read as keyed digests.

The database forgets: an update hides the one before. A day that is counted late is a failure unless it can be shown
that nothing of it is lost (docs/decisions/0024-exact-or-a-gap.md).

Only ids, user names and audit columns are read, in read-only transactions; names are compared in memory and
never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.application_log import source_name
from metering.server.config import Instance
from metering.server.database import Database
from metering.server.discovery import Audit, Found, discover, user_names
from metering.server.errors import SourceError
from metering.server.run import Measured, Run
from metering.server.state import Key
from metering.server.writers import Writers, goes_back, read_changes, read_writers

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
    source shows and who do not count. `lost`: why somebody may be missing; empty when nobody is.
    """

    sources: Mapping[str, frozenset[str]]
    earlier: frozenset[str]
    service_accounts: int
    disabled: int
    strangers: int
    lost: str = ""

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
        if people.lost:
            raise SourceError(people.lost, final=True)
        return Measured(len(people.active), people.active)

    def people(self, day: date) -> People:
        """Who was active, by source. SourceError when a source cannot be read."""
        slug, pseudonyms = self._instance.slug, self._run.pseudonyms
        self._check_logs()
        database = self._open()
        shown, strangers = self._shown(day, database)
        if not shown:
            raise SourceError("the database has no table with audit columns, and no log tells of logins")
        services = {user.id for user in database.users if user.username.casefold() in self._instance.service_accounts}
        enabled = {user.id for user in database.users if user.enabled}
        names = {user.id: pseudonyms.of_user(slug, day.year, user.id) for user in database.users}
        sources = {source: frozenset(names[one] for one in (ids & enabled) - services) for source, ids in shown.items()}
        seen = frozenset().union(*shown.values())
        # Whoever was seen earlier stays seen.
        earlier = self._run.state.active(day, slug).difference({names[one] for one in services}, *sources.values())
        lost = self._lost(day, database, shown, frozenset(enabled - services))
        return People(sources, earlier, len(seen & services), len(seen - enabled - services), strangers, lost)

    def _shown(self, day: date, database: Application) -> tuple[dict[str, frozenset[str]], int]:
        """By source, the ids of the users whom it shows; and how many it shows who are no users."""
        ids = frozenset(user.id for user in database.users)
        writers = database.writers(day)
        shown = {source: found & ids for source, found in writers.items()}
        strangers = len(frozenset().union(*writers.values()) - ids)
        if self._wants_logins:
            shown["logins"], unknown = self._logged_in(day, database)
            strangers += unknown
        return shown, strangers

    def _logged_in(self, day: date, database: Application) -> tuple[frozenset[str], int]:
        """The ids of the users who logged in, and how many logged in who are no users."""
        slug, pseudonyms = self._instance.slug, self._run.pseudonyms
        logins = self._run.state.logins(day, slug)
        digests = {user.id: pseudonyms.of_login(slug, day.year, user.username) for user in database.users}
        found = frozenset(one for one, digest in digests.items() if digest in logins)
        return found, len(logins.difference(digests.values()))

    def _lost(
        self, day: date, database: Application, shown: Mapping[str, frozenset[str]], countable: frozenset[str]
    ) -> str:
        """Why the sources no longer tell of a day all that they told in the night after it; empty when they do."""
        key = Key(day, self._instance.slug, METRIC)
        before = self._run.state.written(key)
        if before and before.status == "ok" and day in self._run.state.collected_days():
            return ""
        oldest = self._run.oldest_day(source_name(key.instance)) if self._wants_logins else date.min
        if day < oldest:
            return f"the logs of this day are gone: they go back to {oldest}"
        if day >= self._run.yesterday or database.trail_tells(day):
            return ""
        if oldest < day and self._logins_tell(day, database, shown, countable):
            return ""
        return database.overwritten(day)

    def _logins_tell(
        self, day: date, database: Application, shown: Mapping[str, frozenset[str]], countable: frozenset[str]
    ) -> bool:
        """Whether nobody else can have written: all who logged in on the day before, and may have gone on without
        logging in, are counted. That the log tells of logins is seen by all writers standing in it.
        """
        if not self._wants_logins:
            return False
        before, _ = self._logged_in(day - timedelta(days=1), database)
        seen: frozenset[str] = frozenset().union(*shown.values())
        logged_in = before | shown["logins"]
        return bool(logged_in) and seen <= logged_in and before & countable <= seen

    def close(self) -> None:
        if isinstance(self._database, Application):
            self._database.close()

    def _check_logs(self) -> None:
        """SourceError when the logs could not be read."""
        failure = self._run.readings[source_name(self._instance.slug)].failure if self._wants_logins else ""
        if failure:
            raise SourceError(failure)

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
        self._changes: dict[date, set[date]] = {}
        self._changes_since: date | None = None
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

    def trail_tells(self, day: date) -> bool:
        """Whether the audit trail, which forgets nothing, goes back to before a local day."""
        return any(goes_back(self._database, audit, day, self._zone) for audit in self._sources.get("audit_trail", ()))

    def overwritten(self, day: date) -> str:
        """Why it is not known any more who wrote on a local day before `today`; empty when it is."""
        if "audit_trail" in self._sources and "columns" not in self._sources:
            return f"the audit trail does not go back to {day}"
        if self._changes_since is None or day < self._changes_since:
            self._changes, self._changes_since = {}, day
            for audit in self._sources.get("columns", ()):
                found = read_changes(self._database, audit, day + timedelta(days=1), self._today, self._zone)
                for changed, made in found.items():
                    self._changes.setdefault(changed, set()).update(made)
        if not any(changed > day and min(made) <= day for changed, made in self._changes.items()):
            return ""
        told = "rows that were there on this day were updated since, which hides who updated them before"
        return f"{told}: only an audit trail, or logins without a gap, could tell"

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
