"""Letters about quotas, as a real mail server receives them: each once, also when it refuses or a run is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.ssh_server import free_port
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, write_run

ROOT = Path(__file__).parents[2]
YESTERDAY = datetime.now(ZoneInfo("Europe/Brussels")).date() - timedelta(days=1)
TARIFF = f"""\
[[version]]
valid_from = {YESTERDAY.year}-01-01
  [version.emails]
  included = 1000
  [version.documents]
  measure = "last"
  included_gb = 20
"""
TO = "facturation@example.org"


@dataclass
class Inbox:
    """Keeps what it gets; answers what it is told to; does what it is told to when a client says good-bye."""

    answer: str = "250 OK"
    on_quit: Callable[[], None] = lambda: None
    received: list[Envelope] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.received.append(envelope)
        return self.answer

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        # In a thread, so that it may come back to this server.
        await asyncio.to_thread(self.on_quit)
        return "221 Bye"

    def letters(self) -> list[EmailMessage]:
        return [
            cast("EmailMessage", message_from_bytes(bytes(one.content or b""), policy=policy.default))
            for one in self.received
        ]


@dataclass(frozen=True)
class Site:
    fleet: Path
    inbox: Inbox

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "metering.cli"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *arguments, "--fleet", str(self.fleet)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def count(self, metric: str, value: int, slug: str = "acme", hour: int = 0) -> None:
        """A sample of yesterday; what is counted at a later hour takes the place of what was counted before."""
        number = ("emails_sent", "document_bytes").index(metric)
        at = f"{YESTERDAY:%Y%m%d}T{20 + hour:02d}{number:02d}{len(slug):02d}Z"
        write_run(self.fleet / "ledger" / str(YESTERDAY.year), YESTERDAY.isoformat(), at, {(slug, metric): value})

    def notes(self) -> list[dict[str, object]]:
        path = self.fleet / f"journal/quotas/{YESTERDAY.year}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    fleet = make_ledger_fleet(tmp_path / "fleet", ("acme", "relais")).directory
    for path in (fleet / "inventory/instances").iterdir():
        path.write_text(path.read_text().replace("2026-03-01", f"{YESTERDAY.year}-01-01"))
    (fleet / "tariffs/standard.toml").write_text(TARIFF)
    settings = (fleet / "chill.toml").read_text()
    mail = f'sender = "adminsys@example.org"\nhost = "127.0.0.1"\nport = {controller.port}\n'
    settings = settings.replace('sender = "adminsys@example.org"\n', mail)
    (fleet / "chill.toml").write_text(f'{settings}\n[metering]\nquota_mail_to = "{TO}"\n')
    # No server to pull from.
    (fleet / "inventory/servers.yml").write_text(
        "servers:\n  hosts:\n    srv1.example.net: {}\n    srv2.example.net: {}\n"
    )
    try:
        yield Site(fleet, inbox)
    finally:
        controller.stop()


def lines(letter: EmailMessage) -> list[str]:
    return str(letter.get_content()).splitlines()


def test_a_crossing_is_told_once_per_mark(site: Site) -> None:
    site.count("emails_sent", 799)
    assert site.run("quota", "--mail").returncode == 0
    assert site.inbox.received == []
    site.count("emails_sent", 812, hour=1)
    done = site.run("quota", "--mail")
    assert done.returncode == 0, done.stderr
    year = YESTERDAY.year
    assert done.stderr == f"letter sent: acme emails_sent has reached 80% of {year}'s quota\n"
    site.run("quota", "--mail")
    assert len(site.inbox.received) == 1
    site.count("emails_sent", 1400, hour=2)
    site.count("document_bytes", 16 * 10**9, "relais")
    assert site.run("quota", "--mail").returncode == 0
    assert site.run("quota", "--mail").stderr == ""
    letters = site.inbox.letters()
    assert [letter["Message-ID"] for letter in letters] == [
        f"<quota.{year}.acme.emails_sent.80@chill.pro>",
        f"<quota.{year}.acme.emails_sent.100@chill.pro>",
        f"<quota.{year}.relais.document_bytes.80@chill.pro>",
    ]
    assert {str(letter["To"]) for letter in letters} == {TO}
    assert {str(letter["From"]) for letter in letters} == {"adminsys@example.org"}
    assert {str(letter["Auto-Submitted"]) for letter in letters} == {"auto-generated"}
    assert letters[0]["Subject"] == f"acme : 80 % du quota d’e-mails de {year} atteints"
    assert lines(letters[0])[3:5] == ["    Utilisé    812  (81 %)", "    Inclus     1\u202f000"]
    assert "Ce qui dépasse le quota sera facturé" in letters[1].get_content()
    assert lines(letters[2])[3:5] == ["    Utilisé    16,0 GB  (80 %)", "    Inclus     20,0 GB"]
    assert [(note["instance"], note["metric"], note["mark"], note["used"]) for note in site.notes()] == [
        ("acme", "emails_sent", 80, 812),
        ("acme", "emails_sent", 100, 1400),
        ("relais", "document_bytes", 80, 16 * 10**9),
    ]
    assert "@example.org" not in json.dumps(site.notes())


@pytest.mark.parametrize(
    "language, subject, line",
    [
        ("en", "acme: 100% of the e-mail quota of", "    Used       1,000  (100%)"),
        ("nl", "acme: 100% van het e-mailquotum van", "    Gebruikt     1.000  (100%)"),
    ],
)
def test_it_is_written_in_the_fleet_s_language(site: Site, language: str, subject: str, line: str) -> None:
    settings = site.fleet / "chill.toml"
    settings.write_text(f'language = "{language}"\n{settings.read_text()}')
    site.count("emails_sent", 1000)
    assert site.run("quota", "--mail").returncode == 0
    (letter,) = site.inbox.letters()
    assert str(letter["Subject"]).startswith(subject)
    assert line in lines(letter)
    assert len(site.notes()) == 2


def test_what_the_mail_server_refuses_is_sent_later(site: Site) -> None:
    site.count("emails_sent", 900)
    site.inbox.answer = "451 try again later"
    done = site.run("quota", "--mail")
    assert done.returncode == 3
    assert "a letter about a quota was not sent" in done.stderr
    assert "451 try again later" in done.stderr
    assert site.notes() == []
    site.inbox.answer = "250 OK"
    assert site.run("quota", "--mail").returncode == 0
    assert site.run("quota", "--mail").returncode == 0
    assert len(site.inbox.received) == 1


def test_a_run_that_is_killed_before_it_noted_a_letter_sends_the_same_one_again(site: Site) -> None:
    """The mail server has taken the letter, the note is not written: the worst moment."""
    site.count("emails_sent", 900)
    process = subprocess.Popen([*site.command, "quota", "--mail", "--fleet", str(site.fleet)], cwd=ROOT)
    site.inbox.on_quit = lambda: os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert (len(site.inbox.received), site.notes()) == (1, [])
    site.inbox.on_quit = lambda: None
    for _ in range(2):
        assert site.run("quota", "--mail").returncode == 0
    assert len(site.inbox.received) == 2
    assert len({letter["Message-ID"] for letter in site.inbox.letters()}) == 1
    assert len(site.notes()) == 1


def test_a_note_that_was_cut_is_written_anew(site: Site) -> None:
    site.count("emails_sent", 900)
    site.run("quota", "--mail")
    path = site.fleet / f"journal/quotas/{YESTERDAY.year}.jsonl"
    path.write_text(path.read_text()[:-20])
    for _ in range(2):
        assert site.run("quota", "--mail").returncode == 0
    assert len(site.inbox.received) == 2
    assert len(site.notes()) == 1


def test_notes_that_cannot_be_read_stop_the_letters(site: Site) -> None:
    site.count("emails_sent", 900)
    path = site.fleet / f"journal/quotas/{YESTERDAY.year}.jsonl"
    path.parent.mkdir()
    path.write_text("not a note\n")
    done = site.run("quota", "--mail")
    assert done.returncode == 3
    assert f"journal/quotas/{path.name}:1: is not a note about a letter" in done.stderr
    assert site.inbox.received == []


def test_two_runs_at_once_send_one_letter(site: Site) -> None:
    """The second runs when the mail server has taken the letter of the first, which has not noted it yet."""
    site.count("emails_sent", 900)
    second: list[subprocess.CompletedProcess[str]] = []

    def run_again() -> None:
        site.inbox.on_quit = lambda: None
        second.append(site.run("quota", "--mail"))

    site.inbox.on_quit = run_again
    assert site.run("quota", "--mail").returncode == 0
    assert second[0].returncode == 3
    assert "another command is sending the letters about quotas" in second[0].stderr
    assert len(site.inbox.received) == 1


def test_a_pull_sends_what_is_due_at_its_end(site: Site) -> None:
    site.count("emails_sent", 900)
    done = site.run("pull", "srv1.example.net")
    # The server does not exist; the letter goes out all the same.
    assert done.returncode == 3
    assert "letter sent: acme emails_sent has reached 80%" in done.stderr
    assert len(site.inbox.received) == 1


def test_without_an_address_nobody_is_told(site: Site) -> None:
    settings = site.fleet / "chill.toml"
    settings.write_text(settings.read_text().replace(f'quota_mail_to = "{TO}"', ""))
    site.count("emails_sent", 900)
    site.run("pull", "srv1.example.net")
    done = site.run("quota", "--mail")
    assert done.returncode == 2
    assert "chill.toml: metering.quota_mail_to: is missing" in done.stderr
    assert site.inbox.received == []


def test_the_quotas_are_shown_and_given_to_programs(site: Site) -> None:
    site.count("emails_sent", 1400)
    shown = site.run("quota", "acme").stdout
    assert re.search(r"^acme +emails_sent +1 400 +1 000 +140%!!$", shown, re.MULTILINE)
    assert "relais" not in shown
    values = json.loads(site.run("quota", "--json").stdout)
    assert {"instance": "acme", "metric": "emails_sent", "year": YESTERDAY.year, "included": 1000, "used": 1400,
            "percent": 140, "marks": [80, 100]} in values  # fmt: skip
    done = site.run("quota", "ghost")
    assert done.returncode == 2
