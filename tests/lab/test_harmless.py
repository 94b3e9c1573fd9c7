"""What a test environment sends reaches nobody, whatever it is told; its testers read it at its own address.

Two machines: a server with both environments of an instance, whose settings send mail straight to the second one and
SMS to a provider; and that second one, which would receive. Production is the proof that it does.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demo.keyring import Keyring
from tests.demo.mail import Mailbox
from tests.demo.story import passwords_of
from tests.fixtures.browser import Browser, Page
from tests.fixtures.local_services import certificate
from tests.fixtures.sms_provider import SmsProvider
from tests.lab import Lab, Machine
from tests.lab.fleet import make_fleet
from tests.lab.network import HOST
from tests.lab.world import until

pytestmark = pytest.mark.lab

SERVER, RECEIVER = "srv1.example.net", "mx.example.net"
PRODUCTION, TEST = "acme.chill.pro", "acme-test.chill.pro"
USERS = {PRODUCTION: "chill-acme", TEST: "chill-acme-test"}
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# Only the lab's bridge knows these.
IPV6 = {SERVER: "fd77::1", RECEIVER: "fd77::2"}
MAIL_PORTS, OTHER_PORTS = (25, 587, 2525), (443, 465, 8443)


@dataclass
class World:
    """The server, what would receive, the fleet, and what the letter gave."""

    machine: Machine
    receiver: Machine
    fleet: Path
    provider: SmsProvider
    letters: Mailbox
    keyring: Keyring
    passwords: dict[str, str]
    site: tuple[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "provision.cli", *arguments, "--fleet", str(self.fleet)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def read_letter(self) -> None:
        """Take the passwords of the newest letter."""
        message = self.letters.received("camille@example.org")[-1]
        encrypted = list(message.iter_parts())[1]
        letter = self.keyring.decrypt(encrypted.get_content()).decode().replace("\r\n", "\n")
        self.passwords, self.site = passwords_of(letter)

    def on_server(self, command: str) -> str:
        return str(self.machine.ssh(command).stdout)

    def as_user(self, domain: str, *command: str, data: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as an environment's user, in its release."""
        user = f"cd /srv/chill/{domain}/current && runuser -u {USERS[domain]} --"
        return self.machine.ssh(f"{user} {shlex.join(command)}", input=data, check=False)

    def browser(self, domain: str, site: tuple[str, str] | None = None) -> Browser:
        access = (site or self.site) if domain == TEST else None
        return Browser(f"https://{domain}", self.fleet / "ca/ca.pem", address=self.machine.address, site=access)

    def came(self) -> list[dict[str, object]]:
        """What the second machine was reached by, in order."""
        lines = str(self.receiver.ssh("cat /root/received").stdout).splitlines()
        return [json.loads(line) for line in lines]

    def subjects_received(self) -> list[str]:
        return [str(what["subject"]) for what in self.came() if "subject" in what]

    def mailbox(self) -> Page:
        return self.browser(TEST).get("/_mail/")

    def mail(self, subject: str) -> str:
        """The path of a mail in the mailbox, by its subject."""
        found = re.findall(rf'<a href="(\S+)/">{re.escape(subject)}</a>', self.mailbox().text)
        assert found, f"{subject!r} is not in the mailbox"
        return f"/_mail/{found[0]}"


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("harmless")
    machine, receiver = lab.machine(SERVER, image="stocked"), lab.machine(RECEIVER, image="bare")
    for one in (machine, receiver):
        one.ssh(f"ip -6 address add {IPV6[one.name]}/64 dev host0 nodad")
    receiver.put(FIXTURES / "receiver.py", "/root/receiver.py")
    ports = " ".join(",".join(map(str, ports)) for ports in (MAIL_PORTS, OTHER_PORTS))
    receiver.ssh(f"systemd-run --unit=receiver python3 /root/receiver.py /root/received {ports}")
    until(lambda: receiver.ssh("test -e /root/received", check=False).returncode == 0, "the receiver")
    keyring, paths = Keyring(directory), certificate(directory, HOST)
    fingerprint = keyring.make_key("Camille Dubois", "camille@example.org")
    with Mailbox(HOST) as letters, SmsProvider(*paths, host=HOST) as provider:
        # What an adminsys must never do, and may do here without harm.
        reckless = {
            "environment_mailer_dsn": f"smtp://{receiver.address}:25",
            "environment_short_message_dsn": provider.dsn(),
        }
        fleet = make_fleet(
            directory / "fleet",
            {SERVER: machine.address},
            lab.ssh_config,
            gnupg_home=keyring.home,
            mail=(HOST, letters.port),
            variables={
                "servers": {"mail_relay": f"[{receiver.address}]:25"},
                "production": reckless,
                "test": reckless,
            },
        )
        machine.put(paths[0], "/usr/local/share/ca-certificates/provider.crt")
        machine.ssh("update-ca-certificates")
        made = World(machine, receiver, fleet, provider, letters, keyring, {}, ("", ""))
        contract = ["--starts", "2026-03-01", "--tariff", "standard", "--fingerprint", fingerprint]
        people = ["--responsible-name", "Camille Dubois", "--responsible-email", "camille@example.org"]
        facts = ["--client", "ASBL Acme", "--server", SERVER, *people, *contract]
        for words in (["server", "prepare", SERVER], ["create", "acme", *facts, "--yes"]):
            done = made.command(*words)
            assert done.returncode == 0, done.stderr
        made.read_letter()
        yield made
    keyring.close()
    machine.remove()
    receiver.remove()


