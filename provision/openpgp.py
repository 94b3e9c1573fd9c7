"""OpenPGP through GnuPG: which key is fit, encrypt, sign, verify. The only module that imports gnupg.

A key is named by its fingerprint alone. An e-mail address or a short id may match several keys, and GnuPG
would choose one without a word. python-gnupg never raises and explains little: keys are therefore examined
before they are used, from the machine-readable listing (GnuPG 2.2, doc/DETAILS).
"""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import gnupg

from provision.errors import ChillError, RequestError

FINGERPRINT = re.compile(r"[0-9A-F]{40}")
# The longest path of a socket that gpg-agent 2.2 makes: one byte less than Linux would allow (unix(7)).
SOCKET_PATH_MAX = 106
SOCKET_NAME = "/S.gpg-agent.browser"
# The keyring's gpg.conf may add recipients (encrypt-to, group) or fetch keys: a letter takes nothing from it.
OPTIONS = ("--no-options", "--no-encrypt-to", "--no-auto-key-locate", "--no-auto-key-retrieve")
UNUSABLE = frozenset("eridn")

SIGNING_KEY = "chill.toml: openpgp.signing_key"

Purpose = Literal["encrypt", "sign"]
_CAPABILITY: Mapping[Purpose, str] = {"encrypt": "e", "sign": "s"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key found fit. `fingerprint` is the primary key's: 40 hex digits, upper case.

    `expires` is the last day (UTC) it can be used for what it was asked for, or None when it never expires.
    """

    fingerprint: str
    user_ids: tuple[str, ...]
    expires: date | None

    @property
    def name(self) -> str:
        """Whose key it is, as its first user id says."""
        return self.user_ids[0] if self.user_ids else self.fingerprint


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that holds. `fingerprint` is that of the signer's primary key, `made` when they say they signed."""

    fingerprint: str
    made: datetime


class Keyring:
    """A GnuPG home directory. RequestError when it, or GnuPG itself, is missing.

    A gpg-agent that signing had to start in it ends with this object, or at `close()`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        if not home.is_dir():
            raise RequestError(
                f"chill.toml: openpgp.home: there is no directory {home}",
                f"make it and put keys in: mkdir -m 700 {home}; gpg --homedir {home} --import FILE",
            )
        if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            raise RequestError(
                f"chill.toml: openpgp.home: {home} cannot be used by this user",
                "GnuPG reads and locks files in it",
            )
        self._agent_end: weakref.finalize[..., Any] | None = None
        try:
            # English messages in UTF-8, whatever the terminal's language: they are shown inside ours.
            self._gpg = gnupg.GPG(
                gnupghome=str(home),
                options=list(OPTIONS),
                encoding="utf-8",
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except (OSError, ValueError) as error:
            reason = "is not installed" if isinstance(error, OSError) else f"does not run: {error}"
            raise RequestError(f"GnuPG {reason}", "apt-get install gnupg") from None
        self._gpg.decode_errors = "replace"

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the gpg-agent this object started, if it started one."""
        if self._agent_end:
            self._agent_end()

    def fit_key(self, fingerprint: str, today: date, minimum_validity_days: int, place: str = "fingerprint") -> Key:
        """The key to encrypt to; a RequestError with `place` and reason when there is none or it is unfit."""
        return self._fit(fingerprint, today, minimum_validity_days, "encrypt", place)

    def fit_signing_key(self, fingerprint: str, today: date, place: str = SIGNING_KEY) -> Key:
        """The key to sign with, proven by a trial signature; else a RequestError with `place` and reason.

        The trial may ask for the key's passphrase, once: gpg-agent remembers it for the letter.
        """
        key = self._fit(fingerprint, today, 0, "sign", place)
        self._prepare_agent()
        trial = self._gpg.sign(b"", detach=True, extra_args=["--local-user", key.fingerprint])
        if not trial:
            raise RequestError(
                f"{place}: {key.fingerprint} cannot sign: {_reason(trial)}",
                f"try: gpg --homedir {self.home} --local-user {key.fingerprint} --clear-sign /dev/null",
            )
        return key

    def encrypt(self, data: bytes, recipients: Sequence[Key], sign_with: str | None = None) -> bytes:
        """Encrypt to these keys and no other, armored; signed inside by `sign_with` (a fingerprint) if given.

        ChillError when GnuPG refuses. Keys need no certification: who pinned a fingerprint vouches for it.
        """
        extra = ["--local-user", sign_with] if sign_with else []
        if sign_with:
            self._prepare_agent()
        result = self._gpg.encrypt(
            data,
            [key.fingerprint for key in recipients],
            sign=bool(sign_with),
            always_trust=True,
            armor=True,
            extra_args=extra,
        )
        if not result.ok:
            names = ", ".join(key.fingerprint for key in recipients)
            raise ChillError(
                f"GnuPG could not encrypt to {names}: {_reason(result)}",
                "nothing was written or sent; see the key with gpg -k",
            )
        return bytes(result.data)

    def decrypt(self, data: bytes, place: str) -> bytes:
        """What was encrypted to a key of this keyring. RequestError with `place` when it cannot be decrypted."""
        self._prepare_agent()
        result = self._gpg.decrypt(data)
        # A message that was only signed is "ok" too.
        if not result.ok or result.status != "decryption ok":
            raise RequestError(
                f"{place}: cannot be decrypted: {_reason(result)}",
                f"try: gpg --homedir {self.home} --decrypt {place}",
            )
        return bytes(result.data)

    def sign(self, data: bytes, key: Key) -> bytes:
        """A detached signature of `data`, armored, by a key of `fit_signing_key`. ChillError when GnuPG refuses."""
        self._prepare_agent()
        made = self._gpg.sign(data, detach=True, clearsign=False, extra_args=["--local-user", key.fingerprint])
        if not made:
            raise ChillError(f"GnuPG could not sign with {key.fingerprint}: {_reason(made)}", "nothing was written")
        return bytes(made.data)

    def verify(self, data: bytes, signature: bytes) -> Signature | str:
        """Whose the detached `signature` of `data` is; or, when it does not hold, why not.

        A key that has expired since still proves what was signed before; one that was revoked does not.
        """
        # As files: GnuPG stops reading its standard input when the signature is none.
        with tempfile.NamedTemporaryFile(prefix="chill-signed-") as stream:
            stream.write(data)
            stream.flush()
            found = self._gpg.verify_file(io.BytesIO(signature), data_filename=stream.name)
        expired = found.key_status == "signing key has expired"
        if found.pubkey_fingerprint and (found.valid or (expired and self._signed_in_time(found))):
            return Signature(found.pubkey_fingerprint, datetime.fromtimestamp(int(found.sig_timestamp), UTC))
        if found.status == "no public key":
            return f"the public key {found.fingerprint or found.key_id} of its signer is not in {self.home}"
        reasons = {
            "signature bad": "does not belong to what is there: that was changed after it was signed",
            "signature expected but not found": "is not a signature",
        }
        return reasons.get(str(found.status), f"does not hold: {found.key_status or found.status}")

    def _signed_in_time(self, found: Any) -> bool:
        """Whether a signature of a key that has expired was made before."""
        record = next(iter(self._gpg.list_keys(keys=[found.pubkey_fingerprint])), None)
        if record is None:
            return False
        ends = [part["expires"] for part in _parts(record) if part["expires"] and "s" in part["cap"]]
        made = datetime.fromtimestamp(int(found.sig_timestamp), UTC).date()
        return all(end is None or made <= end for end in map(_day, ends))

    def _fit(self, fingerprint: str, today: date, days: int, purpose: Purpose, place: str) -> Key:
        wanted = self._normal(fingerprint, place)
        record = next(iter(self._gpg.list_keys(keys=[wanted])), None)
        if record is None:
            raise RequestError(
                f"{place}: no key {wanted} in {self.home}",
                f"ask its owner for the public key, then: gpg --homedir {self.home} --import FILE",
            )
        if record["fingerprint"] != wanted:
            raise RequestError(
                f"{place}: {wanted} is a subkey",
                f"give the fingerprint of its primary key: {record['fingerprint']}",
            )
        fault = _fault(record, purpose, today, days)
        if fault:
            raise RequestError(
                f"{place}: the key {wanted} ({', '.join(record['uids'])}) {fault}",
                "import a renewed public key of its owner, or give another fingerprint; nothing was changed",
            )
        return Key(wanted, tuple(record["uids"]), _last_day(record, purpose))

    def _normal(self, text: str, place: str) -> str:
        compact = "".join(text.split()).upper()
        if FINGERPRINT.fullmatch(compact):
            return compact
        if "@" in text:
            fault = "is an e-mail address, which several keys may carry"
        elif re.fullmatch(r"(0X)?[0-9A-F]{8,39}", compact):
            fault = "is too short to name one key"
        else:
            fault = "is not the fingerprint of an OpenPGP key"
        raise RequestError(
            f"{place}: {text!r} {fault}; expected 40 hex digits",
            f"gpg --homedir {self.home} --fingerprint shows the fingerprints; compare it with its owner's",
        )

    def _prepare_agent(self) -> None:
        """GnuPG starts gpg-agent, which holds secret keys, and leaves it running: see that it will end."""
        # Of the sockets the agent makes, this has the longest name; it ends when one cannot be made.
        command = ["gpgconf", "--homedir", str(self.home), "--list-dirs", "agent-browser-socket"]
        longest = subprocess.run(command, capture_output=True, check=True).stdout.strip()
        if len(longest) > SOCKET_PATH_MAX:
            raise RequestError(
                f"chill.toml: openpgp.home: the path {self.home} is too long for GnuPG to sign with",
                f"it may have {SOCKET_PATH_MAX - len(SOCKET_NAME)} bytes, for gpg-agent's sockets: move it",
            )
        if self._agent_end is None and not _answers(longest.removesuffix(b".browser")):
            self._agent_end = weakref.finalize(self, _end_agent, self.home)


def _answers(path: bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def _end_agent(home: Path) -> None:
    if home.is_dir():
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], capture_output=True, check=False)


