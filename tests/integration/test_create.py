"""`create` from the request to the letter: a real playbook on this machine, real GnuPG, a real SMTP server.

The playbook stands in for those of the project, which need a server: it leaves what it was given in files.
Verification is given its results. The whole way on real machines is in tests/lab.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from click.testing import CliRunner, Result

from provision import create, locks
from provision import letter as letters
from provision.cli import main
from provision.fleet_reader import load_fleet
from provision.journal import Journal
from provision.locks import Lock, Place, held
from provision.verify import CheckResult
from tests.integration.keys import Home, home
from tests.unit.provision.fleets import make_fleet, tree

PLAYBOOK = """\
- name: Environments
  hosts: production:test
  gather_facts: false
  tasks:
    - name: Create the environment
      ansible.builtin.file: {{path: "{place}/{{{{ inventory_hostname }}}}", state: directory, mode: "0700"}}
    - name: Set the first passwords
      ansible.builtin.copy:
        content: "{{{{ initial_passwords[inventory_hostname] | to_json }}}}"
        dest: "{place}/{{{{ inventory_hostname }}}}/passwords"
        mode: "0600"
      when: initial_passwords is defined
      no_log: true
    - name: Start the worker
      ansible.builtin.command: "{command}"
      changed_when: false
      when: inventory_hostname == 'acme-test.chill.pro'
"""
OPTIONS = """
    --client,ASBL Acme,--server,srv1.example.net,--responsible-name,Camille Dubois,
    --responsible-email,camille@example.org,--starts,2026-03-01,--tariff,standard,--lang,en,--yes
"""
DOMAINS = ("acme.chill.pro", "acme-test.chill.pro")


class Mailbox:
    """A real SMTP server on loopback that keeps what it takes, and refuses while `refusing`."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.refusing = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refusing:
            return "550 no such person here"
        assert isinstance(envelope.content, bytes)
        self.letters.append(envelope.content)
        return "250 taken"


class World:
    """A fleet whose only server is this machine, a keyring, a mailbox, and the playbook's results."""

    def __init__(self, directory: Path, keys: Home, fingerprint: str, mailbox: Mailbox, port: int) -> None:
        self.fleet = make_fleet(directory / "fleet", keyring=str(keys.path))
        self.place = directory / "place"
        self.place.mkdir()
        self.playbooks = directory / "playbooks"
        self.playbooks.mkdir()
        self.keys, self.fingerprint, self.mailbox = keys, fingerprint, mailbox
        self.checks: list[CheckResult] = [CheckResult(domain, "answers", True, "") for domain in DOMAINS]
        settings = self.fleet / "chill.toml"
        text = settings.read_text().replace("[mail]", f'[mail]\nhost = "127.0.0.1"\nport = {port}')
        settings.write_text(text)
        (self.fleet / "inventory/servers.yml").write_text(
            "servers: {hosts: {srv1.example.net: {ansible_connection: local}}}\n"
        )
        (self.fleet / "inventory/group_vars").mkdir()
        variables = f"ansible_connection: local\nansible_python_interpreter: {sys.executable}\n"
        (self.fleet / "inventory/group_vars/all.yml").write_text(variables)
        self.playbook("true")

    def playbook(self, command: str) -> None:
        (self.playbooks / "environment.yml").write_text(PLAYBOOK.format(place=self.place, command=command))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--fleet", str(self.fleet)])

    def create(self, *more: str) -> Result:
        options = [option.strip() for option in OPTIONS.split(",")]
        return self.run("create", "acme", *options, "--fingerprint", self.fingerprint, *more)

    def password(self, domain: str) -> str:
        found: str = json.loads((self.place / domain / "passwords").read_text())["admin"]
        return found

    def decrypted(self, number: int = 0) -> str:
        parts = message_from_bytes(self.mailbox.letters[number]).get_payload()
        assert isinstance(parts, list)
        return self.keys.gpg("--decrypt", data=parts[1].get_payload(decode=True)).stdout.decode()

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.fleet / "journal/acme.jsonl").read_text().splitlines()]

    def state(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("show", "acme", "--json").stdout)
        return shown