# Symfony's own transports, in the release that is installed.
SYMFONY = """
require 'vendor/autoload.php';
$mail = (new Symfony\\Component\\Mime\\Email())->from('no-reply@acme.chill.pro')->to('someone@example.org')
    ->subject($argv[2])->text('Hello');
Symfony\\Component\\Mailer\\Transport::fromDsn($argv[1])->send($mail);
"""
PHP_MAIL = "mail('someone@example.org', $argv[1], 'Hello', 'From: no-reply@acme.chill.pro');"
SPOOFED = """\
Received: by srv1.example.net (Postfix, from userid {uid})
\tid 4jZx6D5wDFzGV7c; Thu, 26 Nov 2026 13:43:00 +0100 (CET)
From: no-reply@acme.chill.pro
To: someone@example.org
Subject: {subject}

Hello
"""
SMTP = """
import smtplib, sys
host, port, subject = sys.argv[1:]
with smtplib.SMTP(host, int(port), timeout=60) as server:
    server.sendmail("no-reply@acme.chill.pro", ["someone@example.org"], f"Subject: {subject}\\r\\n\\r\\nHello\\r\\n")
"""


def ways(world: World) -> dict[str, tuple[Sequence[str], str]]:
    """Every way by which an application could hand in a mail: its subject, command and standard input."""
    uid = world.on_server(f"id -u {USERS[PRODUCTION]}").strip()
    spoofed = SPOOFED.format(uid=uid, subject="spoofed")
    sendmail = "/usr/sbin/sendmail"
    found: dict[str, tuple[Sequence[str], str]] = {
        "PHP mail": (("php", "-r", PHP_MAIL, "PHP mail"), ""),
        "spoofed": ((sendmail, "-t", "-f", f"admin@{PRODUCTION}"), spoofed),
        "with a report": ((sendmail, "-N", "success,failure,delay", "-f", "someone@example.org", "-t"),
                          "To: someone@example.org\nSubject: with a report\n\nHello\n"),
        "probe": ((sendmail, "-bv", "-f", "someone@example.org", "someone@example.org"), ""),
    }  # fmt: skip
    for dsn in ("sendmail://default", "native://default", f"sendmail://default?command={sendmail}%20-t"):
        found[f"by {dsn}"] = (("php", "-r", SYMFONY, "--", dsn, f"by {dsn}"), "")
    for port in MAIL_PORTS:
        dsn = f"smtp://user:word@{world.receiver.address}:{port}"
        found[f"by port {port}"] = (("php", "-r", SYMFONY, "--", dsn, f"by port {port}"), "")
        for address in (IPV6[RECEIVER], "127.0.0.1", "::1"):
            subject = f"to {address} port {port}"
            found[subject] = (("python3", "-c", SMTP, address, str(port), subject), "")
    return found


