"""Where active people are found: every kind of table, key, time and right of a real PostgreSQL."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner, Result

from metering.cli import main
from metering.server import database as database_module
from metering.server import writers as writers_module
from metering.server.database import Database
from metering.server.discovery import discover
from metering.server.errors import SourceError
from metering.server.sources import ACTIVE_USERS, AuditTrail
from metering.server.writers import Writers, read_writers
from tests.unit.metering.server_side import NOON, TODAY, YESTERDAY, Server

METER = "chill-meter"
ZONE = ZoneInfo("Europe/Brussels")
USERS = """
CREATE TABLE users (id int PRIMARY KEY, username text NOT NULL, email text, enabled boolean NOT NULL);
INSERT INTO users SELECT n, 'user' || n, 'user' || n || '@marked.example', n <> 7 FROM generate_series(1, 9) AS n;
"""
AUDIT = '"createdBy_id" int, "createdAt" timestamp, updatedby_id int, updatedat timestamptz, secret text'


class Application:
    """A database like Chill's. `dsn` is that of the metering role, `sql` runs statements as the owner."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.dsn = owner.replace("user=postgres", f"user={METER}")
        self.sql(
            f'DO $$ BEGIN CREATE ROLE "{METER}" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$',
            USERS,
            f'GRANT SELECT (id, username, enabled) ON users TO "{METER}"',
        )

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def grant(self, table: str, *columns: str) -> None:
        self.sql(f'GRANT SELECT ({", ".join(columns)}) ON {table} TO "{METER}"')

    def writers(self, first: date, last: date, pause: Callable[[float], None] = lambda seconds: None) -> Writers:
        """Who wrote, as the collector reads it, in all tables."""
        found: Writers = {}
        database = Database(self.dsn)
        try:
            for audit in discover(database, AuditTrail(), frozenset(ACTIVE_USERS)).audits:
                for day, ids in read_writers(database, audit, first, last, ZONE, pause).items():
                    found.setdefault(day, set()).update(ids)
        finally:
            database.close()
        return found

    def failure(self) -> str:
        with pytest.raises(SourceError) as caught:
            self.writers(YESTERDAY, YESTERDAY)
        return caught.value.reason


@pytest.fixture
def application(database: str) -> Application:
    return Application(database)


def machine(tmp_path: Path, application: Application, text: str = "") -> Server:
    head = f'[instances.acme]\ndsn = "{application.dsn}"\nservice_accounts = ["user9"]\nlogs = ["app/metering.log*"]\n'
    server = Server(tmp_path, head + text)
    server.log.touch()
    return server


def login(user: str, day: date = YESTERDAY) -> str:
    token = f'{{"token":{{"X":"T(user=\\"{user}\\", roles=\\"R\\")"}}}}'
    return f"[{day}T08:00:00+01:00] security.INFO: Authenticator successful! {token} []\n"


# --- tables of every kind ----------------------------------------------------------------------------------

TABLES = {
    "no key": (f"CREATE TABLE note ({AUDIT})", False),
    "a key that may not be read": (f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})", False),
    "a number": (f"CREATE TABLE note (id bigserial PRIMARY KEY, {AUDIT})", True),
    "a uuid": (f"CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), {AUDIT})", True),
    "text, in the order of a language": (
        f'CREATE TABLE note ("Id" text COLLATE "fr-x-icu" PRIMARY KEY DEFAULT chr(97 + (random() * 25)::int)'
        f" || upper(md5(random()::text)), {AUDIT})",
        True,
    ),
    "two columns": (
        f"CREATE TABLE note (kind int DEFAULT (random() * 3)::int, id serial, {AUDIT}, PRIMARY KEY (kind, id))",
        True,
    ),
    "an index on one of the times": (
        f'CREATE TABLE note (id serial PRIMARY KEY, {AUDIT}); CREATE INDEX ON note ("createdAt")',
        True,
    ),
    "an index on both": (
        f'CREATE TABLE note (id serial, {AUDIT}); CREATE INDEX ON note ("createdAt"); CREATE INDEX ON note (updatedat)',
        False,
    ),
    "an index on some rows only": (
        f'CREATE TABLE note (id serial PRIMARY KEY, {AUDIT}); CREATE INDEX ON note ("createdAt") WHERE secret IS NULL',
        True,
    ),
    "partitions": (
        f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT}) PARTITION BY HASH (id);"
        "CREATE TABLE note_0 PARTITION OF note FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE note_1 PARTITION OF note FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        True,
    ),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("turn", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 12, 31)])
