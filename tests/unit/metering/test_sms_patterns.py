"""Which records stand for SMS is configuration: channel, level, message, context; how many, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metering.server.config import load_config
from metering.server.errors import MeterError
from tests.unit.metering.server_side import YESTERDAY, Server, sms_lines

NUMBER = "+32499123456"
JOB = {"status": "sent", "response": {"validReceivers": [NUMBER, NUMBER], "totalCreditsRemoved": 3}}
PATTERN = """
[[instances.acme.sms]]
channel = "sms"
level = "NOTICE"
message = 'job (taken|accepted)'
where = {status = "sent"}
messages = "response.validReceivers"
credits = "response.totalCreditsRemoved"
"""
INSTANCE = '[instances.acme]\nlogs = ["app/metering.log*"]\n'


def line(message: str = "job taken", context: object = JOB, channel: str = "sms", level: str = "NOTICE") -> str:
    return f"[{YESTERDAY}T10:00:00+01:00] {channel}.{level}: {message} {json.dumps(context)} []\n"


def record(**changes: object) -> dict[str, object]:
    values = {"message": "job taken", "context": JOB, "channel": "sms", "level_name": "NOTICE"}
    return {**values, "datetime": f"{YESTERDAY}T10:00:00+01:00", **changes}


def collected(tmp_path: Path, log: str, pattern: str = PATTERN) -> tuple[int, str]:
    """The value and the note of yesterday's sms_sent."""
    server = Server(tmp_path, INSTANCE + pattern)
    server.log.write_text(log)
    server.collect()
    (row,) = server.rows()
    assert NUMBER.encode() not in server.everything_written()
    return int(row["value"]), row["note"]


@pytest.mark.parametrize(
    "log, value, note",
    [
        (line(), 2, "3 credits"),
        (line("job accepted") * 2, 4, "6 credits"),
        (json.dumps(record()) + "\n", 2, "3 credits"),
        (json.dumps([record(), record(level_name="ERROR"), record(message="job taken")]) + "\n", 4, "6 credits"),
        # What it does not say counts as one message; nothing is made up of the credits.
        (line(context={"status": "sent"}), 1, ""),
        (
            line(context={"status": "sent", "response": {"validReceivers": "7", "totalCreditsRemoved": 1.0}}),
            7,
            "1 credits",
        ),
        (line(context={"status": "sent", "response": {"validReceivers": []}}), 0, ""),
        (line(context={"status": "sent", "response": {"validReceivers": True}}), 1, ""),
        (line(context={"status": "failed"}), 0, ""),
        (line("job refused"), 0, ""),
        (line("my job taken"), 0, ""),
        (line("job taken over"), 0, ""),
        (line(channel="app"), 0, ""),
        (line(level="ERROR"), 0, ""),
        # Patterns of one's own take the place of the usual one.
        (sms_lines(1), 0, ""),
    ],
)
def test_a_record_says_how_many_messages_and_credits(tmp_path: Path, log: str, value: int, note: str) -> None:
    assert collected(tmp_path, log) == (value, note)


def test_numbers_in_the_message_itself(tmp_path: Path) -> None:
    pattern = "[[instances.acme.sms]]\nchannel = 'sms'\nmessage = '(?P<messages>\\d+) sent for (?P<credits>\\d+) .*'\n"
    log = line("3 sent for 5 [credits] {today}", [], level="INFO") + line("12 sent for 20 c", {}, level="INFO")
    assert collected(tmp_path, log, pattern) == (15, "25 credits")


def test_several_patterns_count_a_record_once(tmp_path: Path) -> None:
    other = '[[instances.acme.sms]]\nchannel = "messenger"\nmessage = ".*"\n'
    both = sms_lines(2) + line()
    assert collected(tmp_path, both, PATTERN + PATTERN + other) == (4, "3 credits")


def test_a_channel_that_json_escapes(tmp_path: Path) -> None:
    pattern = '[[instances.acme.sms]]\nchannel = "envoyé"\nmessage = ".*"\n'
    log = json.dumps(record(channel="envoyé", level_name="INFO")) + "\n"
    assert "\\u00e9" in log
    assert collected(tmp_path, log, pattern) == (1, "")


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("sms = 1", "instances.acme.sms: expected an array of tables"),
        ('[[instances.acme.sms]]\nmessage = "x"', "instances.acme.sms[1].channel: is missing"),
        (
            '[[instances.acme.sms]]\nchannel = "x"\nmessage = "(x"',
            "sms[1].message: is not a regular expression: missing )",
        ),
        (PATTERN.replace('"NOTICE"', '"notice"'), "sms[1].level: is not of the form"),
        (PATTERN.replace("{status", "{7"), "instances.acme.sms[1].where"),
        (PATTERN.replace("messages =", "mesages ="), "sms[1].mesages: is not a key that is known here"),
        (PATTERN.replace('"response.valid', '"response..valid'), "sms[1].messages: is not of the form"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, pattern: str, words: str) -> None:
    if words.endswith("where"):
        pattern = pattern.replace('"sent"', "1")
    server = Server(tmp_path, INSTANCE + pattern)
    with pytest.raises(MeterError) as caught:
        load_config(server.config)
    assert caught.value.status == 2
    assert words in caught.value.message
