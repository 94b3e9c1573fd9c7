"""A whole life of an instance on a lab server, with its failures, and all that the commands said on the way."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from provision.names import environment_names
from provision.settings import Graph
from tests.demo.keyring import Keyring
from tests.demo.mail import Mailbox
from tests.fixtures.token_endpoint import Directory, token_endpoint
from tests.lab import Machine
from tests.lab.fleet import DOMAIN
from tests.lab.playbooks import PLAYBOOKS, PROJECT

SERVER = "srv1.example.net"
PRODUCTION, TEST = environment_names("acme", "production", DOMAIN), environment_names("acme", "test", DOMAIN)
PEOPLE = {"Camille Dubois": "camille@example.org", "Dominique Peeters": "dominique@example.org"}
TENANT, CLIENT = "a3b1c2d4-0000-4000-8000-1234567890ab", "5f6e7d8c-0000-4000-8000-ba0987654321"
# New in each run: the search would otherwise find them here.
_NEW = token_hex(6)
GRAPH_FIRST, GRAPH_SECOND = f'gR8Q~{_NEW}%"one\\two&_x', f"gR8Q~{_NEW[::-1]}+two/three=_y"
SMTP_PASSWORD = f"smtp-{_NEW}/ww+2q:t"
SMS_SECRET = f"sms-Wq7p{_NEW}"
# chill-provision, which tells the passwords that it makes for people, to a pipe: their only other place is a letter.
TELLING = """
import os, sys
import provision.secrets as secrets
pipe, made = int(sys.argv.pop(1)), secrets.password
def password(random=None):
    secret = made(random)
    os.write(pipe, f"{secret.reveal()}\\n".encode())
    return secret
secrets.password = password
from provision.cli import main
main(prog_name="chill-provision")
"""
# What an application may do when it fails: tell all that it knows. The first while the database is brought up to date,
# the second when a password is set.
FIRST_STATEMENT = "declare(strict_types=1);\n"
TALKATIVE = """\
if (in_array('%(command)s', $argv)) {
    $said = file_get_contents(dirname(__DIR__).'/.env.local');
    $said .= '%(command)s' === 'chill:user:set_password' ? stream_get_contents(STDIN) : '';
    fwrite(STDERR, $said);
    echo $said;
    exit(3);
}
"""
TASK = re.compile(r"\[\d+/\d+\] (.*)")


@dataclass
class World:
    """The machines, the fleet, and all that the commands said."""

    machine: Machine
    began: float
    fleet: Path
    keyring: Keyring
    fingerprints: list[str]
    mailbox: SecretMailbox
    environment: dict[str, str]
    said: list[bytes] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)

    def run(self, *arguments: str, status: int = 0, given: str = "", kill_at: str = "") -> str:
        """Run chill-provision; what it said, both streams. `kill_at`: the task at whose beginning it is killed."""
        reading, writing = os.pipe()
        command = [sys.executable, "-c", TELLING, str(writing), *arguments, "--fleet", str(self.fleet)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            env=self.environment,
        ) as process:
            os.close(writing)
            assert process.stdin
            assert process.stdout
            process.stdin.write(given.encode())
            process.stdin.close()
            lines = []
            for line in process.stdout:
                lines.append(line)
                task = TASK.match(line.decode())
                if kill_at and task and task[1] == kill_at:
                    process.kill()
        with os.fdopen(reading) as made:
            self.passwords += made.read().split()
        said = b"".join(lines)
        self.said.append(said)
        assert process.returncode == status, f"{arguments[0]}: {process.returncode}: {said.decode()}"
        return said.decode()

    def play(self, *arguments: str) -> str:
        """Run ansible-playbook, as an adminsys without the toolkit's commands."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(PLAYBOOKS / "environment.yml")]
        done = subprocess.run(
            [*command, "-i", str(self.fleet / "inventory"), *arguments],
            env={**self.environment, "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.said.append(done.stdout)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    def on_server(self, command: str) -> str:
        return str(self.machine.ssh(command).stdout)

    def release(self, version: str, archive: bytes) -> None:
        """Make this the fleet's release."""
        path = self.fleet / f"releases/{version}.tar.gz"
        path.write_bytes(archive)
        settings = self.fleet / "chill.toml"
        values = {"version": version, "archive": str(path), "sha256": sha256(archive).hexdigest()}
        text = settings.read_text()
        for key, value in values.items():
            text = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.MULTILINE)
        settings.write_text(text)


class SecretMailbox(Mailbox):
    """A mail server that wants a password, and that refuses letters while it is `closed`."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.closed = False
        self._controller = Controller(
            self,
            hostname=host,
            port=self.port,
            ready_timeout=30,
            authenticator=self._known,
            auth_required=True,
            auth_require_tls=False,
        )

    def _known(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object
    ) -> AuthResult:
        right = isinstance(given, LoginPassword) and given.password == SMTP_PASSWORD.encode()
        return AuthResult(success=right)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return "451 closed for a while" if self.closed else await super().handle_DATA(server, session, envelope)


def talkative(archive: bytes, command: str) -> bytes:
    """The release, made to tell all when `command` is run."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as old,
        tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as new,
    ):
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            if member.name.endswith("/bin/console"):
                before, first, after = content.decode().partition(FIRST_STATEMENT)
                content = f"{before}{first}{TALKATIVE % {'command': command}}{after}".encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def credentials(secret: str) -> str:
    values = {"tenant": TENANT, "client_id": CLIENT, "client_secret": secret}
    day = datetime.now(UTC).date() + timedelta(days=200)
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) + f"expires = {day}\n"