def test_every_kind_of_table_tells_the_same(
    application: Application, monkeypatch: pytest.MonkeyPatch, kind: str, turn: date
) -> None:
    """Beside a count by hand, around days of 23 and 25 hours and the turn of the year, in batches that do not come
    out even.
    """
    monkeypatch.setattr(writers_module, "BATCH", 7)
    statement, key_readable = TABLES[kind]
    application.sql(statement)
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    if key_readable:
        key = {"two columns": ("kind", "id"), "text, in the order of a language": ('"Id"',)}.get(kind, ("id",))
        application.grant("note", *key)
    chance = random.Random(f"{kind} {turn}")
    begun = datetime.combine(turn - timedelta(days=2), datetime.min.time(), UTC)
    expected: Writers = {}
    with psycopg.connect(application.owner, autocommit=True) as connection:
        for _ in range(60):
            created = begun + timedelta(minutes=chance.randrange(0, 5 * 24 * 60, 30))
            updated = begun + timedelta(minutes=chance.randrange(0, 5 * 24 * 60, 30))
            who = [chance.choice([None, 1, 2, 3, 4]), chance.choice([None, 5, 6, 7, 8])]
            local = created.replace(tzinfo=None)
            connection.execute(
                'INSERT INTO note ("createdBy_id", "createdAt", updatedby_id, updatedat) VALUES (%s, %s, %s, %s)',
                [who[0], local, who[1], updated],
            )
            for one, day in ((who[0], local.date()), (who[1], updated.astimezone(ZONE).date())):
                if one and turn - timedelta(days=1) <= day <= turn + timedelta(days=1):
                    expected.setdefault(day, set()).add(str(one))
    assert application.writers(turn - timedelta(days=1), turn + timedelta(days=1)) == expected
    assert application.writers(turn, turn) == {turn: expected[turn]}


def test_an_index_helps_where_it_begins_with_the_time_and_has_every_row(application: Application) -> None:
    application.sql(
        f"CREATE TABLE note ({AUDIT})",
        "CREATE TABLE stay (createdby_id int, createdat timestamp, updatedby_id int, updatedat timestamp)",
        'CREATE INDEX ON note ("createdAt") WHERE secret IS NULL; CREATE INDEX ON note USING brin (updatedat)',
        "CREATE INDEX ON stay (createdat, createdby_id); CREATE INDEX ON stay (updatedby_id, updatedat)",
    )
    database = Database(application.owner)
    try:
        found = discover(database, AuditTrail(), frozenset(ACTIVE_USERS)).audits
    finally:
        database.close()
    times = {(audit.table.name, when.name): when.indexed for audit in found for _, when in audit.pairs}
    assert times == {
        ("note", "createdAt"): False,
        ("note", "updatedat"): False,
        ("stay", "createdat"): True,
        ("stay", "updatedat"): False,
    }


def test_what_is_not_the_application_s_own_is_left_out(application: Application) -> None:
    """Views, partitions by themselves, columns of other types, and the tables of extensions; nobody may read them."""
    application.sql(
        "CREATE VIEW everybody AS SELECT id AS createdby_id, now() AS createdat FROM users",
        "CREATE TABLE timeless (createdby_id int, createdat text)",
        "CREATE TABLE half (createdby_id int)",
        f"CREATE TABLE note ({AUDIT}) PARTITION BY LIST (secret); CREATE TABLE note_x PARTITION OF note DEFAULT",
        "CREATE TABLE tool (createdby_id int, createdat timestamp)",
        "CREATE EXTENSION unaccent; ALTER EXTENSION unaccent ADD TABLE tool",
        f"INSERT INTO note (updatedby_id, updatedat) VALUES (3, '{YESTERDAY} 12:00+01')",
    )
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    assert application.writers(YESTERDAY, YESTERDAY) == {YESTERDAY: {"3"}}


