"""A throw-away OpenPGP key for a pretended responsible, made by the real GnuPG."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# A Unix socket's path has 107 bytes at most, and an agent's name below its home some 20.
LONGEST_HOME = 80


class Keyring:
    """A GnuPG home of its own, below `directory` unless that is too deep for an agent's socket. Removed on `close`."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "gnupg"
        if len(os.fsencode(self.home)) > LONGEST_HOME:
            self.home = Path(tempfile.mkdtemp(prefix="chill-key-"))
        self.home.mkdir(mode=0o700, exist_ok=True)

    def make_key(self, name: str, email: str) -> str:
        """Make a key without passphrase, valid for a year; its fingerprint."""
        self._gpg("--passphrase", "", "--quick-generate-key", f"{name} <{email}>", "future-default", "default", "1y")
        listing = self._gpg("--with-colons", "--list-keys", email).decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def decrypt(self, armored: bytes) -> bytes:
        """What only the holder of the key can read; CalledProcessError when it is for somebody else."""
        return self._gpg("--decrypt", stdin=armored)

    def close(self) -> None:
        """Stop the agent that GnuPG started for this home, and remove the home."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def _gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True).stdout
