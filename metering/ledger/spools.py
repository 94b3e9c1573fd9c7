"""The spools of servers, seen from the control machine: listed with checksums, copied, pruned. Through ssh and rsync.

What a server answers is judged, never trusted: names and messages are only data, and nothing is taken that was not
asked for by name.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provision.errors import ChillError
from provision.fleet import Fleet, Server
from provision.ssh import ssh_options, ssh_user

SPOOL = "/var/spool/chill-meter"
SILENCE_SECONDS = 60
# Longer than any sound spool needs to be read: a disk that hangs must not hang the others.
LONGEST_SECONDS = 900
# The exit status of ssh itself, when the connection failed or broke.
_SSH_FAILED = 255
_KEEP_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
_RECORD = re.compile(rb"([0-9a-f]{64}) [ *]\./(.+)", re.DOTALL)
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Listing:
    """What a spool holds: SHA-256 (hex) by file name. `failure` says why it could not be read to its end, or is empty.

    Bytes of a name that are not UTF-8 stand in it as surrogates.
    """

    digests: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


def list_command(fleet: Fleet, server: Server) -> list[str]:
    """The command that prints the checksum and name of every visible CSV file of a server's spool, NUL after each."""
    found = "find . -maxdepth 1 -type f -name '*.csv' ! -name '.*' -print0"
    return _remote(fleet, server, f"{found} | LC_ALL=C xargs -0 -r sha256sum --zero --")


def remove_command(fleet: Fleet, server: Server) -> list[str]:
    """The command that removes from a server's spool the files whose names it reads, NUL after each."""
    return _remote(fleet, server, "xargs -0 -r rm -f --")


def _remote(fleet: Fleet, server: Server, script: str) -> list[str]:
    # Whatever shell the user has there, the script is sh's.
    script = f"cd -- {shlex.quote(spool_of(server))} && {script}"
    return [*ssh_command(fleet, server), server.address, f"sh -c {shlex.quote(script)}"]


def copy_command(fleet: Fleet, server: Server, staging: Path) -> list[str]:
    """The command that copies the files whose names it reads, NUL after each, from a server's spool into `staging`.

    What an earlier copy left half-done in `staging` is gone on with: rsync sends what is missing of it.
    """
    host = f"[{server.address}]" if ":" in server.address else server.address
    return [
        "rsync",
        "--files-from=-",
        "--from0",
        "--times",
        # Same name, size and time is not yet the same content.
        "--checksum",
        # Under its own name at once, so that any next copy goes on from it; its checksum tells when it is whole.
        "--inplace",
        "--protect-args",
        f"--timeout={SILENCE_SECONDS}",
        f"--rsh={shlex.join(ssh_command(fleet, server))}",
        f"{ssh_user(server)}@{host}:{spool_of(server)}/",
        f"{staging}/",
    ]


def ssh_command(fleet: Fleet, server: Server) -> list[str]:
    """The remote shell: it never asks, neither for a password nor about a host key, and notices a dead line."""
    return ["ssh", *ssh_options(fleet, server), *_KEEP_ALIVE]


def spool_of(server: Server) -> str:
    """The server variable `meter_spool`, or /var/spool/chill-meter."""
    return str(server.variables.get("meter_spool", SPOOL)).rstrip("/") or "/"


def list_spool(command: Sequence[str]) -> Listing:
    """Run `list_command`."""
    status, output, failure = _run(command, b"")
    digests: dict[str, str] = {}
    *records, rest = output.split(b"\0")
    for record in records:
        found = _RECORD.fullmatch(record)
        if not found:
            return Listing({}, "its spool could not be read: it answers other than with a list of files")
        digests[found[2].decode("utf-8", "surrogateescape")] = found[1].decode("ascii")
    if rest and not failure:
        failure = "its answer broke off" if digests else "it answers other than with a list of files"
    return Listing(digests, f"{_what_failed(status)}: {failure}" if failure else "")


def copy_files(command: Sequence[str], names: Iterable[str]) -> str:
    """Run `copy_command` for these names; empty when it was done, else why not."""
    _, _, failure = _run(command, _joined(names))
    return f"the transfer broke off: {failure}" if failure else ""


def remove_files(command: Sequence[str], names: Iterable[str]) -> str:
    """Run `remove_command` for these names; empty when it was done, else why not."""
    status, _, failure = _run(command, _joined(f"./{name}" for name in names))
    return f"{_what_failed(status)}: {failure}" if failure else ""


def _joined(names: Iterable[str]) -> bytes:
    return b"".join(name.encode() + b"\0" for name in names)


def _what_failed(status: int) -> str:
    return "did not answer" if status == _SSH_FAILED else "its spool could not be read"


def _run(command: Sequence[str], given: bytes) -> tuple[int, bytes, str]:
    """Exit status, output, and what it complained of: empty when the status is 0."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=LONGEST_SECONDS)
    except FileNotFoundError:
        raise ChillError(f"{command[0]} is not installed here", "apt install rsync openssh-client") from None
    except subprocess.TimeoutExpired:
        return _SSH_FAILED, b"", f"not done within {LONGEST_SECONDS // 60} minutes"
    if done.returncode == 0:
        return 0, done.stdout, ""
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    # ssh explains itself first and rsync then complains of the closed connection.
    reason = printable(lines[0].strip()) if lines else f"{command[0]} ended with status {done.returncode}"
    return done.returncode, done.stdout, reason


def printable(text: str) -> str:
    """What a server wrote, without what could drive a terminal, and not without end."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:_SHOWN])
    return f"{shown}…" if len(text) > _SHOWN else shown
