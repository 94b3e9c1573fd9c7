"""The database, asked by the environment's own user."""

from __future__ import annotations

from typing import Any

from provision.verify.target import Target

EXTENSIONS = {"unaccent", "pg_trgm", "postgis"}


def query(host: Any, target: Target, sql: str) -> str:
    """What the environment's user gets for a query, over the server's socket; fails with psql's words."""
    answer = host.run(
        "cd / && runuser -u %s -- psql --no-psqlrc --no-password -At -d %s -c %s",
        target.user,
        target.database,
        sql,
    )
    assert answer.rc == 0, f"{target.user} cannot query {target.database}: {' '.join(answer.stderr.split())}"
    return str(answer.stdout).strip()


def test_peer_authentication(host: Any, target: Target) -> None:
    """the database is open to the environment's user, without a password"""
    role = query(host, target, "SELECT current_user")
    assert role == target.user, f"{target.user} is {role} in the database"


def test_extensions(host: Any, target: Target) -> None:
    """the database has the extensions that the application needs"""
    present = set(query(host, target, "SELECT extname FROM pg_extension").splitlines())
    assert present >= EXTENSIONS, f"missing in {target.database}: {', '.join(sorted(EXTENSIONS - present))}"
