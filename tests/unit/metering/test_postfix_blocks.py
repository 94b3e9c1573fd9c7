"""However a mail log is cut into blocks and runs, and whichever way a block is read, the numbers are the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from metering.server.config import Mail
from metering.server.mailqueue import Senders
from metering.server.moments import Moments
from metering.server.postfix import PostfixLog
from metering.server.postfix_blocks import MOST_DAYS, parts_by_day
from metering.server.state import State

ZONE = ZoneInfo("Europe/Brussels")
RELAYS = frozenset({"127.0.0.1:10024"})
NOBODY = Mail(frozenset(), frozenset(), frozenset())
OURS = {
    "acme": Mail(frozenset({998}), frozenset({"acme"}), frozenset()),
    "beta": Mail(frozenset({7}), frozenset(), frozenset()),
}
ADDRESSED = {**OURS, "gamma": Mail(frozenset(), frozenset(), frozenset({"@gamma.example"}))}
ANSWERS = (
    "status=sent (250 OK)",
    "status=sent (250 2.0.0 Ok: queued as {other})",
    "status=sent (250 Discarded, id={other})",
    "status=sent (250 DISCARDED)",
    "status=deferred (host said: 450, status=sent (250 not really))",
    "status=bounced (no such user)",
    "status=sent",
)
RELAY_NAMES = ("mx.example.org[192.0.2.25]:25", "127.0.0.1[127.0.0.1]:10024", "local")
# Lines as they mostly follow each other.
MAILS = (
    ("pickup[8]: {key}: uid=998 from=<u>", "cleanup[8]: {key}: message-id=<x>", "qmgr[8]: {key}: from=<u@x>, size=9"),
    ("smtpd[8]: {key}: client=h[10.0.0.7], sasl_username=acme", "cleanup[8]: {key}: message-id=<y>"),
    ("smtp[8]: {key}: {delivery}", "qmgr[8]: {key}: removed"),
    ("smtp[8]: {key}: {delivery}", "qmgr[8]: {other}: removed"),
    (
        "pickup[8]: {key}: uid=998 from=<u>",
        "local[8]: {key}: to=<r@srv1>, relay=local, delay=1, dsn=2.0.0, status=sent (forwarded as CCCCC4)",
        "smtp[8]: CCCCC4: {delivery}",
        "qmgr[8]: CCCCC4: removed",
    ),
)
RECIPIENTS = (
    "one@example.org",
    '"a (b"@example.org',
    "discarded@example.org",
    "x@sent.example>, orig_to=<y",
    "a, status=sent (b@c",
)


def some_lines(chance: random.Random, stamp: str, instance: str, host: str) -> str:
    ids = ["AAAAA1", "AAAAA2", "3VN0WK1BCDz2", "BBBBB3"]
    key, other = chance.choice(ids), chance.choice(ids)
    relay, to = chance.choice(RELAY_NAMES), chance.choice(RECIPIENTS)
    answer = chance.choice(ANSWERS).format(other=other)
    delivery = f"to=<{to}>, relay={relay}, delay=1, delays=0/0/0/1, dsn=2.0.0, {answer}"
    program, text = chance.choice(
        [
            ("pickup", f"{key}: uid={chance.choice((998, 7, 0))} from=<u>"),
            ("pickup", f"{key}: uid={chance.choice((998, 7, 0))} from=<u>"),
            ("smtpd", f"{key}: client=host[10.0.0.7]"),
            ("submission/smtpd", f"{key}: client=host[10.0.0.7], sasl_method=PLAIN, sasl_username=acme"),
            ("smtpd", "NOQUEUE: client=localhost[127.0.0.1]"),
            ("qmgr", f"{key}: from=<a@gamma.example>, size=900, nrcpt=1 (queue active)"),
            ("qmgr", f"{key}: removed"),
            ("qmgr", f"{key}: removed"),
            ("smtp", f"{key}: {delivery}"),
            ("smtp", f"{key}: {delivery}"),
            ("smtp", f"{key}: {delivery}"),
            ("smtp", f"message repeated 2 times: [ {key}: {delivery}]"),
            ("lmtp", f"{key}: {delivery}"),
            ("local", f"{key}: to=<r@srv1>, relay=local, delay=1, dsn=2.0.0, status=sent (forwarded as {other})"),
            ("virtual", f"{key}: {delivery}"),
            ("relay/smtp", f"{key}: {delivery}"),
            ("other/smtp", f"{key}: {delivery}"),
            ("cleanup", f"{key}: message-id=<removed>"),
        ]
    )
    if chance.random() < 0.2:
        known = {"key": key, "other": other, "delivery": delivery}
        return "".join(f"{stamp} {host} {instance}/{line.format(**known)}\n" for line in chance.choice(MAILS))
    if chance.random() < 0.03:
        return chance.choice(["garbage\n", "\0\0\n", f"{stamp} {host} opendkim[4]: {key}: removed\n", "\n"])
    return f"{stamp} {host} {instance}/{program}[8]: {text}\n"


def a_log(chance: random.Random) -> bytes:
    """Some lines of some days, in one of the forms of time; now and then another host or another Postfix."""
    form, odd = chance.choice(["+01:00", "Z", "fraction", "syslog"]), chance.choice([0, 0, 0.05])
    seconds, lines = 0.0, []
    first = date(2026, 1, 19)
    for _ in range(chance.choice([40, 150])):
        seconds += chance.choice([1, 30, 3600 if chance.random() < 0.2 else 60])
        day, clock = first + timedelta(days=int(seconds // 86400)), int(seconds % 86400)
        time = f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"
        zone = {"+01:00": "+01:00", "Z": "Z", "fraction": ".123456+01:00"}.get(form, "")
        stamp = f"{day:%b} {day.day:2} {time}" if form == "syslog" else f"{day}T{time}{zone}"
        instance = "postfix-two" if chance.random() < odd else "postfix"
        lines.append(some_lines(chance, stamp, instance, "srv2" if chance.random() < odd else "srv1"))
    return "".join(lines).encode()


class LineByLine(PostfixLog):
    """Takes no block for a plain one."""

    def feed(self, block: bytes) -> None:
        self._feed_lines(b"\n" + block)
        self._go_on(block)


def pieces(log: bytes, chance: random.Random) -> Iterator[bytes]:
    lines = log.splitlines(keepends=True)
    while lines:
        number = chance.choice([1, 3, 20, 500])
        yield b"".join(lines[:number])
        lines = lines[number:]


def counted(
    place: Path,
    log: bytes,
    kind: type[PostfixLog],
    mails: dict[str, Mail],
    relays: frozenset[str],
    chance: random.Random,
) -> list[tuple[object, ...]]:
    """What is counted when the log comes in pieces, now and then to a new process; and what is under way at the end."""
    place.mkdir()
    with State(place) as state:
        state.db.execute("PRAGMA synchronous = OFF")  # nothing here is about power cuts
        reader = kind(Senders(mails), relays, ZONE, state)
        reader.begin("", date(2026, 2, 20))
        for piece in pieces(log, chance):
            reader.feed(piece)
            if chance.random() < 0.2:
                with state.transaction():
                    reader.store(state)
                context = reader.context()
                reader = kind(Senders(mails), relays, ZONE, state)
                reader.begin(context, date(2026, 2, 20))
        with state.transaction():
            reader.store(state)
        return [
            *state.db.execute("SELECT day, instance, value FROM counts ORDER BY day, instance"),
            *state.db.execute("SELECT key, owner, sender FROM queue WHERE owner <> '' ORDER BY key"),
        ]


@pytest.mark.parametrize("seed", range(120))
def test_blocks_runs_and_ways_of_reading_do_not_matter(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    log = a_log(chance)
    mails = ADDRESSED if seed % 3 == 0 else OURS
    relays = RELAYS if seed % 3 == 1 else frozenset[str]()
    found = [
        counted(tmp_path / f"{number}", log, kind, mails, relays, random.Random(seed * 10 + number))
        for number, kind in enumerate([LineByLine, PostfixLog, PostfixLog])
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("form", ["%Y-%m-%dT{hour}:00:00+01:00", "%Y-%m-%dT{hour}:00:00Z", "%b %e {hour}:00:00"])
@pytest.mark.parametrize("days", [1, 2, 4, 30])
def test_a_block_is_cut_where_its_days_end(form: str, days: int) -> None:
    of_days = [
        "".join(f"{(date(2026, 1, 19) + timedelta(day)):{form.format(hour=hour)}} srv1 x: y\n" for hour in (20, 21))
        for day in range(days)
    ]
    parts = parts_by_day("".join(of_days).encode(), Moments(ZONE))
    assert b"".join(parts).decode() == "".join(of_days)
    assert len(parts) <= MOST_DAYS + 1
    assert days > 4 or all(
        len({line.split(b" 2")[0].split(b"T")[0] for line in part.splitlines()}) == 1 for part in parts
    )
