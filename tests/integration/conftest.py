"""Real servers for tests: a PostgreSQL cluster on a private socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

# Debian puts the server's programs beside the path.
POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def as_user(name: str, command: list[str]) -> list[str]:
    """The command run as another Unix user, when the tests are root's; as the current one otherwise."""
    return (
        ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", *command] if os.geteuid() == 0 else command
    )


def _postgres_user() -> str:
    """PostgreSQL refuses to run as root: then it runs as `postgres`, or as `nobody` where that does not
    exist.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The connection string of a superuser of a fresh cluster: `host=<socket directory> user=postgres
    dbname=postgres`.

    Whoever may reach the socket may log in as any role. Databases and roles made in it live as long as the
    session.
    """
    assert POSTGRES_PROGRAMS, "PostgreSQL's server is not installed: apt-get install postgresql"
    programs = POSTGRES_PROGRAMS[-1]
    user = _postgres_user()
    # A short path: a socket's may have 107 characters.
    home = Path(tempfile.mkdtemp(prefix="chill-pg-"))
    data = home / "data"
    if os.geteuid() == 0:
        shutil.chown(home, user, None)
    # Readable, so that tests that drop root reach the socket.
    home.chmod(0o755)
    initdb = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]
    settings = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off -c timezone=UTC"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log")]
    try:
        subprocess.run(as_user(user, [*initdb, "-N"]), check=True, capture_output=True, cwd="/")
        subprocess.run(as_user(user, [*control, "-o", settings, "start"]), check=True, capture_output=True, cwd="/")
        try:
            yield f"host={home} user=postgres dbname=postgres"
        finally:
            subprocess.run(
                as_user(user, [*control, "-m", "immediate", "stop"]),
                check=False,
                capture_output=True,
                cwd="/",
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The connection string of a fresh, empty database, as its superuser."""
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("dbname=postgres", f"dbname={name}")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
