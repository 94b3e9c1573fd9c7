"""Asks the database of an environment as the environment's own user, on its server."""

from __future__ import annotations

from typing import Any

from provision.verify.target import Target


def query(host: Any, target: Target, sql: str) -> str:
    """What the environment's user gets for a query, over the server's socket; fails with psql's words."""
    answer = host.run(
        "cd / && runuser -u %s -- psql --no-psqlrc --no-password -At -d %s -c %s",
        target.user,
        target.database,
        sql,
    )
    if answer.rc != 0:
        raise AssertionError(f"{target.user} cannot query {target.database}: {' '.join(answer.stderr.split())}")
    return str(answer.stdout).strip()
