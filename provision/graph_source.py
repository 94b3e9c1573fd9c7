"""Reads credentials of Microsoft Graph from where they were put: an OpenPGP-encrypted file, or standard input."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import BinaryIO

from provision.errors import RequestError
from provision.fleet import Fleet
from provision.graph import GraphCredentials, parse
from provision.openpgp import Keyring

STANDARD_INPUT = "-"
ARMOR = b"-----BEGIN PGP MESSAGE-----"
# Credentials are some 200 bytes; encrypted to a few keys, some thousand.
GREATEST = 100_000


def read_credentials(source: str, place: str, stdin: BinaryIO, fleet: Fleet, today: date) -> GraphCredentials:
    """The credentials in the file `source`, or on `stdin` when that is `-`; `place` names the argument.

    A file must be encrypted, to a key of the keyring; standard input may be. RequestError when it cannot be read,
    InvalidFiles when its content is not of the right form.
    """
    if source == STANDARD_INPUT:
        if stdin.isatty():
            raise RequestError(
                f"{place}: standard input is a terminal, which would show the secret",
                "pipe it in: gpg --decrypt FILE | chill-provision …",
            )
        data, name = stdin.read(GREATEST), "standard input"
    else:
        data, name = _content(Path(source), place), source
    if is_encrypted(data):
        with Keyring(fleet.path(fleet.settings.openpgp.home)) as keyring:
            data = keyring.decrypt(data, name)
    elif source != STANDARD_INPUT:
        raise RequestError(
            f"{place}: {source} is not encrypted by OpenPGP: a secret does not lie on a disk in clear",
            f"gpg --encrypt --armor --recipient YOUR-KEY {source}, and remove {source}; or use standard input (-)",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{place}: {name} is not UTF-8 text", "expected TOML: see docs/graph.md") from None
    return parse(text, name, today)


def is_encrypted(data: bytes) -> bool:
    """Whether this is an OpenPGP message: armored, or binary, whose first byte has its high bit set (RFC 9580, 4.2)."""
    return data.lstrip().startswith(ARMOR) or (bool(data) and data[0] & 0x80 != 0 and not _is_text(data))


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _content(path: Path, place: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(GREATEST)
    except OSError as error:
        raise RequestError(f"{place}: {path}: {error.strerror}", "name an OpenPGP-encrypted file, or -") from None
