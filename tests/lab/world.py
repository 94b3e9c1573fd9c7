"""What a creation needs around it in the lab: a prepared server, a fleet, a key, and the mailbox of its owner."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.demo.keyring import Keyring
from tests.demo.mail import Mailbox
from tests.lab import Machine
from tests.lab.fleet import TLS, make_fleet
from tests.lab.network import HOST

SERVER = "srv1.example.net"
# Of a test, for what happens on a machine by itself, in seconds.
PATIENCE = 180.0
PEOPLE = ["--responsible-name", "Camille Dubois", "--responsible-email", "camille@example.org"]


def until(question: Callable[[], bool], what: str) -> None:
    """Wait for what comes by itself, however busy this machine is; AssertionError when it does not."""
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.5)


@dataclass(frozen=True)
class World:
    """A prepared server, a fleet, and the mailbox of the responsible."""

    machine: Machine
    fleet: Path
    mailbox: Mailbox
    keyring: Keyring
    fingerprint: str

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "provision.cli", *arguments, "--fleet", str(self.fleet)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)

    def create(self, slug: str) -> list[str]:
        contract = ["--starts", "2026-03-01", "--tariff", "standard", "--fingerprint", self.fingerprint]
        known = (self.fleet / f"inventory/instances/{slug}.yml").exists()
        facts = [] if known else ["--client", "ASBL Acme", "--server", SERVER, *PEOPLE, *contract]
        return self.command("create", slug, *facts, "--yes")

    def letters(self, slug: str) -> int:
        """How many letters with the passwords of an instance arrived."""
        return sum(
            f"{slug}.chill.pro" in message["Subject"] for message in self.mailbox.received("camille@example.org")
        )

    def assert_made(self, slug: str) -> None:
        """It is ready and verified, its letter was sent once, and nothing is left to do."""
        assert json.loads(self.run("show", slug, "--json").stdout)["state"] == "ready"
        assert self.letters(slug) == 1
        again = self.run("create", slug, "--yes")
        assert again.stdout.count("changed=0 failed=0") == 2, again.stdout + again.stderr
        assert self.letters(slug) == 1
        assert json.loads(self.run("lock", "status", "--json").stdout) == []


@contextmanager
def prepared_world(directory: Path, machine: Machine, ssh_config: Path, tls: str = TLS) -> Iterator[World]:
    """A fleet in `directory` whose server is `machine`, prepared; `tls` as in `make_fleet`."""
    keyring = Keyring(directory)
    with Mailbox(HOST) as mailbox:
        fleet = make_fleet(
            directory / "fleet",
            {SERVER: machine.address},
            ssh_config,
            gnupg_home=keyring.home,
            mail=(HOST, mailbox.port),
            tls=tls,
        )
        made = World(machine, fleet, mailbox, keyring, keyring.make_key("Camille Dubois", "camille@example.org"))
        prepared = made.run("server", "prepare", SERVER)
        assert prepared.returncode == 0, prepared.stderr
        yield made
    keyring.close()
