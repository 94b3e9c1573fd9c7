"""The playbooks, by plain Ansible, on a real server: what they make, keep, mend and refuse.

One server with both environments of an instance, made once for this file; a test leaves it as it found it.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.fixtures.browser import Browser
from tests.lab import Lab, Machine
from tests.lab.fleet import add_instance, make_fleet
from tests.lab.network import HOST
from tests.lab.playbooks import Outcome, play

pytestmark = pytest.mark.lab

SERVER = "srv1.example.net"
PRODUCTION, TEST = "acme.chill.pro", "acme-test.chill.pro"
UNCHANGED = {PRODUCTION: 0, TEST: 0}
PASSWORDS = {PRODUCTION: "production-k7vm-2xqe", TEST: "test-9fwd-hh3m"}
SITE = ("test", "site-p3gd-y8ub")
USERS = {PRODUCTION: "chill-acme", TEST: "chill-acme-test"}


class Recipients:
    """An SMTP server that would let mail out: who it was asked to send to."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.received = Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        self.addresses += envelope.rcpt_tos
        self.received.set()
        return "250 taken"


@dataclass(frozen=True)
class Site:
    """The server, its fleet directory, and what the runs that made them said."""

    machine: Machine
    fleet: Path
    recipients: Recipients
    runs: dict[str, Outcome]

    def on_server(self, command: str) -> str:
        return str(self.machine.ssh(command).stdout)

    def as_user(self, user: str, command: str) -> tuple[int, str]:
        """Exit status and output of a shell command run by a user of the server."""
        done = self.machine.ssh(f"cd / && runuser -u {user} -- sh 2>&1", input=command, check=False)
        return done.returncode, done.stdout

    def apply(self, *arguments: str) -> Outcome:
        return play(self.fleet, "environment", *arguments)

    def provision(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs chill-provision on the fleet."""
        command = [sys.executable, "-m", "provision.cli", *arguments, "--fleet", str(self.fleet)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def browser(self, domain: str) -> Browser:
        site = SITE if domain == TEST else None
        return Browser(f"https://{domain}", ca_file=self.fleet / "ca/ca.pem", address=self.machine.address, site=site)


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A prepared server with both environments of `acme`, whose account `admin` has its first password."""
    directory = tmp_path_factory.mktemp("roles")
    machine = lab.machine(SERVER, image="stocked")
    recipients = Recipients()
    # Only now: the lab's bridge is there as long as a machine is.
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    relay = Controller(recipients, hostname=HOST, port=port)
    relay.start()
    fleet = make_fleet(directory / "fleet", {SERVER: machine.address}, lab.ssh_config, mail=(HOST, port))
    add_instance(fleet, "acme", SERVER)
    passwords = directory / "passwords.json"
    accounts = {host: {"admin": word} for host, word in PASSWORDS.items()}
    passwords.write_text(json.dumps({"initial_passwords": accounts, "site_passwords": {TEST: SITE[1]}}))
    runs = {
        "unprepared": play(fleet, "environment"),
        "prepare": play(fleet, "server"),
        "create": play(fleet, "environment", "-e", f"@{passwords}"),
        "prepare again": play(fleet, "server"),
        "apply": play(fleet, "environment"),
    }
    yield Site(machine, fleet, recipients, runs)
    relay.stop()
    machine.remove()


def test_an_unprepared_server_is_refused_with_the_command_to_type(site: Site) -> None:
    run = site.runs["unprepared"]

    assert run.failed == {PRODUCTION: 1, TEST: 1}
    assert run.changed == UNCHANGED
    assert f"chill-provision server prepare {SERVER}" in run.output


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert site.runs["prepare"].failed == {SERVER: 0}, site.runs["prepare"].output
    assert site.runs["create"].failed == UNCHANGED, site.runs["create"].output
    assert site.runs["prepare again"].changed == {SERVER: 0}, site.runs["prepare again"].output
    assert site.runs["apply"].changed == UNCHANGED, site.runs["apply"].output


@pytest.mark.parametrize("domain", [PRODUCTION, TEST])
def test_an_environment_answers_and_lets_its_own_password_in(site: Site, domain: str) -> None:
    other = TEST if domain == PRODUCTION else PRODUCTION

    health = site.browser(domain).get("/healthz")

    assert (health.status, health.json()["status"]) == (200, "ok")
    assert site.browser(domain).login("admin", PASSWORDS[domain])
    assert not site.browser(domain).login("admin", PASSWORDS[other])


@pytest.mark.parametrize("domain", [PRODUCTION, TEST])
def test_worker_and_periodic_jobs_run_in_a_sandbox(site: Site, domain: str) -> None:
    units = [f"{USERS[domain]}-{unit}" for unit in ("worker.service", "php.service", "cron.timer")]
    job = f"{USERS[domain]}-cron.service"

    assert site.on_server(f"systemctl is-active {' '.join(units)}").split() == ["active"] * 3
    assert site.on_server(f"systemctl is-enabled {' '.join(units)}").split() == ["enabled"] * 3
    site.on_server(f"systemctl start {job}")
    assert site.on_server(f"systemctl show --property=Result --value {job}") == "success\n"
    for unit in (*units[:2], job):
        shown = site.on_server(f"systemd-analyze security --no-pager {unit} | tail -1")
        exposure = re.search(r"level for \S+: ([\d.]+)", shown)
        assert exposure, shown
        assert float(exposure[1]) <= 3.0, shown


def test_the_sandboxed_worker_hands_mail_to_postfix_in_its_own_name(site: Site) -> None:
    browser = site.browser(PRODUCTION)
    assert browser.login("admin", PASSWORDS[PRODUCTION])

    assert browser.post("/email", to="someone@example.org", subject="Hello", text="…").status == 202

    assert site.recipients.received.wait(180), site.on_server("tail -20 /var/log/mail.log")
    assert site.recipients.addresses == ["someone@example.org"]
    uid = site.on_server("id -u chill-acme").strip()
    assert f"uid={uid} from=<no-reply@{PRODUCTION}>" in site.on_server("grep /pickup /var/log/mail.log")


DAMAGES: list[tuple[str, Callable[[str], str]]] = [
    ("site removed", lambda host: f"rm /etc/nginx/sites-enabled/{host} && systemctl reload nginx"),
    ("env file readable by all", lambda host: f"chmod 0644 /srv/chill/{host}/shared/.env.local"),
    ("home open", lambda host: f"chmod 0755 /srv/chill/{host}"),
    ("worker stopped", lambda host: f"systemctl disable --now {USERS[host]}-worker"),
    ("pool edited", lambda host: f"sed -i s/ondemand/static/ /etc/php/8.2/fpm/environments/{USERS[host]}.conf"),
    ("meter.toml edited", lambda host: "sed -i 's/instances.acme/instances.other/' /etc/chill/meter.toml"),
    (
        "extension dropped",
        lambda host: "cd /tmp && runuser -u postgres -- psql -q chill_acme -c 'DROP EXTENSION unaccent'",
    ),
    (
        "Redis user removed",
        lambda host: (
            f"(echo AUTH chill-admin $(cat /etc/chill/redis-admin); echo ACL DELUSER {USERS[host]})"
            " | redis-cli -s /run/redis/redis-server.sock"
        ),
    ),
    (
        "metering may read a name",
        lambda host: (
            "cd /tmp && runuser -u postgres -- psql -q chill_acme -c"
            """ 'GRANT SELECT ON chill_person_person TO "chill-meter"'"""
        ),
    ),
    ("user may log in", lambda host: f"usermod --shell /bin/bash {USERS[host]}"),
]


# What verification says to these damages.
FOUND_BY_CHECKS = (
    "the login page is served over HTTPS",
    "the env file can be read by its user only",
    "the home directory is closed to other users",
    "the worker runs, and starts with the server",
    "the php-fpm pool has the settings that isolate it",
    "usage of the instance is counted every night",
    "the database has the extensions that the application needs",
    "Redis lets the environment touch its own keys, and nothing else",
    "metering can read user ids and times, and nothing else",
)


def test_damage_is_shown_without_a_change_and_then_mended(site: Site) -> None:
    for _, damage in DAMAGES:
        site.on_server(damage(PRODUCTION))
    secrets = re.findall(r"[0-9a-f]{64}", site.on_server("cat /srv/chill/*/shared/.env.local /etc/chill/redis-admin"))
    assert len(set(secrets)) >= 7

    checked = json.loads(site.provision("verify", "acme", "--json").stdout)
    told = site.provision("apply", "--check")
    shown = site.apply("--check", "--diff")
    shown_again = site.apply("--check", "--diff")
    mended = site.apply()

    assert shown.failed == mended.failed == UNCHANGED, shown.output + mended.output
    assert shown.changed == shown_again.changed, "to look changed something"
    assert shown.changed[PRODUCTION] >= 4
    assert shown.changed[TEST] == mended.changed[TEST] == 0
    broken = {(check["environment"], check["check"]) for check in checked if not check["passed"]}
    assert broken >= {(PRODUCTION, name) for name in FOUND_BY_CHECKS}
    assert {environment for environment, _ in broken} == {PRODUCTION}
    assert told.returncode == 3, told.stderr
    assert {f"{PRODUCTION}:", "    -pm = static", "    +pm = ondemand"} <= set(told.stdout.splitlines())
    assert f"{TEST}:" not in told.stdout.splitlines()
    said = shown.output + mended.output + told.stdout + told.stderr
    assert not [secret for secret in secrets if secret in said]
    assert site.apply().changed == UNCHANGED
    assert site.provision("verify", "acme").returncode == 0
    nothing = site.provision("apply", "--check", "acme")
    assert (nothing.returncode, nothing.stdout) == (0, "nothing differs\n"), nothing.stderr
    assert site.browser(PRODUCTION).get("/healthz").status == 200
    assert site.browser(PRODUCTION).login("admin", PASSWORDS[PRODUCTION])


# What holds a test environment, each with what verification says when it is gone.
GUARD_DAMAGES = {
    "nft delete table inet chill_acme_test": "the rules that bound its traffic are in force",
    f"rm /etc/chill/caught/{TEST}; : > /etc/postfix/caught": (
        "the mail that it hands in is held, and taken to its mailbox"
    ),
    "systemctl disable --now chill-acme-test-mail.socket": (
        "connections to mail servers, wherever they are, end in its mailbox"
    ),
    f"sed -i s/chill-test-banner/x/ /etc/nginx/sites-available/{TEST}; nginx -s reload": (
        "every page says that this is a test environment"
    ),
    f"rm /etc/chill/sites/{TEST}.verify": "the application reaches its database and Redis",
}


def test_damage_to_what_holds_a_test_environment_is_found_and_mended(site: Site) -> None:
    for damage in GUARD_DAMAGES:
        site.on_server(damage)

    checked = json.loads(site.provision("verify", "acme", "--json").stdout)
    told = site.provision("apply", "--check")
    mended = site.apply()

    broken = {(check["environment"], check["check"]) for check in checked if not check["passed"]}
    assert broken >= {(TEST, name) for name in GUARD_DAMAGES.values()}
    assert {environment for environment, _ in broken} == {TEST}
    assert told.returncode == 3, told.stderr
    assert "    -nothing is in force" in told.stdout.splitlines()
    assert mended.failed == UNCHANGED, mended.output
    assert mended.changed[PRODUCTION] == 0
    assert site.apply().changed == UNCHANGED
    done = site.provision("verify", "acme")
    assert done.returncode == 0, done.stdout


def test_a_reload_that_was_cut_off_is_made_up_for(site: Site) -> None:
    """As after a run that was killed between writing a site and having nginx read it."""
    path = f"/etc/nginx/sites-available/{TEST}"
    site.on_server(f"sed -i 's/301/302/' {path} && systemctl reload nginx && sed -i 's/302/301/' {path}")
    site.on_server(f"touch /var/lib/chill/pending/{TEST}/nginx")

    run = site.apply()

    assert run.changed == {PRODUCTION: 0, TEST: 1}
    connection = http.client.HTTPConnection(site.machine.address, timeout=180)
    connection.request("GET", "/", headers={"Host": TEST})
    assert connection.getresponse().status == 301
    connection.close()


def test_another_archive_under_the_same_version_is_refused(site: Site) -> None:
    settings = site.fleet / "chill.toml"
    text = settings.read_text()
    settings.write_text(re.sub(r'sha256 = "\w+"', f'sha256 = "{"0" * 64}"', text))
    try:
        run = site.apply()
    finally:
        settings.write_text(text)

    assert run.changed == UNCHANGED
    assert run.failed == {PRODUCTION: 1, TEST: 1}
    assert "release.version" in run.output


def test_a_new_version_goes_into_service_and_keeps_the_data(site: Site) -> None:
    settings = site.fleet / "chill.toml"
    settings.write_text(settings.read_text().replace('version = "1.0.0"', 'version = "1.0.1"'))

    run = site.apply()

    assert run.failed == UNCHANGED, run.output
    for domain in (PRODUCTION, TEST):
        current = site.on_server(f"readlink /srv/chill/{domain}/current")
        assert current == f"/srv/chill/{domain}/releases/1.0.1\n"
        assert site.browser(domain).login("admin", PASSWORDS[domain])
    assert site.apply().changed == UNCHANGED


def test_metering_reads_ids_and_times_and_nothing_else(site: Site) -> None:
    site.as_user("chill-acme", f"echo probe >> /srv/chill/{PRODUCTION}/shared/log/prod.log")
    may = [
        "SELECT id, username, enabled FROM users",
        "SELECT createdby_id, createdat FROM chill_person_person",
        'SELECT "createdBy_id", "createdAt" FROM chill_doc.stored_object',
    ]
    may_not = [
        "SELECT email FROM users",
        "SELECT * FROM chill_person_person",
        "SELECT firstname FROM chill_person_person",
        "SELECT content FROM chill_person_accompanying_period_comment",
    ]

    for query in may:
        status, output = site.as_user("chill-meter", f"psql chill_acme -c '{query}'")
        assert status == 0, output
    for query in may_not:
        status, output = site.as_user("chill-meter", f"psql chill_acme -c '{query}'")
        assert "permission denied" in output, query
    assert "permission denied" in site.as_user("chill-meter", "psql chill_acme_test -c 'SELECT 1'")[1]
    for path in (".env.local", "log/prod.log", "jwt/private.pem"):
        status, _ = site.as_user("chill-meter", f"cat /srv/chill/{PRODUCTION}/shared/{path}")
        assert status != 0, path


def test_the_collector_is_installed_and_counts(site: Site) -> None:
    configuration = tomllib.loads(site.on_server("cat /etc/chill/meter.toml"))
    assert list(configuration["instances"]) == ["acme"]
    assert configuration["server"] == SERVER

    status, output = site.as_user(
        "chill-meter", "/usr/local/bin/chill-meter collect --since $(date +%F) --until $(date +%F)"
    )

    assert status == 0, output
    samples = site.on_server("cat /var/spool/chill-meter/*.samples.csv").splitlines()
    counted = {line.split(",")[2]: line.split(",")[3:5] for line in samples if ",acme," in line}
    assert counted["active_users"] == ["1", "ok"]
    assert set(counted) == {"active_users", "document_bytes", "sms_sent", "emails_sent"}
    assert {status for _, status in counted.values()} == {"ok"}


def test_collection_is_started_by_cron_or_by_a_timer(site: Site) -> None:
    entry = site.on_server("cat /etc/cron.d/chill-meter")
    assert re.search(r"^MAILTO=root$", entry, re.MULTILINE)
    assert re.search(r"^15 0 \* \* \* chill-meter /usr/local/bin/chill-meter collect", entry, re.MULTILINE)
    assert re.search(r"^@reboot chill-meter .*/usr/local/bin/chill-meter collect", entry, re.MULTILINE)

    timer = play(site.fleet, "server", "-e", "metering_scheduler=timer")
    assert timer.failed == {SERVER: 0}, timer.output
    assert site.on_server("systemctl is-active chill-meter.timer") == "active\n"
    assert "chill-meter" not in site.on_server("ls /etc/cron.d").split()
    site.on_server("echo 'unknown = 1' >> /etc/chill/meter.toml; systemctl start chill-meter || :")
    told = "timeout 20 sh -c 'until grep -q unknown /var/mail/root; do sleep .2; done'; cat /var/mail/root"
    assert f"Subject: chill-meter failed on {SERVER}" in site.on_server(told)

    cron = play(site.fleet, "server")
    assert cron.failed == {SERVER: 0}, cron.output
    assert site.machine.ssh("systemctl is-active chill-meter.timer", check=False).stdout != "active\n"


def test_only_ssh_and_the_web_are_open(site: Site) -> None:
    listening = site.on_server("ss -Hltn | awk '{print $4}'").split()
    outside = {address.rpartition(":")[2] for address in listening if not address.startswith(("127.", "[::1]"))}

    assert outside == {"22", "80", "443"}
    assert "policy drop" in site.on_server("nft list chain inet chill input")
