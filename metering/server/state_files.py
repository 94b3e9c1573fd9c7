"""The files of a server's state: their owner and modes, the lock of a run, the tables of the database."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.samples import iso_time
from metering.server.errors import MeterError

# Days are written 2026-11-23. People stand in `logins` and `active` as keyed digests only (pseudonyms.py).
SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (source TEXT PRIMARY KEY, first_day TEXT, rotated INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, path TEXT NOT NULL, signature TEXT NOT NULL, head_length
    INTEGER NOT NULL, head_digest BLOB NOT NULL, position INTEGER NOT NULL, tail_digest BLOB NOT NULL,
    tail_length INTEGER NOT NULL, context TEXT NOT NULL, finished INTEGER NOT NULL, live INTEGER NOT NULL
);
CREATE TABLE told (signature TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE queue (
    key BLOB PRIMARY KEY, owner TEXT, sender TEXT, waiting TEXT NOT NULL, minute INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE counts (
    day TEXT, instance TEXT, metric TEXT, value INTEGER NOT NULL, PRIMARY KEY (day, instance, metric)
) WITHOUT ROWID;
CREATE TABLE logins (day TEXT, instance TEXT, user TEXT, PRIMARY KEY (day, instance, user)) WITHOUT ROWID;
CREATE TABLE active (day TEXT, instance TEXT, user TEXT, PRIMARY KEY (day, instance, user)) WITHOUT ROWID;
CREATE TABLE days (day TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE written (
    day TEXT, instance TEXT, metric TEXT, status TEXT NOT NULL, value INTEGER, final INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    PRIMARY KEY (day, instance, metric)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
# Who opened documents with Collabora, as keyed digests. Added to what earlier versions wrote, which may go on with it.
EDITORS: Final = """
CREATE TABLE IF NOT EXISTS editors (
    year TEXT, instance TEXT, user TEXT, first_day TEXT NOT NULL, PRIMARY KEY (year, instance, user)
) WITHOUT ROWID
"""


def make_private(directory: Path) -> None:
    """Make the directory of the state, for its user alone; MeterError when it is somebody else's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = directory.stat().st_uid
    if owner != os.geteuid():
        hint = f'run it as that user: runuser -u "$(stat -c %U {directory})" -- chill-meter collect'
        raise MeterError(f"state: {directory} belongs to another user than the one who runs this", hint, status=2)
    directory.chmod(0o700)


def take_lock(path: Path) -> int:
    """Take the lock of the run, or say who holds it.

    The kernel frees it when the holder ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        raise MeterError(f"another collection is running ({holder})", "wait for its end and run this again") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()}, since {iso_time(datetime.now(UTC))}\n".encode())
    return descriptor


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database, made with its tables when it is not there; MeterError when its version is not known."""
    # Made by hand first, because SQLite would take the mode from the umask.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    db.execute("PRAGMA synchronous = FULL")
    # What is deleted must be gone from the disk as well: it is about people.
    db.execute("PRAGMA secure_delete = ON")
    with closing(db.execute("PRAGMA user_version")) as cursor:
        version = cursor.fetchone()[0]
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    elif version != 1:
        db.close()
        hint = "bring chill-meter on this server up to date: chill-provision server prepare"
        raise MeterError(f"{path} was written by a newer chill-meter (version {version})", hint)
    db.execute(EDITORS)
    return db