@contextmanager
def tenant() -> Iterator[str]:
    """The address of Microsoft's stand-in, which knows both secrets."""
    with token_endpoint(Directory(TENANT, CLIENT, [GRAPH_FIRST, GRAPH_SECOND], list(Graph().permissions))) as served:
        yield served.address


def live(world: World) -> None:
    """An instance's life: failures of every kind, repairs, new passwords, drift, a pause, a night's collection."""
    create = ["create", "acme", "--yes"]
    facts = ["--client", "ASBL Acme", "--server", SERVER, "--starts", "2026-03-01", "--tariff", "standard"]
    name, email = next(iter(PEOPLE.items()))
    people = ["--responsible-name", name, "--responsible-email", email, "--fingerprint", world.fingerprints[0]]
    recipients = [word for fingerprint in world.fingerprints for word in ("--to", fingerprint)]
    good = next((world.fleet / "releases").glob("*.tar.gz")).read_bytes()

    world.run("server", "prepare", SERVER)
    world.release("0.9.1", talkative(good, "doctrine:migrations:up-to-date"))
    world.run(*create, *facts, *people, "--graph", "-", given=credentials(GRAPH_FIRST), status=1)
    world.release("0.9.2", talkative(good, "chill:user:set_password"))
    world.run(*create, status=1)
    world.release("1.0.0", good)
    world.mailbox.closed = True
    world.run(*create, "--graph", "-", given=credentials(GRAPH_FIRST), status=3)
    world.mailbox.closed = False
    world.run(*create)
    world.run("credentials", "rotate", "acme", "--yes", *recipients)
    world.run("credentials", "rotate", "acme", "--yes", kill_at="Set the first passwords", status=-9)
    world.mailbox.closed = True
    world.run("credentials", "rotate", "acme", "--yes", status=3)
    sealed = world.fleet.parent / "graph.toml.asc"
    sealed.write_bytes(
        subprocess.run(
            [
                *("gpg", "--homedir", str(world.keyring.home), "--batch", "--armor", "--encrypt"),
                *("--trust-model", "always", "--recipient", world.fingerprints[0]),
            ],
            input=credentials(GRAPH_SECOND).encode(),
            capture_output=True,
            check=True,
        ).stdout
    )
    world.run("graph", "set", "acme", str(sealed), "--yes")
    env_file = f"{PRODUCTION.home}/shared/.env.local"
    world.on_server(f"sed -i /APP_ENV/d {env_file}; chmod 0644 {env_file}; rm {TEST.home}/shared/jwt/public.pem")
    world.run("apply", "--check", status=3)
    world.play("--check", "--diff", "-vvv")
    world.run("apply", "acme")
    world.run("suspend", "acme", "--yes")
    world.run("resume", "acme", "--yes")
    world.run("show", "acme")
    world.on_server("cd /; runuser -u chill-meter -- chill-meter collect --since $(date +%F) --until $(date +%F)")
