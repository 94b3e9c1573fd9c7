"""OpenPGP keys for tests, made by GnuPG itself in directories of their own: fit ones and others."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LONG_AGO = "20200101T120000"


@dataclass(frozen=True)
class Home:
    """A GnuPG home directory, with a path short enough for gpg-agent's sockets."""

    path: Path

    def gpg(self, *arguments: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = [
            "gpg",
            "--homedir",
            str(self.path),
            "--batch",
            "--yes",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
        ]
        return subprocess.run([*command, *arguments], input=data, capture_output=True, check=check)

    def fingerprints(self) -> list[str]:
        """Of the primary keys, in the order of the keyring."""
        lines = self.gpg("--list-keys", "--with-colons").stdout.decode().splitlines()
        pairs = pairwise(lines)
        return [second.split(":")[9] for first, second in pairs if first.startswith("pub:")]

    def subkeys(self, fingerprint: str) -> list[str]:
        """Fingerprints of a key's subkeys."""
        lines = self.gpg("--list-keys", "--with-colons", fingerprint).stdout.decode().splitlines()
        pairs = pairwise(lines)
        return [second.split(":")[9] for first, second in pairs if first.startswith("sub:")]

    def make(self, user_id: str, *spec: str, when: str = "", passphrase: str = "") -> str:
        """A new key; its fingerprint. `spec` is algorithm, use and expiry of `--quick-generate-key`."""
        before = set(self.fingerprints())
        clock = ["--faked-system-time", when] if when else []
        self.gpg(
            *clock,
            "--passphrase",
            passphrase,
            "--quick-generate-key",
            user_id,
            *(spec or ("future-default",)),
        )
        (fingerprint,) = set(self.fingerprints()) - before
        return fingerprint

    def revoke(self, fingerprint: str) -> None:
        """As its owner does: import the revocation certificate (a colon in it prevents accidents)."""
        certificate = (self.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        self.gpg("--import", data=certificate.replace(":-----BEGIN", "-----BEGIN").encode())

    def disable(self, fingerprint: str) -> None:
        self.gpg("--command-fd", "0", "--edit-key", fingerprint, data=b"disable\nsave\n")

    def give_to(self, other: Home, *fingerprints: str) -> None:
        """The public keys, to another person's keyring."""
        other.gpg("--import", data=self.gpg("--export", *fingerprints).stdout)

    def recipients(self, encrypted: bytes) -> list[str]:
        """The long key ids a message is encrypted to, as the message itself says."""
        packets = self.gpg("--list-only", "--list-packets", data=encrypted, check=False).stdout.decode()
        return [line.split("keyid ")[1] for line in packets.splitlines() if line.startswith(":pubkey enc packet")]

    def agent_runs(self) -> bool:
        command = ["gpg-connect-agent", "--homedir", str(self.path), "--no-autostart", "GETINFO pid", "/bye"]
        return b"OK" in subprocess.run(command, capture_output=True, check=False).stdout

    def end_agent(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.path), "--kill", "all"], capture_output=True, check=False)


@contextmanager
def home() -> Iterator[Home]:
    """An empty GnuPG home directory; its agent and its files are gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    made = Home(path)
    try:
        yield made
    finally:
        made.end_agent()
        shutil.rmtree(path, ignore_errors=True)
