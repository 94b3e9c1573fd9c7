"""People become pseudonyms: HMAC-SHA256 under a key per instance and year, which never leaves this server.

Whoever holds the ledger cannot tell who is meant, nor follow anyone from one year or one customer to another.
A key that is destroyed leaves only counts.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
PSEUDONYM_DIGITS: Final = 16


class Pseudonyms:
    """The keys under one directory: `<year>/<instance>.key`, 0600, made on first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[tuple[str, int], bytes] = {}

    def of_user(self, instance: str, year: int, user_id: str) -> str:
        """The pseudonym of a user, from the id in the database: 16 hex digits, as in users.csv."""
        return self._digest(instance, year, user_id.encode())[:PSEUDONYM_DIGITS]

    def of_login(self, instance: str, year: int, username: str) -> str:
        """What is remembered of a login until it is matched with the database: 64 hex digits.

        Names are compared regardless of case, as the application does.
        """
        return self._digest(instance, year, b"login:" + username.strip().casefold().encode())

    def _digest(self, instance: str, year: int, text: bytes) -> str:
        return hmac.new(self._key(instance, year), text, hashlib.sha256).hexdigest()

    def _key(self, instance: str, year: int) -> bytes:
        known = self._keys.get((instance, year))
        if known is None:
            known = self._keys[instance, year] = _read_or_make(self._directory / str(year) / f"{instance}.key")
        return known


def _read_or_make(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    key = secrets.token_bytes(KEY_BYTES)
    # A key must be on the disk before the first pseudonym made with it, else a power cut would split a person
    # in two.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key)
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(path)
    sync_directory(path.parent)
    sync_directory(path.parent.parent)
    return key


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