@pytest.fixture(scope="module")
def keys() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def fingerprint(keys: Home) -> str:
    return keys.make("Camille Dubois <camille@example.org>", "future-default", "default", "1y")


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
def world(
    tmp_path: Path,
    keys: Home,
    fingerprint: str,
    mailbox: tuple[Mailbox, int],
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    made = World(tmp_path, keys, fingerprint, *mailbox)
    monkeypatch.setattr("provision.locks.DIRECTORY", str(tmp_path / "locks"))
    monkeypatch.setattr(create, "playbooks_directory", lambda: made.playbooks)
    monkeypatch.setattr("provision.apply.playbooks_directory", lambda: made.playbooks)
    monkeypatch.setattr("provision.verify.run", lambda fleet, instance, report: made.checks)
    return made


def test_both_environments_get_the_passwords_that_the_letter_holds(world: World) -> None:
    result = world.create()
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "acme-test.chill.pro: ok=3 changed=2 failed=0",
        "acme.chill.pro: ok=2 changed=2 failed=0",
    ]
    (sealed,) = world.mailbox.letters
    letter = world.decrypted()
    for domain in DOMAINS:
        assert world.password(domain) in letter
        assert world.password(domain).encode() not in sealed
    assert world.password(DOMAINS[0]) != world.password(DOMAINS[1])
    shown = world.state()
    assert (shown["state"], shown["letter_sent"]) == ("ready", True)
    assert [entry["event"] for entry in world.journal()] == ["started", "ended", "letter_sent"]


def test_no_password_is_in_the_fleet_or_on_the_terminal(world: World) -> None:
    result = world.create("--letter-to", str(world.fleet / "letter.asc"))
    assert result.exit_code == 0, result.output
    written = b"".join(tree(world.fleet).values()) + result.output.encode()
    for domain in DOMAINS:
        assert world.password(domain).encode() not in written


def test_a_second_create_changes_nothing_and_sends_nothing(world: World) -> None:
    world.create()
    passwords = [world.password(domain) for domain in DOMAINS]
    inventory = tree(world.fleet / "inventory")
    for again in (world.create(), world.run("create", "acme", "--yes")):
        assert again.exit_code == 0, again.output
        assert [line.split(" ", 1)[1] for line in again.stdout.splitlines()] == [
            "ok=2 changed=0 failed=0",
            "ok=1 changed=0 failed=0",
        ]
    assert len(world.mailbox.letters) == 1
    assert [world.password(domain) for domain in DOMAINS] == passwords
    assert tree(world.fleet / "inventory") == inventory


def test_a_failure_names_the_task_and_the_same_command_goes_on(world: World) -> None:
    world.playbook("ls /nonexistent/worker")
    failed = world.create()
    assert failed.exit_code == 1
    assert 'acme-test.chill.pro failed at "Start the worker"' in failed.stderr
    assert "cannot access '/nonexistent/worker'" in failed.stderr
    assert "go on with: chill-provision create acme" in failed.stderr
    log = next((world.fleet / "journal/runs").iterdir())
    assert str(log) in failed.stderr
    assert not world.mailbox.letters
    environments = world.state()["environments"]
    assert environments["test"]["state"] == "failed"
    assert environments["production"]["state"] == "creating"
    world.playbook("true")
    assert world.run("create", "acme", "--yes").exit_code == 0
    assert world.state()["state"] == "ready"
    # The first run's passwords were lost with it: the letter holds those of the second.
    assert world.password(DOMAINS[0]) in world.decrypted()


def test_no_letter_is_sent_when_a_check_does_not_pass(world: World) -> None:
    world.checks = [*world.checks, CheckResult("acme-test.chill.pro", "worker runs", False, "it is dead")]
    result = world.create()
    assert result.exit_code == 1
    assert "1 of 3 checks did not pass" in result.stderr
    assert "acme-test.chill.pro: worker runs: it is dead" in result.stderr
    assert not world.mailbox.letters
    assert world.state()["environments"]["test"]["state"] == "failed"


