"""The steps of the whole way, each doing one thing with the real commands, and keeping what a test wants to look at.

`python -m tests.demo up` tells the story at a terminal; tests/lab/test_whole_way.py asserts what it did.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.demo import year
from tests.demo.keyring import Keyring
from tests.demo.mail import Mailbox
from tests.fixtures.browser import Browser
from tests.fixtures.local_services import certificate
from tests.fixtures.sms_provider import SmsProvider
from tests.lab import Lab, Machine
from tests.lab.fleet import make_fleet
from tests.lab.network import HOST

SERVER = "srv1.example.net"
SLUG = "acme"
DOMAINS = ("acme.chill.pro", "acme-test.chill.pro")
RESPONSIBLE = ("Camille Dubois", "camille@example.org")
ZONE = ZoneInfo("Europe/Brussels")
COMMANDS = Path(sys.executable).parent
HERE = Path(__file__).resolve().parent
SMS_TODAY, MAILS_TODAY = 3, 2


def passwords_of(letter: str) -> tuple[dict[str, str], tuple[str, str]]:
    """The passwords of the first accounts by domain, and what the browser asks for at the test environment's site."""
    found = re.findall(r"https://(\S+?)/?\s+\S+\s+admin\s+\S[^\n]*?\s(\S+)\n", letter)
    ((account, password),) = re.findall(r" (test)\n +\S[^\n]*? (\S+)\n", letter)
    return dict(found), (account, password)


def today() -> date:
    """The day it is where the fleet is."""
    return datetime.now(ZONE).date()