# --- rights and faults -------------------------------------------------------------------------------------


def test_a_right_that_is_missing_is_told_with_the_statement_that_gives_it(
    application: Application, tmp_path: Path
) -> None:
    application.sql(
        "CREATE SCHEMA other",
        f"CREATE TABLE other.course (id serial PRIMARY KEY, {AUDIT})",
        f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})",
        f"INSERT INTO other.course (updatedby_id, updatedat) VALUES (3, '{YESTERDAY} 12:00+01')",
    )
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id")
    server = machine(tmp_path, application)
    ((key, reason),) = server.collect().failures
    assert key.metric == "active_users"
    assert reason.startswith("this role may not read public.note, other.course: run GRANT ")
    assert server.values("active_users") == {}
    grants = re.findall(r"GRANT [^;]+;", reason)
    assert f'GRANT USAGE ON SCHEMA other TO "{METER}";' in grants
    application.sql(*grants)
    assert not server.collect(now=NOON + timedelta(hours=1)).failures
    assert server.values("active_users") == {YESTERDAY.isoformat(): 1}


def test_of_many_tables_that_may_not_be_read_three_are_named(application: Application) -> None:
    application.sql(*(f"CREATE TABLE note{n} ({AUDIT})" for n in range(5)))
    reason = application.failure()
    assert "public.note0, public.note1, public.note2; and 2 more tables" in reason
    assert reason.count("GRANT") == 3


def test_rows_that_a_policy_hides_are_not_taken_for_absent(application: Application) -> None:
    application.sql(f"CREATE TABLE note ({AUDIT})", "ALTER TABLE note ENABLE ROW LEVEL SECURITY")
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    assert "a row security policy hides rows" in application.failure()


def test_a_table_that_is_locked_is_not_waited_for(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_module.SETTINGS, "lock_timeout", "20ms")
    application.sql(f"CREATE TABLE note ({AUDIT})")
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    with psycopg.connect(application.owner) as upgrade:
        upgrade.execute("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        assert "a table is locked, perhaps by an upgrade" in application.failure()


def test_a_table_too_big_for_one_query_says_what_to_do(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a query never ends is arranged by a lock that is never given."""
    application.sql(f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})")
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    monkeypatch.setitem(database_module.SETTINGS, "statement_timeout", "2s")
    monkeypatch.setitem(database_module.SETTINGS, "lock_timeout", "0")
    with psycopg.connect(application.owner) as upgrade:
        upgrade.execute("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        reason = application.failure()
    assert reason.startswith("public.note is too big for one query: let the role read its primary key")


def test_between_two_batches_nothing_is_held(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade may change the table, and rows may be cleaned up, while it is being read."""
    monkeypatch.setattr(writers_module, "BATCH", 10)
    application.sql(
        f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})",
        f"INSERT INTO note (updatedby_id, updatedat) SELECT n % 5, '{YESTERDAY} 12:00' FROM generate_series(1, 35) n",
    )
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    pauses: list[float] = []

    def change_the_table(seconds: float) -> None:
        pauses.append(seconds)
        application.sql("SET lock_timeout = '1s'", f"ALTER TABLE note ADD COLUMN extra{len(pauses)} int")
        with psycopg.connect(application.owner, autocommit=True) as connection:
            held = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chill-meter'"
                " AND datname = current_database() AND (backend_xmin IS NOT NULL OR state <> 'idle')"
            ).fetchone()
        assert held == (0,)

    found = application.writers(YESTERDAY, YESTERDAY, change_the_table)
    assert found == {YESTERDAY: {"0", "1", "2", "3", "4"}}
    assert len(pauses) == 4
    assert min(pauses) > 0


# --- the union, its switches and its explanation -------------------------------------------------------------