def test_no_mail_of_a_test_environment_leaves_and_all_are_in_its_mailbox(world: World) -> None:
    for subject, (command, data) in ways(world).items():
        done = world.as_user(TEST, *command, data=data)
        assert done.returncode == 0, f"{subject}: {done.stdout}{done.stderr}"
    browser = world.browser(TEST)
    assert browser.login("admin", world.passwords[TEST])
    assert browser.post("/email", to="someone@example.org", subject="By the worker: Été", text="Hello").status == 202
    wanted = {*ways(world), "By the worker: Été"}

    def seen() -> set[str]:
        return set(re.findall(r'<a href="\S+/">([^<]*)</a>', world.mailbox().text))

    until(lambda: seen() >= wanted, f"in the mailbox: {wanted - seen()}")
    assert world.came() == []
    assert world.on_server("find /var/spool/postfix/hold /var/spool/postfix/deferred -type f") == ""


def test_production_reaches_the_same_machine(world: World) -> None:
    """Without this, the silence of the second machine would prove nothing."""
    browser = world.browser(PRODUCTION)
    assert browser.login("admin", world.passwords[PRODUCTION])
    assert browser.post("/email", to="someone@example.org", subject="of production", text="Hello").status == 202
    uid = world.on_server(f"id -u {USERS[TEST]}").strip()
    spoofed = SPOOFED.format(uid=uid, subject="spoofed by production")
    world.as_user(PRODUCTION, "/usr/sbin/sendmail", "-t", data=spoofed)
    world.as_user(PRODUCTION, "php", "-r", PHP_MAIL, "PHP mail of production")
    for address in (world.receiver.address, IPV6[RECEIVER]):
        world.as_user(PRODUCTION, "python3", "-c", SMTP, address, "587", f"of production to {address}")
    wanted = {"of production", "spoofed by production", "PHP mail of production"}
    wanted |= {f"of production to {address}" for address in (world.receiver.address, IPV6[RECEIVER])}

    until(lambda: set(world.subjects_received()) >= wanted, "production's mail at the second machine")

    assert sorted(world.subjects_received()) == sorted(wanted)
    assert "production" not in re.sub(r"<title>.*?</h1>", "", world.mailbox().text)


def test_sms_go_nowhere_although_a_provider_is_configured(world: World) -> None:
    for domain in (PRODUCTION, TEST):
        browser = world.browser(domain)
        assert browser.login("admin", world.passwords[domain])
        assert browser.post("/sms", to="+32470000001", text=f"of {domain}").status == 202
    until(lambda: len(world.provider.outbox.messages) > 0, "production's SMS")
    query = "SELECT count(*) FROM messenger_messages WHERE queue_name = 'failed'"
    failed = f'cd /; runuser -u postgres -- psql -At -d chill_acme_test -c "{query}"'

    until(lambda: int(world.on_server(failed)) > 0, "the failure of the test environment's SMS")

    assert [message.text for message in world.provider.outbox.messages] == [f"of {PRODUCTION}"]


def test_nothing_else_can_be_reached_by_a_test_environment(world: World) -> None:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)"
    reachable = {}
    for domain in (PRODUCTION, TEST):
        for address in (world.receiver.address, IPV6[RECEIVER], HOST):
            for port in OTHER_PORTS if address != HOST else (world.provider.port,):
                done = world.as_user(domain, "python3", "-c", connect, address, str(port))
                reachable[domain, address, port] = done.returncode == 0
    assert {key for key, reached in reachable.items() if reached} == {key for key in reachable if key[0] == PRODUCTION}
    # Its own database and Redis are, as its worker proves; and the DNS of the server.
    resolvers = world.on_server("sed -n 's/^nameserver //p' /etc/resolv.conf").split()
    rules = world.on_server("nft list table inet chill_acme_test")
    assert all(f"daddr {resolver} " in rules for resolver in resolvers if "%" not in resolver)


