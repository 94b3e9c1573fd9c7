"""What counts in Monolog's lines and JSON."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from metering.server.monolog import MonologParser

SMS = r"Symfony\Component\Notifier\Message\SmsMessage"
DONE = "was handled successfully (acknowledging to transport)."
CLASS = json.dumps({"class": SMS})
TIME = "2026-01-02T23:30:05.678901+00:00"
TOKEN = 'PostAuthenticationToken(user=\\"{}\\", authenticated=true, roles=\\"ROLE_USER, ROLE_ADMIN\\")'


def record(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {"message": f"{SMS} {DONE}", "context": {"class": SMS}, "level": 200}
    return values | {"level_name": "INFO", "channel": "messenger", "datetime": TIME, "extra": {}} | changes


def events(text: str) -> list[tuple[str, str, str]]:
    parser = MonologParser(ZoneInfo("Europe/Brussels"))
    return [(event.kind, event.moment.day, event.user) for event in parser.events((text + "\n").encode())]


COUNTED = {
    "line": f"[{TIME}] messenger.INFO: {SMS} {DONE} {CLASS} []",
    "line without context": f"[{TIME}] messenger.INFO: {SMS} {DONE} [] []",
    "line, placeholder": f"[{TIME}] messenger.INFO: {{class}} {DONE} {CLASS} []",
    "line, no fraction, zone without colon": f"[2026-01-02T23:30:05+0000] messenger.INFO: {SMS} {DONE} [] []",
    "line, local time of Monolog 1": f"[2026-01-03 00:30:05] messenger.INFO: {SMS} {DONE} [] []",
    "JSON": json.dumps(record()),
    "JSON, placeholder": json.dumps(record(message=f"{{class}} {DONE}")),
    "JSON, time of Monolog 1": json.dumps(
        record(
            datetime={
                "date": "2026-01-02 18:30:05.678901",
                "timezone_type": 3,
                "timezone": "America/New_York",
            }
        )
    ),
}

NOT_COUNTED = {
    "retry": f"[{TIME}] messenger.WARNING: Error thrown while handling message {SMS}. Sending for retry #1",
    "failure": f"[{TIME}] messenger.CRITICAL: Error thrown while handling message {SMS}. Removing it",
    "received": f"[{TIME}] messenger.INFO: Received message {SMS} {CLASS} []",
    "e-mail": f"[{TIME}] messenger.INFO: Symfony\\Mailer\\SendEmailMessage {DONE} [] []",
    "e-mail, placeholder": f'[{TIME}] messenger.INFO: {{class}} {DONE} {{"class":"x"}} []',
    "quoted by another": f"[{TIME}] app.INFO: somebody wrote: {SMS} {DONE} [] []",
    "quoted inside a message": f"[{TIME}] messenger.INFO: said [{TIME}] messenger.INFO: {SMS} {DONE} [] []",
    "other channel": f"[{TIME}] app.INFO: {SMS} {DONE} [] []",
    "other level": f"[{TIME}] messenger.DEBUG: {SMS} {DONE} [] []",
    "no date": f"[2026-99-99T99:99:99+00:00] messenger.INFO: {SMS} {DONE} [] []",
    "cut": f"[{TIME}] messenger.INFO: {SMS} was handled successfully (ackn",
    "JSON cut": json.dumps(record())[:-5],
    "JSON, other level": json.dumps(record(level_name="DEBUG")),
    "JSON, no time": json.dumps(record(datetime=None)),
    "JSON, deep": "[" * 100_000 + "was handled successfully",
    "login refused": f"[{TIME}] security.INFO: Authenticator failed. [] []",
    "login without a name": f"[{TIME}] security.INFO: Authenticator successful! [] []",
}


@pytest.mark.parametrize("name", COUNTED)
def test_an_sms(name: str) -> None:
    assert events(COUNTED[name]) == [("sms", "2026-01-03", "")]


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_nothing(name: str) -> None:
    assert events(NOT_COUNTED[name]) == []


def test_a_batch() -> None:
    assert len(events(json.dumps([record(), record(channel="app"), record()]))) == 2


@pytest.mark.parametrize("user", ["alice", "Zoé Ünal", 'o\'neil "x"', "a\\b", "a@b.org"])
def test_a_login(user: str) -> None:
    text = f'PostAuthenticationToken(user="{user}", roles="ROLE_USER")'
    login = [("login", "2026-01-03", user)]
    for context in ({"token": {"A\\Class": text}, "authenticator": "x"}, {"token": text}):
        dumped = json.dumps(context)
        assert events(f"[{TIME}] security.INFO: Authenticator successful! {dumped} []") == login
        json_record = record(message="Authenticator successful!", channel="security", context=context)
        assert events(json.dumps(json_record)) == login


def test_a_login_as_symfony_5_wrote_it() -> None:
    line = '[{}] security.INFO: Authenticator successful! {{"token":{{"X\\\\Token":"{}"}}}} []'
    assert events(line.format(TIME, TOKEN.format("alice"))) == [("login", "2026-01-03", "alice")]


def test_a_login_as_the_guard_wrote_it() -> None:
    line = f'[{TIME}] security.INFO: User has been authenticated successfully. {{"username":"alice"}} []'
    assert events(line) == [("login", "2026-01-03", "alice")]
