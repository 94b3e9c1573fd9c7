"""E-mails are counted from a real systemd journal, exactly once. `systemd-journal-remote` writes the journal files, and
the real journalctl reads them, so that no systemd has to run.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.test_exactly_once import Killer, kill_collections
from tests.unit.metering.server_side import YESTERDAY, Server

REMOTE = "/lib/systemd/systemd-journal-remote"
TEXT = '[postfix]\njournal = true\njournal_directory = "journal"\n[instances.acme.mail]\nuids = [998]\n'
DAY = YESTERDAY.isoformat()
BEGIN = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, 8, 0, tzinfo=UTC)
MAIL, DAEMON = 2, 3


def entry(moment: datetime, identifier: str, message: str, facility: int = MAIL) -> str:
    """In the journal's export format (systemd's JOURNAL_EXPORT_FORMATS)."""
    micro = int(moment.timestamp() * 1_000_000)
    return (
        f"__REALTIME_TIMESTAMP={micro}\n__MONOTONIC_TIMESTAMP={micro % 10**12}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=0123456789abcdef0123456789abcde0\n"
        f"SYSLOG_FACILITY={facility}\nPRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\nSYSLOG_PID=81\n_HOSTNAME=srv1\n"
        f"MESSAGE={message}\n\n"
    )


def mails(first: int, number: int) -> str:
    """So many mails, one a minute, with other programs' entries between."""
    text = ""
    for n in range(first, first + number):
        moment, key = BEGIN + timedelta(seconds=20 * n), f"{n:08X}"
        to = "to=<x@example.org>, relay=mx.example.org[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0"
        text += entry(moment, "postfix/pickup", f"{key}: uid=998 from=<acme>")
        text += entry(moment, "cron", f"{key}: uid=998 from=<acme>", DAEMON)
        text += entry(moment, "postfix/smtp", f"{key}: {to}, status=sent (250 OK)")
        text += entry(moment, "postfix/qmgr", f"{key}: removed")
    return text


def add(server: Server, text: str, name: str = "one") -> None:
    directory = server.root / "journal"
    directory.mkdir(exist_ok=True)
    command = [REMOTE, f"--output={directory / name}.journal", "-"]
    subprocess.run(command, input=text, text=True, check=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, TEXT)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    one = Killer()
    yield one
    one.close()


def test_every_mail_counts_once_run_after_run(server: Server) -> None:
    add(server, mails(0, 5))
    assert not server.collect().failures
    assert not server.collect().failures
    add(server, mails(5, 3))
    outcome = server.collect()
    assert server.values("emails_sent") == {DAY: 8}
    assert not outcome.notices


def test_killed_at_any_instant_every_mail_counts_once(server: Server, killer: Killer) -> None:
    chance = random.Random(20261123)
    for turn in range(6):
        add(server, mails(turn * 100, 100), name=f"part{turn // 2}")
        kill_collections(killer, server, chance, kills=8)
    assert killer.collect(server).startswith("done ")
    assert server.values("emails_sent") == {DAY: 600}


def test_a_mail_under_way_between_two_readings_counts(server: Server) -> None:
    begun, delivered = mails(0, 1).split("\n\n", 1)
    add(server, begun + "\n\n")
    server.collect()
    add(server, delivered)
    server.collect()
    assert server.values("emails_sent") == {DAY: 1}


def test_a_journal_that_was_cleaned_up_too_far_is_told(server: Server) -> None:
    add(server, mails(0, 5), name="old")
    server.collect()
    add(server, mails(10, 2), name="new")
    (server.root / "journal" / "old.journal").unlink()
    outcome = server.collect()
    assert any("was cleaned up to after where it was read" in notice for notice in outcome.notices)
    assert server.values("emails_sent") == {DAY: 7}
    assert not server.collect().notices


def test_a_journal_that_shows_nothing_is_a_failure_and_not_zero(server: Server) -> None:
    (server.root / "journal").mkdir()
    outcome = server.collect()
    assert (
        "shows no entry at all; is the user of the collection in the group systemd-journal?" in outcome.failures[0][1]
    )
    add(server, mails(0, 2))
    assert not server.collect().failures
    assert server.values("emails_sent") == {DAY: 2}


def test_a_journal_that_is_not_there_is_a_failure(server: Server) -> None:
    assert "cannot be read: journalctl failed" in server.collect().failures[0][1]


def test_a_reading_that_breaks_off_counts_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journalctl that dies after some entries: what it had said is read again, not counted twice."""
    add(server, mails(0, 50))
    broken = server.root / "bin" / "journalctl"
    broken.parent.mkdir()
    broken.write_text(
        '#!/bin/sh\ncase "$*" in *SYSLOG_*) /usr/bin/journalctl "$@" | head -n 60; kill -9 $$ ;; esac\n'
        'exec /usr/bin/journalctl "$@"\n'
    )
    broken.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{broken.parent}:/usr/bin:/bin")
        assert "journalctl" in server.collect().failures[0][1]
    assert not server.collect().failures
    assert server.values("emails_sent") == {DAY: 50}


def test_a_journal_without_mail_is_zero(server: Server) -> None:
    add(server, entry(BEGIN, "cron", "nothing to do", DAEMON))
    assert not server.collect().failures
    assert server.values("emails_sent") == {DAY: 0}


def test_a_day_before_the_journal_begins_is_a_failure(server: Server) -> None:
    add(server, mails(0, 2))
    server.collect(since=YESTERDAY - timedelta(days=2))
    assert server.failed("emails_sent").keys() == {
        (YESTERDAY - timedelta(days=2)).isoformat(),
        (YESTERDAY - timedelta(days=1)).isoformat(),
    }
    assert server.values("emails_sent") == {DAY: 2}


def test_from_files_to_the_journal_nothing_counts_twice(tmp_path: Path) -> None:
    files = TEXT.replace('journal = true\njournal_directory = "journal"', 'logs = ["mail.log"]')
    server = Server(tmp_path, files)
    add(server, mails(0, 5))
    (tmp_path / "mail.log").write_text(as_a_file(server))
    server.collect()
    assert server.values("emails_sent") == {DAY: 5}

    server.config.write_text(server.head + TEXT)
    assert any("from the journal from now on" in notice for notice in server.collect().notices)
    assert not server.collect().notices
    add(server, mails(5, 2))
    server.collect()
    assert server.values("emails_sent") == {DAY: 7}

    server.config.write_text(server.head + files)
    assert "files would count them twice" in server.collect(since=YESTERDAY).failures[0][1]
    assert server.values("emails_sent") == {DAY: 7}


def as_a_file(server: Server) -> str:
    """What rsyslog would have written of the same entries."""
    command = ["journalctl", "-qa", "--utc", "-o", "short-iso", "-D", str(server.root / "journal"), "SYSLOG_FACILITY=2"]
    shown = subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout
    return re.sub(r"\+0000 ", "+00:00 ", shown)