def test_a_mail_is_shown_without_running_anything_of_it(world: World) -> None:
    boundary = "--b\nContent-Type: "
    message = (
        "To: someone@example.org\nSubject: =?utf-8?Q?Rappel_=C3=A0_J=C3=A9r=C3=B4me_<script>?=\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=b\n\n"
        f"{boundary}text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nD=E9j=E0 vu\n"
        f"{boundary}text/html; charset=utf-8\n\n<p>Bonjour<script>alert(1)</script><img src=cid:logo></p></body>\n"
        f"{boundary}image/png\nContent-ID: <logo>\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n"
        f'{boundary}application/pdf; name="../été.pdf"\nContent-Disposition: attachment\n'
        "Content-Transfer-Encoding: base64\n\naGVsbG8=\n--b--\n"
    )
    assert world.as_user(TEST, "/usr/sbin/sendmail", "-t", data=message).returncode == 0
    subject = "Rappel à Jérôme &lt;script&gt;"
    until(lambda: subject in world.mailbox().text, "the mail")
    browser, path = world.browser(TEST), world.mail(subject)

    page, shown = browser.get(f"{path}/"), browser.get(f"{path}/body.html")
    (attachment,) = re.findall(r'href="(1/[^"]+)"', page.text)
    fetched = browser.get(f"{path}/{attachment}")

    assert "Déjà vu" in page.text
    assert "<script" not in page.text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    for answer in (page, shown):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert shown.headers["Content-Security-Policy"].startswith("sandbox allow-popups")
    assert "data:image/png;base64,iVBORw0KGgo=" in shown.text
    assert "chill-test-banner" not in shown.text
    assert (fetched.text, fetched.headers["Content-Disposition"]) == ("hello", "attachment")
    assert fetched.headers["Content-Type"] == "application/octet-stream"
    assert attachment.endswith("t%C3%A9.pdf")
    assert browser.get(f"{path}/about.json").status == 404


def test_the_site_is_closed_and_every_page_says_what_it_is(world: World) -> None:
    stranger = Browser(f"https://{TEST}", world.fleet / "ca/ca.pem", address=world.machine.address)
    path = world.mail("PHP mail")
    for page in ("/", "/login", "/healthz", "/_mail/", f"{path}/message.eml", "/_mail/banner.css", "/nowhere"):
        assert stranger.get(page).status == 401, page
        assert world.browser(TEST, ("test", world.passwords[TEST])).get(page).status == 401, page
    assert "Disallow: /\n" in stranger.get("/robots.txt").text
    for page in ("/login", "/nowhere", "/_mail/", "/healthz"):
        answer = world.browser(TEST).get(page)
        assert "noindex" in answer.headers["X-Robots-Tag"], page
        html = answer.headers["Content-Type"].startswith("text/html")
        assert ("Environnement de test" in answer.text) is html, page
    assert "chill-test-banner" not in world.browser(PRODUCTION).get("/login").text


def test_credentials_of_one_environment_open_nothing_of_the_other(world: World) -> None:
    for domain, other in ((TEST, PRODUCTION), (PRODUCTION, TEST)):
        browser = world.browser(domain)
        assert browser.login("admin", world.passwords[domain])
        elsewhere = world.browser(other)
        assert not elsewhere.login("admin", world.passwords[domain])
        # A session cookie is the host's alone; and brought there by hand, it is no session.
        cookies = list(browser.cookies)
        assert cookies
        for cookie in cookies:
            assert cookie.domain in (domain, f"{domain}.local")
            assert not cookie.domain_specified
            cookie.domain = other
            elsewhere.cookies.set_cookie(cookie)
        assert elsewhere.get("/").url.endswith("/login")
        secrets = dict(
            re.findall(
                r"^(\w+)='([^']+)'$", world.on_server(f"cat /srv/chill/{domain}/shared/.env.local"), re.MULTILINE
            )
        )
        name = secrets["REDIS_URL"].replace(f"//{USERS[domain]}:", f"//{USERS[other]}:")
        refused = world.machine.ssh(f"redis-cli -u {name} --no-auth-warning PING", check=False)
        assert "WRONGPASS" in refused.stdout + refused.stderr
        database = "chill_acme" if other == PRODUCTION else "chill_acme_test"
        entered = world.as_user(domain, "psql", database, "-c", "SELECT 1")
        assert "permission denied" in entered.stderr
    kept = ("APP_SECRET", "REDIS_PASSWORD", "JWT_PASSPHRASE")
    values = world.on_server(f"grep -hE '^({'|'.join(kept)})=' /srv/chill/acme*/shared/.env.local").split()
    keys = world.on_server("sha256sum /srv/chill/acme*/shared/jwt/*.pem | cut -d ' ' -f 1").split()
    assert (len(set(values)), len(set(keys))) == (6, 4)
    for domain in (TEST, PRODUCTION):
        for path in (
            "/var/lib/chill-mail",
            f"/var/lib/chill-mail/{TEST}/index.html",
            f"/etc/chill/sites/{TEST}.verify",
        ):
            read = world.as_user(domain, "sh", "-c", f"ls {path} && cat {path}")
            assert read.returncode != 0, f"{USERS[domain]} can read {path}"
        listed = world.as_user(domain, "mailq")
        assert listed.returncode != 0, f"{USERS[domain]} can see the queue"