@pytest.fixture
def three_sources(application: Application, tmp_path: Path) -> Server:
    """People 1 to 8: by columns 1, 4, 5 and 7 (disabled), in the audit trail 2, 4, 6 and a stranger, by logins
    3, 4, 5, 6, the service account 9 and a stranger.
    """
    application.sql(
        f"CREATE TABLE note ({AUDIT})",
        *(f"INSERT INTO note (updatedby_id, updatedat) VALUES ({n}, '{YESTERDAY} 12:00+01')" for n in (1, 4, 5, 7)),
        'CREATE TABLE chill_main_audit_trail (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "occurredAt" timestamptz,'
        " user_id int, action text)",
        *(
            f"INSERT INTO chill_main_audit_trail (\"occurredAt\", user_id) VALUES ('{YESTERDAY} 23:30+01', {n})"
            for n in (2, 4, 6, 99)
        ),
    )
    application.grant("note", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    application.grant("chill_main_audit_trail", "id", '"occurredAt"', "user_id")
    server = machine(tmp_path, application)
    server.log.write_text("".join(login(name) for name in ("user3", "USER4", "user5", "user6", "user9", "nobody")))
    return server


@pytest.mark.parametrize(
    "switched,expected",
    [
        ("", 6),
        ('active_users = ["columns", "audit_trail", "logins"]', 6),
        ('active_users = ["columns"]', 3),
        ('active_users = ["audit_trail"]', 3),
        ('active_users = ["logins"]', 4),
        ('active_users = ["columns", "logins"]', 5),
    ],
)
def test_each_source_can_be_switched(three_sources: Server, switched: str, expected: int) -> None:
    three_sources.config.write_text(three_sources.config.read_text() + switched)
    assert not three_sources.collect().failures
    assert three_sources.values("active_users") == {YESTERDAY.isoformat(): expected}


def test_logins_that_were_read_before_they_were_switched_off(three_sources: Server) -> None:
    with three_sources.log.open("a") as log:
        log.write(login("user3", TODAY))
    three_sources.collect()
    three_sources.config.write_text(three_sources.config.read_text() + 'active_users = ["columns"]')
    three_sources.collect(now=NOON + timedelta(days=1))
    assert three_sources.values("active_users") == {YESTERDAY.isoformat(): 6, TODAY.isoformat(): 0}


def test_a_source_that_is_switched_off_needs_no_rights(three_sources: Server, application: Application) -> None:
    application.sql(f'REVOKE ALL ON chill_main_audit_trail, note FROM "{METER}"')
    assert "chill_main_audit_trail" in three_sources.collect().failures[0][1]
    three_sources.config.write_text(three_sources.config.read_text() + 'active_users = ["logins"]')
    assert not three_sources.collect(now=NOON + timedelta(hours=1)).failures


def test_an_audit_trail_of_another_form_is_named_in_the_configuration(
    three_sources: Server, application: Application
) -> None:
    application.sql('ALTER TABLE chill_main_audit_trail RENAME COLUMN "occurredAt" TO "Seen_At"')
    application.sql("ALTER TABLE chill_main_audit_trail RENAME COLUMN user_id TO person")
    ((_, reason),) = three_sources.collect().failures
    assert reason.endswith('has no columns that are known: name them with audit_trail = {user = "…", time = "…"}')
    named = 'audit_trail = {user = "person", time = "seen_at"}'
    three_sources.config.write_text(three_sources.config.read_text() + named)
    assert not three_sources.collect(now=NOON + timedelta(hours=1)).failures
    assert three_sources.values("active_users") == {YESTERDAY.isoformat(): 6}


def test_catching_up_reads_each_table_once_whatever_the_number_of_days(
    application: Application, tmp_path: Path
) -> None:
    application.sql(
        f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})",
        f'INSERT INTO note ("createdBy_id", "createdAt")'
        f" SELECT 1 + n % 4, '{YESTERDAY}'::timestamp - n * interval '1 day' FROM generate_series(0, 19) n",
    )
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    server = machine(tmp_path, application)
    server.log.write_text(login("user1", YESTERDAY - timedelta(days=20)))
    statements: list[str] = []
    genuine = Database.ask

    def listen(self: Database, query: object, parameters: object = None) -> list[object]:
        statements.append(str(query))
        return genuine(self, query, parameters)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "ask", listen)
        server.collect(since=YESTERDAY - timedelta(days=19))
    assert server.values("active_users") == {(YESTERDAY - timedelta(days=n)).isoformat(): 1 for n in range(20)}
    # One batch, and one that finds the end: for those who wrote, and for what was overwritten since.
    assert len([text for text in statements if "'note'" in text]) == 4


