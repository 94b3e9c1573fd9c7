"""A real OpenSSH server on the loopback, as whoever runs the tests, with a pinned host key and a key to log in with."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = "/usr/sbin/sshd"
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
ForceCommand {home}/serve
"""
CLIENT = """\
Host *
  Port {port}
  IdentityFile {home}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {home}/known_hosts
  StrictHostKeyChecking yes
"""
OBEY = '#!/bin/sh\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n'


@dataclass(frozen=True)
class SshServer:
    """A running server; `client_config` is the OpenSSH configuration that reaches it."""

    home: Path
    user: str
    client_config: str

    def behave(self, script: str) -> None:
        """Run this shell script from now on for every command, which is in $SSH_ORIGINAL_COMMAND."""
        beside = self.home / "serve.new"
        beside.write_text(script)
        beside.chmod(0o755)
        beside.rename(self.home / "serve")


@contextmanager
def ssh_server(home: Path) -> Iterator[SshServer]:
    """A server with its keys in `home`, until the block ends."""
    for key in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / key)]
        subprocess.run(command, check=True)
    port = free_port()
    kind, public = (home / "host_key.pub").read_text().split()[:2]
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {public}\n")
    (home / "sshd_config").write_text(CONFIG.format(port=port, home=home))
    server = SshServer(home, getpass.getuser(), CLIENT.format(port=port, home=home))
    server.behave(OBEY)
    if os.geteuid() == 0:
        # Where Debian's sshd, as root, shuts its unprivileged half in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (home / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(home / "sshd_config")], stderr=log)
    try:
        _await_answer(port, process, home / "sshd.log")
        yield server
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"sshd does not answer: {log.read_text()}")
