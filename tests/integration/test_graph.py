"""Credentials of Microsoft Graph, from the customer's file to the env file on the server.

The task that writes the env file is the role's own, with a real Redis; GnuPG and the mail server are real. The token
endpoint is stood in for: tests/fixtures/token_endpoint.py says of what.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from click.testing import CliRunner, Result

from provision.cli import main
from provision.letter import printed_fingerprint
from provision.settings import Graph
from provision.verify import CheckResult
from tests.fixtures.token_endpoint import Directory, token_endpoint
from tests.integration.keys import Home, home
from tests.integration.test_create import DOMAINS, OPTIONS, Mailbox
from tests.unit.provision.fleets import make_fleet, tree

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
ROLE = PLAYBOOKS / "roles/environment"
TENANT, CLIENT = "a3b1c2d4-0000-4000-8000-1234567890ab", "5f6e7d8c-0000-4000-8000-ba0987654321"
SECRET, SECOND = "Zq8~first.one-AND_%APP_SECRET%", "Zq8~second.one-AND_more"
EXPIRES = (datetime.now(UTC) + timedelta(days=30)).date()
NAMES = ("OAUTH_AZURE_CLIENT_ID", "OAUTH_AZURE_CLIENT_SECRET", "OAUTH_AZURE_CLIENT_TENANT")


def document(secret: str = SECRET) -> str:
    return f'tenant = "{TENANT}"\nclient_id = "{CLIENT}"\nclient_secret = "{secret}"\nexpires = {EXPIRES}\n'


@pytest.fixture(scope="module")
def keys() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def fingerprint(keys: Home) -> str:
    return keys.make("Camille Dubois <camille@example.org>", "future-default", "default", "1y")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a Redis server with its socket, access list, and the administrator's password."""
    place = tmp_path_factory.mktemp("redis")
    (place / "admin").write_text("administrator\n")
    (place / "users.acl").write_text("user default off\nuser chill-admin on >administrator ~* &* +@all\n")
    socket_path = place / "redis.sock"
    words = ["--port", "0", "--unixsocket", socket_path, "--aclfile", place / "users.acl", "--save", "", "--dir", place]
    server = subprocess.Popen(["redis-server", *map(str, words)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(str(socket_path)) != 0:
                assert time.monotonic() < deadline, "Redis does not answer"
                time.sleep(0.02)
        yield place
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


@pytest.fixture
def directory() -> Iterator[Directory]:
    with token_endpoint(Directory(TENANT, CLIENT, [SECRET, SECOND], list(Graph().permissions))) as served:
        yield served


def playbook(place: Path, redis: Path) -> str:
    """A playbook of the role's own task that writes the env file, in the directory `place/<host>`."""
    task = yaml.safe_load((ROLE / "tasks/files.yml").read_text())[-1]
    task["chill_secrets"] |= {
        "redis_socket": str(redis / "redis.sock"),
        "redis_admin": str(redis / "admin"),
        "redis_acl": str(redis / "users.acl"),
    }
    role = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    variables = {
        "names": {"home": f"{place}/{{{{ inventory_hostname }}}}", "user": "root"},
        "environment_kind": "{{ 'production' if 'production' in group_names else 'test' }}",
        "environment_pending": f"{place}/pending",
        "environment_secrets": role["environment_secrets"],
        "environment_provided": role["environment_provided"],
        "environment_variables_of_all": {"APP_ENV": "prod", "REDIS_URL": "redis://%REDIS_PASSWORD%@127.0.0.1"},
        "environment_variables": {},
    }
    made = {
        "name": "Make the directories",
        "ansible.builtin.file": {"path": "{{ names.home }}/shared/jwt", "state": "directory", "mode": "0700"},
    }
    play = {
        "name": "Environments",
        "hosts": "production:test",
        "gather_facts": False,
        # Both environments are one Unix user's here, and so one user of Redis.
        "serial": 1,
        "vars": variables,
        "tasks": [made, task],
    }
    return yaml.safe_dump([play], sort_keys=False)


class World:
    """A fleet whose only server is this machine, with all that is around it."""

    def __init__(self, tmp: Path, keys: Home, fingerprint: str, box: tuple[Mailbox, int], redis: Path) -> None:
        self.fleet, self.place, self.playbooks = tmp / "fleet", tmp / "place", tmp / "playbooks"
        make_fleet(self.fleet, keyring=str(keys.path))
        self.place.mkdir()
        self.playbooks.mkdir()
        shutil.copytree(PLAYBOOKS / "library", self.playbooks / "library")
        (self.playbooks / "environment.yml").write_text(playbook(self.place, redis))
        self.keys, self.fingerprint, self.mailbox, self.tmp = keys, fingerprint, box[0], tmp
        settings = self.fleet / "chill.toml"
        settings.write_text(settings.read_text().replace("[mail]", f'[mail]\nhost = "127.0.0.1"\nport = {box[1]}'))
        (self.fleet / "inventory/servers.yml").write_text(
            "servers: {hosts: {srv1.example.net: {ansible_connection: local}}}\n"
        )
        (self.fleet / "inventory/group_vars").mkdir()
        variables = f"ansible_connection: local\nansible_python_interpreter: {sys.executable}\n"
        (self.fleet / "inventory/group_vars/all.yml").write_text(variables)

    def run(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, [*arguments, "--fleet", str(self.fleet)], input=stdin)

    def create(self, *more: str, stdin: str = "") -> Result:
        options = [option.strip() for option in OPTIONS.split(",")]
        return self.run("create", "acme", *options, "--fingerprint", self.fingerprint, *more, stdin=stdin)

    def sealed(self, text: str, name: str = "graph.toml.asc", *, armored: bool = True) -> str:
        """A file with `text`, encrypted to the key of the keyring."""
        path = self.tmp / name
        form = ["--armor"] if armored else []
        words = ["--trust-model", "always", *form, "--output", str(path), "--recipient", self.fingerprint]
        self.keys.gpg(*words, "--encrypt", data=text.encode())
        return str(path)

    def environment(self, domain: str) -> dict[str, str]:
        """The env file of an environment."""
        lines = (self.place / domain / "shared/.env.local").read_text().splitlines()[1:]
        return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}

    def graph(self, domain: str) -> list[str | None]:
        found = self.environment(domain)
        return [found.get(name) for name in NAMES]

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.fleet / "journal/acme.jsonl").read_text().splitlines()]