def test_a_caught_mail_is_not_counted_as_sent(world: World) -> None:
    counted = "chill-meter collect --since $(date +%F) --until $(date +%F)"
    world.on_server(f"runuser -u chill-meter -- {counted} >/dev/null; true")
    rows = world.on_server("cat /var/spool/chill-meter/*.samples.csv").splitlines()
    emails = [row.split(",") for row in rows if ",acme,emails_sent," in row][-1]
    sent = len(re.findall(r"status=sent", world.on_server("grep 'relay=10.77' /var/log/mail.log")))
    # What goes straight to the second machine passes no queue here.
    assert (emails[3], emails[4]) == (str(sent), "ok")
    assert sent == 2


def test_after_a_restart_the_rules_stand_before_the_application(world: World) -> None:
    before = len(world.came())
    world.machine.stop()
    world.machine.start()
    world.machine.ssh(f"ip -6 address add {IPV6[SERVER]}/64 dev host0 nodad")
    started = {}
    for unit in ("nftables.service", f"{USERS[TEST]}-php.service", f"{USERS[TEST]}-worker.service"):
        shown = world.on_server(f"systemctl show --property=ActiveEnterTimestampMonotonic --value {unit}")
        started[unit] = int(shown)
    assert 0 < started["nftables.service"] <= min(list(started.values())[1:])

    for subject, address in (("after a restart", world.receiver.address), ("after a restart, IPv6", IPV6[RECEIVER])):
        assert world.as_user(TEST, "python3", "-c", SMTP, address, "25", subject).returncode == 0
    until(lambda: "after a restart, IPv6" in world.mailbox().text, "the mail after a restart")

    assert len(world.came()) == before
    done = world.command("verify", "acme")
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if not line.endswith(" ok")]


def test_without_the_rules_nothing_of_it_runs(world: World) -> None:
    world.on_server("systemctl stop nftables")
    try:
        assert world.browser(TEST).get("/login").status == 503
        assert world.browser(PRODUCTION).get("/login").status == 200
        units = f"{USERS[TEST]}-worker {USERS[TEST]}-php"
        state = world.machine.ssh(f"systemctl is-active {units}", check=False).stdout
        assert state.split() == ["inactive", "inactive"]
    finally:
        world.on_server(f"systemctl start nftables {USERS[TEST]}-worker {USERS[TEST]}-php")
    assert world.browser(TEST).get("/login").status == 200


def test_an_environment_of_before_stays_closed_until_a_password_is_given(world: World) -> None:
    """As after an upgrade of the toolkit: nobody was ever given the password of the site."""
    old = world.site
    world.on_server(f"sed -i '/^test:/d' /etc/chill/sites/{TEST}.htpasswd")

    applied, verified = world.command("apply", "acme"), world.command("verify", "acme")

    assert applied.returncode == 0, applied.stderr
    assert f"{TEST}: closed" in applied.stderr
    assert "chill-provision credentials rotate" in applied.stderr
    assert verified.returncode == 1
    assert "credentials rotate acme" in verified.stdout
    assert world.browser(TEST).get("/login").status == 401
    rotated = world.command("credentials", "rotate", "acme", "--yes")
    assert rotated.returncode == 0, rotated.stderr
    world.read_letter()
    assert world.site != old
    assert world.browser(TEST).login("admin", world.passwords[TEST])
    assert world.browser(TEST, old).get("/login").status == 401


def test_out_of_service_it_still_sends_nothing(world: World) -> None:
    before = len(world.came())
    done = world.command("suspend", "acme", "--yes")
    assert done.returncode == 0, done.stderr
    mail = "To: someone@example.org\nSubject: while suspended\n\nHello\n"
    assert world.as_user(TEST, "/usr/sbin/sendmail", "-t", data=mail).returncode == 0
    listed = f"cat /var/lib/chill-mail/{TEST}/index.html"
    until(lambda: "while suspended" in world.on_server(listed), "the mail of the suspended environment")
    assert world.browser(TEST).get("/_mail/").status == 503
    assert len(world.came()) == before
