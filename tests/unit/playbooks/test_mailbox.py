"""The mailbox of a test environment: what a tester sees of mails, strange ones included, and what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chill_mailbox import filing, pages, reading, watch
from chill_mailbox.words import WORDS
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_780_000_000.0
FIRST = b"Received: by srv1.example.net (Postfix, from userid 996)\n\tid 4jZ; Thu, 26 Nov 2026 12:00:00 +0100\n"


def box(tmp_path: Path, **changes: object) -> dict[str, Any]:
    """The settings of a mailbox, and its directory."""
    directory = tmp_path / "acme-test.chill.pro"
    directory.mkdir(exist_ok=True)
    plain = {"domain": "acme-test.chill.pro", "uid": 996, "directory": str(directory), "days": 30}
    return {**plain, "messages": 1000, "megabytes": 500, "language": "fr", **changes}


def about(number: int = 1, time: float = NOW) -> dict[str, Any]:
    return {"id": f"4jZ{number}", "uid": 996, "sender": "no-reply@acme", "recipients": ["a@example.org"], "time": time}


def names(settings: Mapping[str, Any]) -> list[str]:
    return sorted(path.name for path in Path(settings["directory"]).iterdir() if path.is_dir())


def test_a_message_is_read_as_its_sender_meant_it() -> None:
    content = FIRST + (
        b"From: =?iso-8859-1?Q?J=E9r=F4me?= <jerome@example.org>\nSubject: =?utf-8?B?w4l0w6k=?=\n =?utf-8?Q?_=C3=A0?=\n"
        b"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n\n"
        b"D\xe9j\xe0\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>D\xc3\xa9j\xc3\xa0</p>\n--b--\n"
    )
    mail = reading.read(content)
    assert mail.subject == "Été à"
    assert ("From", "Jérôme <jerome@example.org>") in mail.headers
    assert (mail.text.strip(), mail.html.strip()) == ("Déjà", "<p>Déjà</p>")
    assert mail.attachments == ()


def test_headers_that_are_plain_utf8_are_read_too() -> None:
    mail = reading.read("Subject: Été\nTo: Zoé <zoe@example.org>\n\nDéjà\n".encode())
    assert (mail.subject, dict(mail.headers)["To"], mail.text) == ("Été", "Zoé <zoe@example.org>", "Déjà\n")


@pytest.mark.parametrize(
    "given_name, written",
    [
        ('filename="../../etc/passwd"', "passwd"),
        (r'filename="C:\\Temp\\note.txt"', "note.txt"),
        ("filename*=utf-8''%C3%A9t%C3%A9%0A.pdf", "été.pdf"),
        ('filename=".."', "1.bin"),
        ('filename="été.pdf"', "été.pdf"),
        ('filename="' + "é" * 200 + '.pdf"', None),
        ("", "1.bin"),
    ],
)
def test_an_attachment_has_a_name_that_is_only_a_name(given_name: str, written: str | None) -> None:
    head = "Content-Type: application/octet-stream\nContent-Disposition: attachment; "
    (attachment,) = reading.read(f"{head}{given_name}\n\nx".encode()).attachments
    assert "/" not in attachment.name
    assert len(attachment.name.encode()) < 256
    assert attachment.name == (written or attachment.name)
    assert attachment.content == b"x"


@given(st.binary(max_size=300), st.sampled_from([b"", b"multipart/mixed; boundary=b", b"message/rfc822", b"text/html"]))
def test_whatever_a_message_holds_it_can_be_shown(tail: bytes, kind: bytes) -> None:
    content = FIRST + b"Subject: " + tail[:100] + b"\nContent-Type: " + kind + b"\n\n--b\n" + tail
    mail = reading.read(content)
    page = pages.page({"language": "fr", "domain": "acme"}, about(), mail)
    assert page.encode("utf-8", "replace")


def test_nothing_of_a_mail_becomes_markup_of_its_page() -> None:
    evil = '"><script>alert(1)</script>'
    content = f"Subject: {evil}\nTo: {evil}\n\n{evil} https://example.org/?a=1&b=2.\n".encode()
    mail = reading.read(content)
    shown = pages.page({"language": "en", "domain": "acme"}, {**about(), "sender": evil, "recipients": [evil]}, mail)
    row = {"name": "n", "time": NOW, "recipients": [evil], "subject": evil, "from": evil, "attachments": 0}
    listed = pages.index({"language": "en", "domain": "acme", "days": 1, "messages": 1}, [row])
    assert "<script" not in shown + listed
    assert '<a href="https://example.org/?a=1&amp;b=2" target="_blank"' in shown


def test_mail_is_filed_listed_and_filed_again_without_a_double(tmp_path: Path) -> None:
    settings = box(tmp_path)
    content = FIRST + b"Subject: Rappel\nTo: a@example.org\n\nBonjour\n"
    for _ in range(2):
        assert filing.file(settings, about(), content)
    filing.bring_up_to_date(settings, NOW)
    directory = Path(settings["directory"])
    (name,) = names(settings)
    assert (directory / name / "message.eml").read_bytes() == content
    assert f'<a href="{name}/">Rappel</a>' in (directory / "index.html").read_text()
    assert "Bonjour" in (directory / name / "index.html").read_text()


def test_old_mail_and_too_much_mail_goes(tmp_path: Path) -> None:
    settings = box(tmp_path, messages=3)
    for day in range(40):
        assert filing.file(settings, about(day, NOW - day * 86400), b"Subject: x\n\n")
    (Path(settings["directory"]) / ".4jZ9.new").mkdir()
    filing.bring_up_to_date(settings, NOW)
    assert [name.partition("-")[2] for name in names(settings)] == ["4jZ2", "4jZ1", "4jZ0"]
    filing.bring_up_to_date({**settings, "days": 1}, NOW + 3600)
    assert [name.partition("-")[2] for name in names(settings)] == ["4jZ0"]
    for number in range(1, 4):
        assert filing.file(settings, about(number, NOW + number), b"Subject: x\n\n" + b"x" * 300_000)
    filing.bring_up_to_date({**settings, "megabytes": 1}, NOW + 3600)
    assert [name.partition("-")[2] for name in names(settings)] == ["4jZ3"]


def test_the_program_says_which_it_filed(tmp_path: Path) -> None:
    settings = box(tmp_path)
    configured = tmp_path / "mailboxes"
    configured.mkdir()
    (configured / "acme-test.chill.pro.json").write_text(json.dumps(settings))
    content = FIRST + b"Subject: x\n\nhello\n"
    records = b"".join(
        json.dumps({**about(number), "size": len(content)}).encode() + b"\n" + content for number in range(3)
    )
    command = [sys.executable, "-m", "chill_mailbox.filing", str(configured)]
    environment = {"PYTHONPATH": str(ROOT / "playbooks/roles/mail/files")}
    done = subprocess.run(command, input=records, env=environment, capture_output=True, check=True)
    assert done.stdout.split() == [b"4jZ0", b"4jZ1", b"4jZ2"]


def test_a_message_belongs_to_the_user_of_its_first_header_alone() -> None:
    spoofed = FIRST.replace(b"996", b"111")
    assert watch.submitter(FIRST + spoofed + b"\nhello") == 996
    assert watch.submitter(b"Subject: x\n" + FIRST + b"\nhello") is None
    assert watch.looks_caught(spoofed + FIRST + b"\nhello", {996: {}})
    assert not watch.looks_caught(spoofed + b"\n" + FIRST, {996: {}})


def test_all_languages_say_the_same() -> None:
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS["fr"])}