@pytest.fixture
def world(
    tmp_path: Path,
    keys: Home,
    fingerprint: str,
    mailbox: tuple[Mailbox, int],
    redis: Path,
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    made = World(tmp_path, keys, fingerprint, mailbox, redis)
    with (made.fleet / "chill.toml").open("a") as settings:
        settings.write(f'\n[graph]\nauthority = "{directory.address}"\n')
    monkeypatch.setattr("provision.locks.DIRECTORY", str(tmp_path / "locks"))
    for module in ("create", "apply", "graph_set"):
        monkeypatch.setattr(f"provision.{module}.playbooks_directory", lambda: made.playbooks)
    checks = [CheckResult(domain, "answers", True, "") for domain in DOMAINS]
    monkeypatch.setattr("provision.verify.run", lambda fleet, instance, report: checks)
    return made


def assert_nowhere(secret: str, world: World, *results: Result) -> None:
    """Not in the fleet with its journal and logs, not on the terminal."""
    written = b"".join(tree(world.fleet).values()).decode(errors="replace")
    assert secret not in written + "".join(result.output for result in results)


def test_production_gets_what_the_encrypted_file_holds_and_keeps_it(world: World) -> None:
    created = world.create("--graph", world.sealed(document()))

    assert created.exit_code == 0, created.output
    assert world.graph(DOMAINS[0]) == [CLIENT, SECRET, TENANT]
    assert world.graph(DOMAINS[1]) == [None, None, None]
    first = world.environment(DOMAINS[0])

    applied = world.run("apply", "acme", "--json")

    assert applied.exit_code == 0, applied.output
    assert world.environment(DOMAINS[0]) == first
    events = [(entry["event"], entry.get("expires")) for entry in world.journal()]
    assert events[:3] == [("started", None), ("graph_set", EXPIRES.isoformat()), ("ended", None)]
    listed = world.run("list")
    assert f"acme: the client secret of Microsoft Graph expires on {EXPIRES}, in " in listed.stderr
    assert "Microsoft Graph" in world.run("show", "acme").stdout
    assert_nowhere(SECRET, world, created, applied, listed)
    assert not [
        path
        for path in world.fleet.parent.rglob("*")
        if path.is_file() and SECRET in path.read_text("latin-1") and path.name != ".env.local"
    ]


def test_graph_set_changes_them_later_on_production_alone(world: World) -> None:
    assert world.create().exit_code == 0
    before = world.environment(DOMAINS[0])
    assert world.graph(DOMAINS[0]) == [None, None, None]
    test = world.environment(DOMAINS[1])

    first = world.run("graph", "set", "acme", "-", "--yes", stdin=document())
    assert first.exit_code == 0, first.output
    assert world.graph(DOMAINS[0]) == [CLIENT, SECRET, TENANT]
    second = world.run("graph", "set", "acme", world.sealed(document(SECOND), armored=False), "--yes", "--json")

    assert second.exit_code == 0, second.output
    assert world.graph(DOMAINS[0]) == [CLIENT, SECOND, TENANT]
    assert world.environment(DOMAINS[0]).items() >= before.items()
    assert world.environment(DOMAINS[1]) == test
    told = json.loads(second.stdout)
    assert (list(told["hosts"]), told["expires"]) == ([DOMAINS[0]], EXPIRES.isoformat())
    assert [entry["event"] for entry in world.journal()[-3:]] == ["started", "ended", "graph_set"]
    assert_nowhere(SECRET, world, first)
    assert_nowhere(SECOND, world, second)


def test_nothing_is_changed_when_microsoft_refuses(world: World, directory: Directory) -> None:
    before = tree(world.fleet)
    wrong = "not-the-secret-at-all"

    refused = world.create("--graph", world.sealed(document(wrong)))

    assert refused.exit_code == 2
    assert "--graph: client_secret: it is not a secret of this application (AADSTS7000215)" in refused.stderr
    assert tree(world.fleet) == before
    assert not list(world.place.iterdir())
    assert world.mailbox.letters == []
    assert_nowhere(wrong, world, refused)


def test_graph_set_that_microsoft_refuses_leaves_the_present_ones(world: World, directory: Directory) -> None:
    assert world.create("--graph", "-", stdin=document()).exit_code == 0
    before, directory.secrets = tree(world.fleet), [SECRET]

    refused = world.run("graph", "set", "acme", "-", "--yes", stdin=document(SECOND))

    assert refused.exit_code == 2
    assert tree(world.fleet) == before
    assert world.graph(DOMAINS[0]) == [CLIENT, SECRET, TENANT]


@pytest.mark.parametrize("command", [["create", "acme", "--graph"], ["graph", "set", "acme"]])
def test_a_run_that_fails_says_how_to_go_on_and_reminds_of_nothing(world: World, command: list[str]) -> None:
    assert world.create().exit_code == 0
    play = yaml.safe_load((world.playbooks / "environment.yml").read_text())
    play[0]["tasks"].insert(0, {"name": "Break", "ansible.builtin.command": "false"})
    (world.playbooks / "environment.yml").write_text(yaml.safe_dump(play, sort_keys=False))

    failed = world.run(*command, "-", "--yes", stdin=document())

    assert failed.exit_code == 1
    assert f"go on with: chill-provision {' '.join(command)} FILE" in failed.stderr
    assert world.graph(DOMAINS[0]) == [None, None, None]
    assert not [entry for entry in world.journal() if entry["event"] == "graph_set"]
    assert_nowhere(SECRET, world, failed)


def test_the_plan_tells_and_asks_microsoft_and_changes_nothing(world: World, directory: Directory) -> None:
    directory.roles = ["Calendars.ReadWrite"]
    plan = world.create("--graph", world.sealed(document()), "--plan")
    assert plan.exit_code == 0, plan.output
    assert f"acme.chill.pro, until {EXPIRES}" in plan.stdout
    assert "not granted MailboxSettings.Read, User.Read.All" in plan.stdout
    assert len(directory.asked) == 1
    assert not list(world.place.iterdir())
    assert_nowhere(SECRET, world, plan)


@pytest.mark.parametrize("arguments", [["graph", "set", "acme", "-"], ["create", "acme", "--graph", "-"]])
def test_standard_input_cannot_hold_a_confirmation_too(world: World, arguments: list[str]) -> None:
    refused = world.run(*arguments, stdin=document())
    assert refused.exit_code == 2
    assert "add --yes" in refused.stderr
    assert_nowhere(SECRET, world, refused)


def test_a_file_encrypted_to_somebody_else_says_so(world: World, tmp_path: Path) -> None:
    with home() as other:
        stranger = other.make("Noor Peeters <noor@example.org>")
        path = tmp_path / "other.asc"
        words = ["--trust-model", "always", "--armor", "--output", str(path), "--recipient", stranger]
        other.gpg(*words, "--encrypt", data=document().encode())
    refused = world.create("--graph", str(path))
    assert refused.exit_code == 2
    assert f"{path}: cannot be decrypted: decryption failed: No secret key" in refused.stderr
    assert not list(world.place.iterdir())


def test_an_environment_that_is_not_there_cannot_be_given_credentials(world: World, directory: Directory) -> None:
    refused = world.run("graph", "set", "acme", "-", "--yes", stdin=document())
    assert refused.exit_code == 2
    assert "there is no instance 'acme'" in refused.stderr
    assert directory.asked == []


def test_the_technical_contact_gets_the_letter(world: World) -> None:
    assert world.create("--technical-contact", "Alix Martin <alix@example.org>").exit_code == 0

    printed = world.run("graph", "letter", "acme", "--lang", "en")
    sent = world.run("graph", "letter", "acme", "--lang", "en", "--mail")

    assert (printed.exit_code, sent.exit_code) == (0, 0), sent.output
    assert printed.stdout == sent.stdout
    mail = message_from_bytes(world.mailbox.letters[-1], policy=default)
    assert mail["To"] == "Alix Martin <alix@example.org>"
    assert mail["Reply-To"] == "support+acme@support.example.org"
    body = mail.get_content().replace("\r\n", "\n")
    assert body == printed.stdout.split("\n\n", 1)[1]
    assert all(permission in body for permission in Graph().permissions)
    assert "Ask us first how to encrypt" in " ".join(body.split())
    assert len(world.mailbox.letters) == 2
    assert world.journal()[-1]["event"] == "graph_letter_sent"


def test_the_letter_names_our_key_when_one_can_encrypt_to_it(world: World) -> None:
    assert world.create("--technical-contact", "Alix Martin <alix@example.org>").exit_code == 0
    settings = world.fleet / "chill.toml"
    text, signs_only = settings.read_text(), world.keys.make("Letters <letters@example.org>", "ed25519", "sign", "1y")
    printed = {}
    for key in (world.fingerprint, signs_only):
        settings.write_text(text.replace("[openpgp]", f'[openpgp]\nsigning_key = "{key}"'))
        printed[key] = world.run("graph", "letter", "acme", "--lang", "fr").stdout

    assert printed_fingerprint(world.fingerprint) in printed[world.fingerprint]
    assert "Demandez-nous" not in printed[world.fingerprint]
    assert printed_fingerprint(signs_only) not in printed[signs_only]
    assert "Demandez-nous" in printed[signs_only]