def test_a_letter_that_is_refused_leaves_the_environments_and_is_sent_anew(world: World) -> None:
    world.mailbox.refusing = True
    result = world.create()
    assert result.exit_code == 3
    assert "no such person here" in result.stderr
    shown = world.state()
    assert (shown["state"], shown["letter_sent"]) == ("ready", False)
    lost = world.password(DOMAINS[0])
    world.mailbox.refusing = False
    assert world.run("create", "acme", "--yes").exit_code == 0
    assert world.password(DOMAINS[0]) != lost
    assert world.password(DOMAINS[0]) in world.decrypted()
    assert world.state()["letter_sent"] is True


def test_rotation_gives_new_passwords_to_the_keys_that_are_named(world: World) -> None:
    assert world.create().exit_code == 0
    first = [world.password(domain) for domain in DOMAINS]
    colleague = world.keys.make("Noor Peeters <noor@example.org>", "future-default", "default", "1y")

    to = ["--to", colleague, "--to", world.fingerprint]
    done = world.run("credentials", "rotate", "acme", "--lang", "en", "--yes", *to)

    assert done.exit_code == 0, done.output
    now = [world.password(domain) for domain in DOMAINS]
    assert not set(first) & set(now)
    sealed = message_from_bytes(world.mailbox.letters[1])
    assert sealed["To"] == "Noor Peeters <noor@example.org>, Camille Dubois <camille@example.org>"
    letter = world.decrypted(1)
    assert all(password in letter for password in now)
    assert "New passwords for" in letter
    assert all(letters.printed_fingerprint(key) in letter for key in (colleague, world.fingerprint))
    packets = world.keys.gpg("--list-packets", data=sealed.get_payload()[1].get_payload(decode=True))
    assert packets.stdout.count(b":pubkey enc packet:") == 2
    entries = [(entry["command"], entry["event"], entry.get("result")) for entry in world.journal()[-3:]]
    assert entries == [
        ("credentials rotate", "started", None),
        ("credentials rotate", "ended", "ok"),
        ("credentials rotate", "letter_sent", "ok"),
    ]
    assert not [password for password in now if password in done.output]


def test_a_rotation_whose_letter_is_lost_is_shown_and_done_again(world: World) -> None:
    world.create()
    world.mailbox.refusing = True
    lost = world.run("credentials", "rotate", "acme", "--yes")
    assert lost.exit_code == 3
    assert "credentials rotate acme" in lost.stderr
    assert "the last one was not delivered" in world.run("show", "acme").stdout

    world.mailbox.refusing = False
    assert world.run("credentials", "rotate", "acme", "--yes").exit_code == 0

    assert world.password(DOMAINS[0]) in world.decrypted(1)
    assert "not delivered" not in world.run("show", "acme").stdout


@pytest.mark.parametrize(
    "options, said",
    [
        (["--to", "0" * 40], "--to: no key"),
        (["--to", "noor@example.org"], "--to: 'noor@example.org' is an e-mail address"),
        (["--no-mail"], "--no-mail: the letter would go nowhere"),
    ],
)
def test_a_rotation_that_cannot_be_delivered_changes_nothing(world: World, options: list[str], said: str) -> None:
    world.create()
    before = [world.password(domain) for domain in DOMAINS]

    refused = world.run("credentials", "rotate", "acme", "--yes", *options)

    assert refused.exit_code == 2
    assert said in refused.stderr
    assert [world.password(domain) for domain in DOMAINS] == before


def test_nothing_is_rotated_before_the_first_letter(world: World) -> None:
    world.playbook("false")
    world.create()

    refused = world.run("credentials", "rotate", "acme", "--yes")

    assert refused.exit_code == 2
    assert "chill-provision create acme" in refused.stderr


def test_a_creation_that_meets_another_says_whose_it_is_and_changes_nothing(world: World) -> None:
    fleet = load_fleet(world.fleet)
    places = [Place(fleet.server("srv1.example.net"), ["acme"])]
    with held(fleet, places, "a test"):
        result = world.create()

    assert result.exit_code == 1
    assert "instance acme on srv1.example.net" in result.stderr
    assert "for a test" in result.stderr
    assert not (world.fleet / "inventory/instances/acme.yml").exists()
    assert world.mailbox.letters == []
    assert world.create().exit_code == 0


