"""What the role of environments lets metering read: all that is counted, and nothing else; and what it tells it."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2
import psycopg
import pytest

from metering.server.config import load_config
from metering.server.database import Database
from metering.server.discovery import Found, discover
from metering.server.sources import ACTIVE_USERS, AuditTrail, Store
from metering.server.writers import read_writers

TEMPLATES = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "environment" / "templates"
METER = "chill-meter"
SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, username text, email text, enabled boolean, locked boolean);
CREATE TABLE note (id serial PRIMARY KEY, text text, "createdBy_id" int, "createdAt" timestamp);
CREATE TABLE stay (kind int, id uuid, created_by_id int, created_at timestamptz, updatedbyid int, updatedat date,
                   secret text, PRIMARY KEY (kind, id));
CREATE SCHEMA other;
CREATE TABLE other.course (createdby_id int, createdat timestamp) PARTITION BY LIST (createdby_id);
CREATE TABLE other.course_1 PARTITION OF other.course DEFAULT;
CREATE TABLE chill_main_audit_trail (id uuid PRIMARY KEY, "occurredAt" timestamp, user_id int, description text);
CREATE TABLE person (id int PRIMARY KEY, name text, createdby_id int);
"""


def give_rights(dsn: str) -> str:
    """Run the role's own statements; what was changed."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES))  # noqa: S701 (SQL)
    database = dsn.partition("dbname=")[2]
    heading = f"\\set meter '{METER}'\n\\set database '{database}'\n\\set QUIET off\n"
    statements = environment.get_template("metering_rights.sql.j2").render(execute="\\gexec")
    command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", f"--dbname={dsn}"]
    done = subprocess.run(command, input=heading + statements, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def application(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f'DO $$ BEGIN CREATE ROLE "{METER}" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$'
        )
        connection.execute(SCHEMA)
    return database


def found(application: str) -> Found:
    """What metering finds and may read; the tables are read to their end."""
    database = Database(application.replace("user=postgres", f"user={METER}"))
    try:
        found = discover(database, AuditTrail(), frozenset(ACTIVE_USERS))
        for audit in [*found.audits, *([found.trail] if found.trail else [])]:
            read_writers(database, audit, date(2026, 1, 1), date(2026, 1, 2), ZoneInfo("Europe/Brussels"))
        return found
    finally:
        database.close()


def test_all_that_is_counted_may_be_read(application: str) -> None:
    give_rights(application)
    sources = found(application)
    assert [audit.table.name for audit in sources.audits] == ["note", "stay", "course"]
    assert sources.trail
    # Big tables are read along their keys.
    assert [len(audit.table.key) for audit in [*sources.audits, sources.trail]] == [1, 2, 0, 1]


def test_nothing_else_may_be_read(application: str) -> None:
    with psycopg.connect(application, autocommit=True) as connection:
        connection.execute(f'GRANT SELECT ON person TO "{METER}"; GRANT SELECT (secret) ON stay TO "{METER}"')
    give_rights(application)
    with psycopg.connect(application, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum)"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('public', 'other') AND c.relkind IN ('r', 'p') AND a.attnum > 0"
            f" AND has_column_privilege('{METER}', c.oid, a.attnum, 'SELECT') GROUP BY c.oid"
        ).fetchall()
    assert dict(rows) == {
        "users": "id username enabled",
        "note": "id createdBy_id createdAt",
        "stay": "kind id created_by_id created_at updatedbyid updatedat",
        "course": "createdby_id createdat",
        "course_1": "createdby_id createdat",
        "chill_main_audit_trail": "id occurredAt user_id",
    }


def test_a_second_time_nothing_changes(application: str) -> None:
    assert "GRANT" in give_rights(application)
    assert give_rights(application).strip() == ""


def test_what_the_role_tells_metering(tmp_path: Path) -> None:
    """Documents on disk, and without Collabora; then in a store, with Collabora."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True)  # noqa: S701 (TOML)
    environment.filters["to_json"] = json.dumps
    names = {"slug": "acme", "database": "chill_acme", "home": "/srv/chill/acme", "domain": "acme.chill.pro"}
    variables = {
        "names": names,
        "environment_user": {"uid": 998},
        "environment_service_accounts": ["support"],
        "environment_metered_documents": ["/srv/chill/acme/shared/documents"],
        "environment_metered_credentials": "",
        "environment_wopi_logs": [],
        "environment_wopi_key": "",
    }
    stores = {
        "environment_metered_documents": ["swift://acme"],
        "environment_metered_credentials": "/etc/chill/acme-store.toml",
        "environment_wopi_logs": ["/var/log/nginx/acme-wopi.log*"],
        "environment_wopi_key": "/etc/chill/acme-jwt.pem",
    }
    path = tmp_path / "meter.toml"
    found = []
    for changed in ({}, stores):
        text = environment.get_template("meter.toml.j2").render(**{**variables, **changed})
        path.write_text(f'server = "srv1"\nspool = "spool"\nstate = "state"\n{text}')
        found.append(load_config(path).instances["acme"])
    assert [found[0].documents, found[0].stores, found[0].wopi] == [
        (Path("/srv/chill/acme/shared/documents"),),
        (),
        None,
    ]
    assert [found[1].documents, found[1].stores] == [(), (Store("swift", "acme"),)]
    assert found[1].credentials == Path("/etc/chill/acme-store.toml")
    assert found[1].wopi
    assert found[1].wopi.key == Path("/etc/chill/acme-jwt.pem")
