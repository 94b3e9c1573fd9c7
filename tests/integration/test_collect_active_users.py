"""Active users from a real PostgreSQL, read by a role with rights on single columns."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.unit.metering.server_side import NOON, YESTERDAY, Server

DAY_BEFORE = YESTERDAY - timedelta(days=1)
METER = "chill-meter"

SCHEMA = """ CREATE TABLE users (id serial PRIMARY KEY, username text NOT NULL, email text, enabled boolean
NOT NULL, locked boolean); CREATE TABLE note (
    id serial PRIMARY KEY, text text,
    "createdBy_id" integer REFERENCES users, "createdAt" timestamp(0) without time zone,
    "updatedBy_id" integer REFERENCES users, "updatedAt" timestamp(0) without time zone
);
CREATE SCHEMA other;
CREATE TABLE other.course (
    createdby_id bigint, createdat timestamp with time zone, updatedby_id bigint, updatedat date, secret text
);
CREATE VIEW everybody AS SELECT id AS createdby_id, now() AS createdat FROM users;
INSERT INTO users (username, email, enabled) VALUES
    ('anna', 'anna@marked.example', true), ('bilal', 'b@marked.example', true),
    ('chloé', 'c@marked.example', true), ('gone', 'd@marked.example', false),
    ('Support', 'e@marked.example', true), ('idle', 'f@marked.example', true);
"""


@pytest.fixture
def instance(database: str) -> str:
    """A database like Chill's. The connection string is that of the metering role, which may read little."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute(
            f'DO $$ BEGIN CREATE ROLE "{METER}" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$'
        )
        connection.execute(f'GRANT SELECT (id, username, enabled) ON users TO "{METER}"')
        columns = '"createdBy_id", "createdAt", "updatedBy_id", "updatedAt"'
        connection.execute(f'GRANT SELECT ({columns}) ON note TO "{METER}"')
        connection.execute(f'GRANT USAGE ON SCHEMA other TO "{METER}"')
        connection.execute(
            f'GRANT SELECT (createdby_id, createdat, updatedby_id, updatedat) ON other.course TO "{METER}"'
        )
    return database.replace("user=postgres", f"user={METER}")