# --- a day that is counted late: exact, or a gap ----------------------------------------------------------------

LATE = YESTERDAY - timedelta(days=3)
BEFORE = LATE - timedelta(days=1)


def row(created: tuple[int, date], updated: tuple[int, date] | None = None) -> str:
    values = f"({created[0]}, '{created[1]} 12:00'" + (f", {updated[0]}, '{updated[1]} 12:00')" if updated else ")")
    names = '"createdBy_id", "createdAt"' + (", updatedby_id, updatedat" if updated else "")
    return f"INSERT INTO note ({names}) VALUES {values}"


def trail(user: int, day: date) -> str:
    return f"INSERT INTO chill_main_audit_trail (\"occurredAt\", user_id) VALUES ('{day} 12:00+01', {user})"


# What lies in the database and in the log, and how many were active on LATE, None where nobody can tell any more.
LATE_CASES: dict[str, tuple[list[str], list[tuple[str, date]], int | None]] = {
    "nothing was changed since": ([row((1, LATE)), row((2, BEFORE), (3, LATE))], [], 2),
    "what was changed since was made later": ([row((1, LATE)), row((2, TODAY), (3, TODAY))], [], 1),
    "a row of then was changed since": ([row((1, LATE)), row((2, BEFORE), (3, TODAY))], [], None),
    "a row of that day was changed since": ([row((1, LATE), (3, YESTERDAY))], [], None),
    "its making is not dated": (
        ["INSERT INTO note (updatedby_id, updatedat) VALUES (3, '2026-11-22 12:00')"],
        [],
        None,
    ),
    "an audit trail goes back": (
        [trail(4, BEFORE), trail(5, LATE), row((1, LATE)), row((2, BEFORE), (3, TODAY))],
        [],
        2,
    ),
    "an audit trail began later": ([trail(4, YESTERDAY), row((2, BEFORE), (3, TODAY))], [], None),
    "all who could have written logged in": (
        [row((1, LATE)), row((2, BEFORE), (3, TODAY))],
        [("user1", BEFORE), ("user1", LATE), ("user2", LATE)],
        2,
    ),
    "somebody may have gone on past midnight": (
        [row((1, LATE)), row((2, BEFORE), (3, TODAY))],
        [("user1", LATE), ("user2", BEFORE)],
        None,
    ),
    "nobody who counts may have gone on": (
        [row((1, LATE)), row((2, BEFORE), (3, TODAY))],
        [("user1", LATE), ("user9", BEFORE), ("user7", BEFORE)],
        1,
    ),
    "the log does not tell of logins": ([row((1, LATE)), row((2, BEFORE), (3, TODAY))], [("user4", BEFORE)], None),
}


@pytest.mark.parametrize("case", LATE_CASES)
def test_a_day_counted_late_is_exact_or_a_gap(application: Application, tmp_path: Path, case: str) -> None:
    statements, logins, expected = LATE_CASES[case]
    application.sql(
        f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})",
        'CREATE TABLE chill_main_audit_trail (id serial PRIMARY KEY, "occurredAt" timestamptz, user_id int)',
        *statements,
    )
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    application.grant("chill_main_audit_trail", "id", '"occurredAt"', "user_id")
    server = machine(tmp_path, application)
    server.log.write_text(
        "".join(login(name, day) for name, day in [("user8", LATE - timedelta(days=9)), *logins, ("user8", TODAY)])
    )
    outcome = server.collect(since=LATE, until=LATE)
    if expected is None:
        ((_, reason),) = [one for one in outcome.failures if one[0].metric == "active_users"]
        assert reason.startswith("rows that were there on this day were updated since, which hides who updated them")
        assert server.values("active_users") == {}
    else:
        assert not outcome.failures
        assert server.values("active_users") == {LATE.isoformat(): expected}