def _fault(record: Mapping[str, Any], purpose: Purpose, today: date, days: int) -> str | None:
    """Why a key cannot be used, or None when it can, for `days` days more at least."""
    capability = _CAPABILITY[purpose]
    faults = {"e": "has expired", "r": "was revoked by its owner", "d": "is disabled in this keyring"}
    if record["trust"] in faults or record["trust"] == "i":
        return faults.get(record["trust"], "is not valid (its self-signature is missing or broken)")
    if "D" in record["cap"]:
        return faults["d"]
    able = [part for part in _parts(record) if capability in part["cap"]]
    if not able:
        return f"cannot {purpose}: it has no subkey for that"
    if capability.upper() not in record["cap"]:
        return f"cannot {purpose} any more: its subkeys for that expired or were revoked"
    last = _last_day(record, purpose)
    if last and last < today:
        return f"has expired on {last}"
    if last and last < today + timedelta(days=days):
        return f"expires on {last}, in less than {days} days (chill.toml: openpgp.minimum_validity_days)"
    return None


def _parts(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The primary key and its subkeys. In `cap`, lower case is a part's own, upper case the whole key's."""
    yield record
    yield from record.get("subkey_info", {}).values()


def _last_day(record: Mapping[str, Any], purpose: Purpose) -> date | None:
    """The last day some part can still be used for `purpose`: never after the primary key's own end."""
    able = (part for part in _parts(record) if _CAPABILITY[purpose] in part["cap"])
    ends = [_day(part["expires"]) for part in able if part["trust"] not in UNUSABLE]
    finite = [end for end in ends if end]
    own = _day(record["expires"])
    latest = max(finite) if finite and len(finite) == len(ends) else None
    return min((end for end in (own, latest) if end), default=None)


def _day(text: str) -> date | None:
    """A time of the listing: seconds since 1970, or ISO 8601 basic where it holds a T (DETAILS, field 6)."""
    if not text:
        return None
    if "T" in text:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).date()
    return datetime.fromtimestamp(int(text), UTC).date()


def _reason(result: Any) -> str:
    """What GnuPG said, without its status lines: the last message, else the status."""
    said = [line for line in str(result.stderr).splitlines() if line.startswith("gpg: ")]
    return said[-1].removeprefix("gpg: ") if said else str(result.status or "no reason given")