def run_sql(instance: str, *statements: str) -> None:
    with psycopg.connect(instance.replace(f"user={METER}", "user=postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def machine(tmp_path: Path, instance: str, logs: bool = False) -> Server:
    text = f'[instances.acme]\ndsn = "{instance}"\nservice_accounts = ["support"]\n'
    server = Server(tmp_path, text + ('logs = ["app/metering.log*"]\n' if logs else ""))
    if logs:
        server.log.touch()
    return server


def written_by(user: int, created: str) -> str:
    return f'INSERT INTO note ("createdBy_id", "createdAt") VALUES ({user}, \'{created}\')'


def login(user: str, day: date) -> str:
    token = {"token": {"X": f'PostAuthenticationToken(user="{user}", roles="ROLE_USER")'}}
    return f"[{day}T08:00:00+01:00] security.INFO: Authenticator successful! {json.dumps(token)} []\n"


def users_of(server: Server, day: date) -> list[str]:
    """The pseudonyms in the latest users file of a day."""
    path = max(server.spool.glob(f"{day}.*.users.csv"))
    with path.open(newline="") as stream:
        return [row["user"] for row in csv.DictReader(stream)]


def test_writers_of_all_kinds_of_columns(instance: str, tmp_path: Path) -> None:
    run_sql(
        instance,
        written_by(1, f"{YESTERDAY} 00:00:00"),
        written_by(1, f"{YESTERDAY} 23:59:59"),
        f'UPDATE note SET "updatedBy_id" = 2, "updatedAt" = \'{YESTERDAY} 12:00:00\'',
        # 23:30 UTC of the day before is yesterday's 00:30 in Brussels.
        f"INSERT INTO other.course (createdby_id, createdat) VALUES (3, '{DAY_BEFORE} 23:30:00+00')",
        f"INSERT INTO other.course (updatedby_id, updatedat) VALUES (4, '{YESTERDAY}'), (5, '{YESTERDAY}')",
    )
    server = machine(tmp_path, instance)
    assert not server.collect().failures
    assert server.values("active_users") == {YESTERDAY.isoformat(): 3}
    users = users_of(server, YESTERDAY)
    assert len(set(users)) == 3
    assert all(len(user) == 16 and set(user) <= set("0123456789abcdef") for user in users)


@pytest.mark.parametrize("created", [f"{DAY_BEFORE} 23:59:59", f"{YESTERDAY + timedelta(days=1)} 00:00:00"])
def test_the_day_has_two_ends(instance: str, tmp_path: Path, created: str) -> None:
    run_sql(instance, written_by(1, created))
    server = machine(tmp_path, instance)
    server.collect()
    assert server.values("active_users") == {YESTERDAY.isoformat(): 0}


def test_logins_count_whatever_the_case_and_only_those_of_users(instance: str, tmp_path: Path) -> None:
    server = machine(tmp_path, instance, logs=True)
    names = ("ANNA", "chloé", "Chloé", "gone", "support", "stranger")
    server.log.write_text("".join(login(name, YESTERDAY) for name in names))
    run_sql(instance, written_by(1, f"{YESTERDAY} 12:00:00"))
    server.collect()
    assert server.values("active_users") == {YESTERDAY.isoformat(): 2}


def test_a_late_login_is_added(instance: str, tmp_path: Path) -> None:
    server = machine(tmp_path, instance, logs=True)
    server.collect()
    server.log.write_text(login("anna", YESTERDAY))
    server.collect(now=NOON + timedelta(hours=1))
    assert server.values("active_users") == {YESTERDAY.isoformat(): 1}
    assert len(users_of(server, YESTERDAY)) == 1


def test_whoever_was_seen_stays_seen_when_the_database_forgets(instance: str, tmp_path: Path) -> None:
    run_sql(instance, written_by(1, f"{YESTERDAY} 12:00:00"), written_by(5, f"{YESTERDAY} 12:00:00"))
    server = machine(tmp_path, instance)
    server.collect()
    before = users_of(server, YESTERDAY)
    run_sql(instance, f'UPDATE note SET "createdBy_id" = 2, "createdAt" = \'{YESTERDAY + timedelta(days=1)}\'')
    server.collect(since=YESTERDAY, until=YESTERDAY, now=NOON + timedelta(days=5))
    assert server.values("active_users") == {YESTERDAY.isoformat(): 1}
    assert users_of(server, YESTERDAY) == before


def test_pseudonyms_hold_for_a_year_and_an_instance(instance: str, tmp_path: Path) -> None:
    run_sql(instance, *(written_by(1, f"{day} 12:00") for day in ("2026-12-30", "2026-12-31", "2027-01-01")))
    server = machine(tmp_path, instance)
    server.config.write_text(server.config.read_text() + f'[instances.beta]\ndsn = "{instance}"\n')
    server.collect(since=date(2026, 12, 30), now=NOON.replace(year=2027, month=1, day=2))
    found: dict[tuple[str, int], set[str]] = {}
    for path in server.spool.glob("*.users.csv"):
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault((row["instance"], int(row["day"][:4])), set()).add(row["user"])
    assert {len(users) for users in found.values()} == {1}
    assert len(set.union(*found.values())) == len(found) == 4


def test_the_database_is_only_read(instance: str, tmp_path: Path) -> None:
    """With every right there is: the transaction itself is read-only."""
    from metering.server.database import Database
    from metering.server.errors import SourceError

    opened = Database(instance.replace(f"user={METER}", "user=postgres"))
    try:
        with pytest.raises(SourceError, match="ReadOnlySqlTransaction 25006"):
            opened.ask("DELETE FROM note RETURNING id")
    finally:
        opened.close()


@pytest.mark.parametrize(
    "change,words",
    [
        (("dbname=test_", "dbname=absent_"), "there is no such database"),
        ((f"user={METER}", "user=absent"), "there is no such role"),
        (("host=/tmp", "host=/absent"), "it does not answer"),
    ],
)
def test_a_database_that_does_not_answer(instance: str, tmp_path: Path, change: tuple[str, str], words: str) -> None:
    server = machine(tmp_path, instance.replace(*change))
    ((key, reason),) = server.collect().failures
    assert key.metric == "active_users"
    assert words in reason
    assert server.values("active_users") == {}


def test_rights_that_are_missing_are_named_without_data(instance: str, tmp_path: Path) -> None:
    run_sql(instance, f'REVOKE SELECT (username) ON users FROM "{METER}"')
    ((_, reason),) = machine(tmp_path, instance).collect().failures
    grant = 'GRANT SELECT (id, username, enabled) ON public.users TO "chill-meter";'
    assert reason == f"this role may not read public.users: run {grant}"


def test_a_failure_of_the_night_is_made_good(instance: str, tmp_path: Path) -> None:
    run_sql(instance, written_by(1, f"{YESTERDAY} 12:00"), f'REVOKE SELECT (id) ON users FROM "{METER}"')
    server = machine(tmp_path, instance)
    assert server.collect().failures
    run_sql(instance, f'GRANT SELECT (id) ON users TO "{METER}"')
    assert not server.collect(now=NOON + timedelta(days=1)).failures
    assert server.values("active_users")[YESTERDAY.isoformat()] == 1


def test_no_name_or_address_is_written(instance: str, tmp_path: Path) -> None:
    server = machine(tmp_path, instance, logs=True)
    server.log.write_text("".join(login(name, YESTERDAY) for name in ("anna", "bilal", "chloé")))
    run_sql(instance, written_by(1, f"{YESTERDAY} 12:00:00"))
    server.collect()
    assert server.values("active_users") == {YESTERDAY.isoformat(): 3}
    written = server.everything_written()
    for mark in (b"anna", b"bilal", "chloé".encode(), b"marked.example"):
        assert mark not in written
    keys = list((tmp_path / "state" / "keys").rglob("*.key"))
    assert [path.relative_to(tmp_path / "state" / "keys").as_posix() for path in keys] == ["2026/acme.key"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in keys)
