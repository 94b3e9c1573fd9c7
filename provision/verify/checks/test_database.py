"""The database, asked by the environment's own user."""

from __future__ import annotations

from typing import Any

from provision.verify.database import query
from provision.verify.target import Target

EXTENSIONS = {"unaccent", "pg_trgm", "postgis"}


def test_peer_authentication(host: Any, target: Target) -> None:
    """the database is open to the environment's user, without a password"""
    role = query(host, target, "SELECT current_user")
    assert role == target.user, f"{target.user} is {role} in the database"


def test_extensions(host: Any, target: Target) -> None:
    """the database has the extensions that the application needs"""
    present = set(query(host, target, "SELECT extname FROM pg_extension").splitlines())
    assert present >= EXTENSIONS, f"missing in {target.database}: {', '.join(sorted(EXTENSIONS - present))}"