def test_the_letter_that_another_run_sent_meanwhile_is_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the plan, which someone reads, and the lock."""
    assert world.create().exit_code == 0
    journal = Journal(world.fleet / "journal")
    lines = journal.path("acme").read_text()
    journal.path("acme").unlink()
    lock = locks.held

    def meanwhile(*arguments: Any) -> AbstractContextManager[Sequence[Lock]]:
        journal.path("acme").write_text(lines)
        return lock(*arguments)

    monkeypatch.setattr(locks, "held", meanwhile)

    again = world.create()

    assert again.exit_code == 0, again.output
    assert len(world.mailbox.letters) == 1


def test_the_letter_may_go_into_a_file_alone(world: World, tmp_path: Path) -> None:
    file = tmp_path / "letter.asc"
    result = world.create("--letter-to", str(file), "--no-mail")
    assert result.exit_code == 0, result.output
    assert world.password(DOMAINS[0]) in world.keys.gpg("--decrypt", str(file)).stdout.decode()
    assert not world.mailbox.letters
    assert world.state()["letter_sent"] is True


def test_ctrl_c_says_what_stands_and_how_to_go_on(world: World) -> None:
    world.playbook(f"/bin/sh -c 'kill -INT {os.getpid()}; sleep 60'")
    before = signal.getsignal(signal.SIGINT)
    result = world.create()
    assert result.exit_code == 3
    assert "what was built stands" in result.stderr
    assert "go on with: chill-provision create acme" in result.stderr
    assert world.journal()[-1]["result"] == "interrupted"
    assert world.state()["state"] == "creating"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_plan_is_shown_and_nothing_is_done(world: World) -> None:
    before = tree(world.fleet)
    result = world.create("--plan")
    assert result.exit_code == 0, result.output
    assert "https://acme-test.chill.pro on srv1.example.net" in result.stdout
    assert tree(world.fleet) == before
    assert not list(world.place.iterdir())


def test_apply_sets_no_password_and_mends(world: World) -> None:
    world.create()
    password = world.password(DOMAINS[0])
    (world.place / DOMAINS[1] / "passwords").unlink()
    (world.place / DOMAINS[1]).rmdir()
    result = world.run("apply", "acme", "--json")
    assert result.exit_code == 0, result.output
    hosts = json.loads(result.stdout)["hosts"]
    assert [hosts[domain]["changed"] for domain in DOMAINS] == [0, 1]
    assert world.password(DOMAINS[0]) == password
    assert world.journal()[-1]["command"] == "apply"


def test_apply_that_fails_on_some_instances_says_which(world: World) -> None:
    world.create()
    other = world.fleet / "inventory/instances/beta.yml"
    other.write_text((world.fleet / "inventory/instances/acme.yml").read_text().replace("acme", "beta"))
    world.playbook("false")
    result = world.run("apply")
    assert result.exit_code == 3
    assert 'acme-test.chill.pro failed at "Start the worker"' in result.stderr
    assert "beta" not in result.stderr.split("error:")[1]
    assert world.state()["environments"]["test"]["state"] == "failed"
    world.playbook("true")
    assert world.run("apply").exit_code == 0
    assert world.state()["state"] == "ready"


def test_verify_prints_every_check_and_fails_when_one_does(world: World) -> None:
    world.create()
    assert world.run("verify", "acme").exit_code == 0
    world.checks = [world.checks[0], CheckResult("acme-test.chill.pro", "worker runs", False, "it is dead")]
    result = world.run("verify", "acme")
    assert result.exit_code == 1
    assert "it is dead" in result.stdout
    assert "1 of 2 checks did not pass" in result.stderr
    assert json.loads(world.run("verify", "acme", "--json").stdout)[1]["passed"] is False


def test_list_and_show_tell_people_what_they_tell_programs(world: World) -> None:
    world.create()
    listed = world.run("list").stdout
    assert "ASBL Acme" in listed
    assert "ready" in listed
    shown = world.run("show", "acme").stdout
    for expected in ("https://acme.chill.pro on srv1.example.net: ready", world.fingerprint, "letter sent"):
        assert expected in shown
    assert json.loads(world.run("list", "--json").stdout)[0]["contract"]["starts"] == "2026-03-01"
