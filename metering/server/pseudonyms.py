"""People become pseudonyms: HMAC-SHA256 under a key per instance and year, which never leaves this server.

Whoever holds the ledger cannot tell who is meant, nor follow anyone from one year or one customer to another.
A key that is destroyed leaves only counts: nobody can make the same pseudonyms again, and no new key is made in its
place.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from metering.server.errors import MeterError, SourceError

KEY_BYTES: Final = 32
PSEUDONYM_DIGITS: Final = 16
# This file in the place of a year's keys says that they were destroyed.
FORGOTTEN: Final = "forgotten"
_YEAR = re.compile(r"\d{4}")


class ForgottenYear(SourceError):
    """A year whose keys were destroyed: nobody of that year can be told from anybody else any more."""

    def __init__(self, year: int) -> None:
        super().__init__(f"who was active in {year} was forgotten: its keys were destroyed", final=True)


class Pseudonyms:
    """The keys under one directory: `<year>/<instance>.key`, 0600, made on first use.

    ForgottenYear when a pseudonym of a year without keys is asked for; MeterError when a key is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[tuple[str, int], bytes] = {}
        self.forgotten = forgotten_years(directory)

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
        if year in self.forgotten:
            raise ForgottenYear(year)
        known = self._keys.get((instance, year))
        if known is None:
            path = self._directory / f"{year:04}" / f"{instance}.key"
            known = self._keys[instance, year] = _read_or_make(path)
        return known


def forgotten_years(directory: Path) -> frozenset[int]:
    """The years whose keys under `directory` were destroyed for good."""
    return frozenset(
        int(path.parent.name) for path in directory.glob(f"*/{FORGOTTEN}") if _YEAR.fullmatch(path.parent.name)
    )


def destroy_keys(directory: Path, year: int) -> int:
    """Destroy the keys of a year, and say so in their place; how many there were. OSError as it comes.

    That they are gone is written first: a run that is killed here leaves keys that nobody uses any more, and the next
    one goes on. Each key is overwritten before its name is removed; what a file system or an SSD keeps beside is out of
    reach (docs/data-protection.md).
    """
    place = directory / f"{year:04}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(place / FORGOTTEN, os.O_WRONLY | os.O_CREAT, 0o600))
    sync_directory(place)
    sync_directory(directory)
    # A key that a killed run left half-made has a hidden name.
    keys = [*place.glob("*.key"), *place.glob(".*.key")]
    for path in keys:
        _overwrite(path)
        path.unlink()
    sync_directory(place)
    return len(keys)


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, secrets.token_bytes(max(KEY_BYTES, os.fstat(descriptor).st_size)), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_or_make(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            # Pseudonyms under an empty key could be guessed by anyone.
            hint = "bring it back from a backup: without it, whoever was counted this year becomes somebody else"
            raise MeterError(f"{path}: is damaged: a key has {KEY_BYTES} bytes, this one {len(key)}", hint)
        return key
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