def test_what_the_night_counted_is_not_lost_to_later_changes(application: Application, tmp_path: Path) -> None:
    application.sql(f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})", row((1, BEFORE), (3, LATE)))
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    server = machine(tmp_path, application)
    server.collect(now=NOON - timedelta(days=3))
    application.sql("UPDATE note SET updatedby_id = 4, updatedat = now()")
    outcome = server.collect(since=LATE, until=LATE, now=NOON + timedelta(days=1))
    assert not outcome.failures
    assert server.values("active_users")[LATE.isoformat()] == 1


def test_the_count_of_a_day_under_way_does_not_stand_for_the_whole_day(
    application: Application, tmp_path: Path
) -> None:
    application.sql(f"CREATE TABLE note (id serial PRIMARY KEY, {AUDIT})", row((1, TODAY)))
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    server = machine(tmp_path, application)
    server.collect(until=TODAY)
    application.sql(row((2, TODAY)), f'REVOKE SELECT ON note FROM "{METER}"')
    application.sql(f'REVOKE SELECT ("createdAt") ON note FROM "{METER}"')
    night = NOON + timedelta(days=1)
    assert server.collect(now=night).failures
    application.grant("note", '"createdAt"')
    application.grant("note", "id", '"createdBy_id"', '"createdAt"', "updatedby_id", "updatedat")
    assert not server.collect(now=night + timedelta(hours=1)).failures
    assert server.values("active_users")[TODAY.isoformat()] == 2


def explain(server: Server, *arguments: str) -> Result:
    day = YESTERDAY.isoformat()
    return CliRunner().invoke(
        main, ["explain", "active_users", "acme", day, "--config", str(server.config), *arguments]
    )


def test_a_day_is_explained_in_numbers(three_sources: Server, application: Application) -> None:
    three_sources.collect()
    told = explain(three_sources)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        f"acme, {YESTERDAY}: 6 active users",
        "  columns           3",
        "  audit_trail       3",
        "  logins            4",
        "each of them is shown by",
        "  audit_trail                          1",
        "  columns                              1",
        "  logins                               1",
        "  audit_trail + logins                 1",
        "  columns + logins                     1",
        "  columns + audit_trail + logins       1",
        "shown and not counted",
        "  service accounts       1",
        "  disabled               1",
        "  unknown                2  ids or login names that no user has",
    ]
    # One of them, who was seen by the database alone, is overwritten there.
    application.sql("DELETE FROM note WHERE updatedby_id = 1")
    values = json.loads(explain(three_sources, "--json").stdout)
    assert (values["active_users"], values["earlier"], values["sources"]["columns"]) == (6, 1, 2)
    assert values["not_counted"] == {"service accounts": 1, "disabled": 1, "unknown": 2}


def test_an_explanation_names_nobody_and_changes_nothing(three_sources: Server) -> None:
    three_sources.collect()
    before = three_sources.everything_written(leave_out=[three_sources.root / "state" / "lock"])
    told = explain(three_sources).output + explain(three_sources, "--json").output
    assert not re.search(r"user\d|nobody|marked|[0-9a-f]{16}", told)
    assert three_sources.everything_written(leave_out=[three_sources.root / "state" / "lock"]) == before


@pytest.mark.parametrize(
    "arguments,status,words",
    [
        (["other", "today"], 2, "SLUG: 'other' is not an instance of"),
        (["acme", "2999-01-01"], 2, "DAY: 2999-01-01 is in the future"),
        (["acme", "soon"], 2, "is not a date"),
        (["bare", "yesterday"], 2, "active users of bare are not counted on this server"),
    ],
)
def test_what_cannot_be_explained(
    application: Application, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    server = machine(tmp_path, application, "[instances.bare]\n")
    told = CliRunner().invoke(main, ["explain", "active_users", *arguments, "--config", str(server.config)])
    assert told.exit_code == status
    assert words in told.stderr
    assert not server.spool.exists()


def test_an_explanation_says_which_source_fails(three_sources: Server, application: Application) -> None:
    application.sql(f'REVOKE ALL ON note FROM "{METER}"')
    told = explain(three_sources)
    assert told.exit_code == 1
    assert f"active_users of acme, {YESTERDAY}: this role may not read public.note: run GRANT" in told.stderr