@dataclass
class Story:
    """One telling, in a directory of its own: fleet and papers stand below it."""

    directory: Path
    lab: Lab
    image: str = "stocked"
    say: Callable[[str], None] = print
    today: date = field(default_factory=today)
    passwords: dict[str, str] = field(default_factory=dict)
    site: tuple[str, str] | None = None
    letter: str = ""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._ends = ExitStack()

    def __enter__(self) -> Story:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def fleet(self) -> Path:
        return self.directory / "fleet"

    @property
    def ca(self) -> Path:
        return self.fleet / "ca" / "ca.pem"

    @property
    def reported(self) -> int:
        """The last whole year: what accounting reports on in January."""
        return self.today.year - 1

    @property
    def past(self) -> tuple[date, date]:
        """The days that are played: from the beginning of the reported year until yesterday."""
        return date(self.reported, 1, 1), self.today - timedelta(days=1)

    @property
    def papers(self) -> Path:
        return self.directory / f"reports-{self.reported}"

    def chapter(self, title: str) -> None:
        """Say what comes, and how long it took to get here."""
        self.say(f"\n== {title}  [{time.monotonic() - self.started:.0f} s]")

    def run(self, *command: str, status: int = 0) -> str:
        """Run one of the toolkit's commands, shown as one would type it; its standard output."""
        self.say(f"\n$ {shlex.join(command)}")
        done = subprocess.run(
            [str(COMMANDS / command[0]), *command[1:]],
            cwd=self.fleet if self.fleet.exists() else self.directory,
            env={**os.environ, "COLUMNS": "110"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.stdout.strip():
            self.say(done.stdout.rstrip())
        if done.returncode != status:
            raise RuntimeError(f"{shlex.join(command)} ended with status {done.returncode}, expected {status}")
        return done.stdout

    def on_server(self, command: str) -> str:
        """Run a shell command on the server as root, shown; its standard output."""
        self.say(f"\n{SERVER}# {command}")
        output: str = self.machine.ssh(command).stdout
        if output.strip():
            self.say(output.rstrip())
        return output

    def browser(self, domain: str) -> Browser:
        """A person's browser at one of the environments."""
        site = self.site if domain == DOMAINS[1] else None
        return Browser(f"https://{domain}", self.ca, address=self.machine.address, site=site)

    def set_the_stage(self) -> None:
        """A lab server, the world's mail server, an SMS provider, a key for the responsible, a fleet directory."""
        self.chapter("A Debian server in the lab, a mail server, a key for the responsible, a fleet directory")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.machine: Machine = self.lab.machine(SERVER, self.image)
        self.say(f"{SERVER} answers at {self.machine.address}")
        self.keyring = Keyring(self.directory)
        self._ends.callback(self.keyring.close)
        self.fingerprint = self.keyring.make_key(*RESPONSIBLE)
        self.mailbox = self._ends.enter_context(Mailbox(HOST))
        paths = certificate(self.directory, HOST)
        self.provider = self._ends.enter_context(SmsProvider(*paths, host=HOST))
        make_fleet(
            self.fleet,
            {SERVER: self.machine.address},
            self.lab.ssh_config,
            gnupg_home=self.keyring.home,
            mail=(HOST, self.mailbox.port),
            variables={"production": {"environment_short_message_dsn": self.provider.dsn()}},
        )
        tariff = self.fleet / "tariffs" / "standard.toml"
        # The example begins this year; the demo also bills the last.
        text = re.sub(r"^valid_from = \S+", f"valid_from = {self.past[0]}", tariff.read_text(), flags=re.MULTILINE)
        tariff.write_text(text)
        # The provider's certificate is one that the server's own store knows, as that of a real provider would be.
        self.machine.put(paths[0], "/usr/local/share/ca-certificates/provider.crt")
        self.machine.ssh("update-ca-certificates")

    def prepare_server(self) -> None:
        self.chapter("Prepare the server")
        self.run("chill-provision", "server", "prepare", SERVER)

    def create(self, *more: str) -> str:
        """Create the instance; or, with no option but --yes, run it once more."""
        return self.run("chill-provision", "create", SLUG, *more, "--yes")

    def first_create(self) -> str:
        self.chapter("Create the instance: production and test, verified, the letter sent")
        return self.create(
            "--client", "ASBL Acme", "--server", SERVER, "--responsible-name", RESPONSIBLE[0],
            "--responsible-email", RESPONSIBLE[1], "--fingerprint", self.fingerprint,
            "--starts", self.past[0].isoformat(), "--tariff", "standard",
        )  # fmt: skip

    def read_letter(self) -> EmailMessage:
        """The letter as the SMTP server received it, and what only the responsible's key opens."""
        self.chapter("The letter, as the mail server received it, and decrypted with the responsible's key")
        (message,) = self.mailbox.received(RESPONSIBLE[1])
        self.say(message.as_string()[:1200] + "\n[…]\n")
        encrypted = list(message.iter_parts())[1]
        self.letter = self.keyring.decrypt(encrypted.get_content()).decode().replace("\r\n", "\n")
        self.say(self.letter)
        self.passwords, self.site = passwords_of(self.letter)
        return message

    def log_in(self) -> dict[str, bool]:
        """Log in to both environments with the passwords of the letter; whether each worked."""
        self.chapter("Log in over HTTPS with the passwords of the letter")
        worked = {}
        for domain in DOMAINS:
            worked[domain] = self.browser(domain).login("admin", self.passwords[domain])
            self.say(f"https://{domain}/  admin  {'logged in' if worked[domain] else 'REFUSED'}")
        return worked

    def play_the_past(self) -> int:
        """A year and more, played day by day on the server, each followed by its nightly count; samples written."""
        first, last = self.past
        self.chapter(f"Play every day from {first} to {last}, and count after each as the nightly job would have")
        self.machine.ssh("mkdir -p /root/demo")
        for name in ("year.py", "nights.py"):
            self.machine.put(HERE / name, f"/root/demo/{name}")
        self.machine.ssh(f"/usr/bin/python3 /root/demo/nights.py history {first} {last}")
        written = 0
        for begin, end in _quarters(first, last):
            written += int(self.machine.ssh(f"/usr/bin/python3 /root/demo/nights.py nights {begin} {end}").stdout)
            self.say(f"{begin} to {end}: {written} samples so far")
        return written

    def work_today(self) -> None:
        """Today, for real: somebody logs in, writes, stores a document, sends SMS and e-mails."""
        self.chapter("Work in the application: a person, a course, a note, a document, SMS and e-mails")
        browser = self.browser(DOMAINS[0])
        if not browser.login("admin", self.passwords[DOMAINS[0]]):
            raise RuntimeError(f"{DOMAINS[0]} refuses the password of the letter")
        person = browser.post("/person", first_name="Pretended", last_name="Somebody").json()["id"]
        course = browser.post("/course", person=str(person)).json()["id"]
        browser.post("/note", course=str(course), text="A pretended note.")
        browser.upload("/document", "letter.odt", b"pretended " * 20_000)
        for number in range(SMS_TODAY):
            browser.post("/sms", to=f"+3247000000{number}", text="A pretended reminder.")
        for number in range(MAILS_TODAY):
            browser.post("/email", to=f"person{number}@example.org", subject="Hello", text="A pretended mail.")
        mails = self.mailbox.wait(lambda box: len(box.messages) >= 1 + MAILS_TODAY, 60)
        sms = self._until(lambda: len(self.provider.outbox.messages) >= SMS_TODAY, 60)
        if not mails or not sms:
            raise RuntimeError("today's e-mails or SMS did not arrive within a minute")
        # The line is written after the provider has answered: the worker has handled all once its queue is empty.
        self.say(f"{MAILS_TODAY} e-mails and {SMS_TODAY} SMS arrived")

    def collect(self) -> None:
        self.chapter("Count on the server, with today's part of the day; fetch the samples; write the papers")
        # As the user whose nightly job it is; the day under way is counted only when asked for.
        self.on_server("runuser -u chill-meter -- chill-meter collect --since yesterday --until today --verbose")

    def pull(self) -> None:
        self.run("chill-meter", "pull")
        for reported in (self.reported, self.today.year):
            day = min(date(reported, 12, 31), self.today)
            self.run("chill-meter", "record", SLUG, "collabora_users", "4", "--day", day.isoformat())

    def report(self) -> str:
        return self.run("chill-report", "annual", str(self.reported), "--out", str(self.papers))

    @staticmethod
    def _until(done: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def _quarters(first: date, last: date) -> list[tuple[date, date]]:
    """The days from `first` to `last` in stretches of about three months, so that progress can be told."""
    starts = [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1, 91)]
    ends = [start - timedelta(days=1) for start in starts[1:]]
    return list(zip(starts, [*ends, last], strict=True))


def played(story: Story) -> list[year.Day]:
    """What was played, to be compared with what was counted."""
    return year.play(*story.past)
