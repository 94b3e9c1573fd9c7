"""Who a token of Collabora stands for: JSON Web Tokens (RFC 7519), read, and proven where a key is given.

A token is a live credential: it is looked at in memory, and kept nowhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metering.server.errors import SourceError

_PEM: Final = b"-----BEGIN PUBLIC KEY-----"
_DIGESTS: Final = {"256": "sha256", "384": "sha384", "512": "sha512"}
# Longer ones are not tokens.
_LONGEST: Final = 16_384
_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Key:
    """What proves a token: a public key (RSA, a file of PEM), or a shared secret. Which of both it is decides which
    signatures a token may have.
    """

    path: Path
    secret: bytes = field(default=b"", repr=False)

    @property
    def public(self) -> bool:
        return not self.secret


def load_key(path: Path) -> Key:
    """The key in a file. SourceError when it cannot be used."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123 (a descriptor)
            content, mode = stream.read(), os.fstat(stream.fileno()).st_mode
    except OSError as error:
        raise SourceError(f"wopi_key: {path} cannot be read: {error.strerror}") from None
    if _PEM in content:
        return Key(path)
    if b"-----BEGIN" in content:
        hint = f"openssl rsa -in {path} -pubout writes the public one"
        raise SourceError(f"wopi_key: {path} is not a public key: {hint}")
    if mode & 0o077:
        raise SourceError(f"wopi_key: {path} is a secret, and can be read by others: chmod 600 {path}")
    secret = content.strip()
    if not secret:
        raise SourceError(f"wopi_key: {path} is empty")
    return Key(path, secret)


class Tokens:
    """Reads tokens; remembers which signatures were good, because a token comes many times. `refused` is how often a
    key did not bear one out.
    """

    def __init__(self, claims: Sequence[str], key: Key | None) -> None:
        self._claims = claims
        self._key = key
        self._proven: dict[bytes, bool] = {}
        self.refused = 0

    def person(self, token: str, minute: int) -> str:
        """The name that a token holds which was used at that time (minutes since 1970, UTC); empty when it holds none,
        or when there is a key and the token is forged, expired or not yet valid. SourceError when the signature
        cannot be looked at.
        """
        parts = token.split(".")
        if len(token) > _LONGEST or len(parts) != 3:
            return ""
        header, claims = _document(parts[0]), _document(parts[1])
        if header is None or claims is None:
            return ""
        if self._key and not (_in_time(claims, minute) and self._is_proven(header, token, self._key)):
            self.refused += 1
            return ""
        for claim in self._claims:
            name = claims.get(claim)
            if isinstance(name, str | int) and not isinstance(name, bool) and str(name).strip():
                return str(name).strip()
        return ""

    def _is_proven(self, header: dict[str, Any], token: str, key: Key) -> bool:
        mark = hashlib.sha256(token.encode()).digest()
        known = self._proven.get(mark)
        if known is None:
            if len(self._proven) >= _REMEMBERED:
                self._proven.clear()
            known = self._proven[mark] = _verify(str(header.get("alg")), token, key)
        return known


def _verify(algorithm: str, token: str, key: Key) -> bool:
    signed, _, signature_text = token.rpartition(".")
    digest, signature = _DIGESTS.get(algorithm[2:]), _bytes(signature_text)
    if digest is None or signature is None:
        return False
    if algorithm.startswith("HS") and not key.public:
        return hmac.compare_digest(hmac.digest(key.secret, signed.encode(), digest), signature)
    return algorithm.startswith("RS") and key.public and _verify_rsa(digest, signed.encode(), signature, key.path)


def _verify_rsa(digest: str, signed: bytes, signature: bytes, public_key: Path) -> bool:
    """By openssl, which every server has; what it is given goes through pipes."""
    # Imported here, because a run that finds nothing new must start at once.
    import subprocess

    reading, writing = os.pipe()
    try:
        # A signature is shorter than what a pipe holds.
        os.write(writing, signature[:4096])
        os.close(writing)
        command = ["openssl", "dgst", f"-{digest}", "-verify", str(public_key), "-signature", f"/dev/fd/{reading}"]
        done = subprocess.run(command, input=signed, capture_output=True, pass_fds=[reading], check=False)
    except OSError as error:
        raise SourceError(f"wopi_key: openssl cannot be run: {error.strerror}: apt-get install openssl") from None
    finally:
        os.close(reading)
    if done.returncode == 0:
        return True
    if b"Verification" in done.stdout + done.stderr:
        return False
    raise SourceError(f"wopi_key: {public_key} is not a public key that openssl reads")


def _in_time(claims: dict[str, Any], minute: int) -> bool:
    """Whether a token was valid at some instant of the minute."""
    begins, ends = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(begins, int | float) or not isinstance(ends, int | float):
        return False
    return begins < (minute + 1) * 60 and ends > minute * 60


def _document(part: str) -> dict[str, Any] | None:
    content = _bytes(part)
    try:
        document = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _bytes(part: str) -> bytes | None:
    """Base64url without padding (RFC 7515, appendix C)."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
