"""A pretended past of an instance: who worked when, what was sent and stored; and the logs that it would have left.

Deterministic and pure: the same days give the same activity, so that a test can compare what was counted with what was
played. It needs the standard library only, since it also runs on the lab server. The log lines have the forms of
Debian 12 (rsyslog's RFC 3339 format, Postfix 3.7, Monolog 2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

TEAM = (
    "anna", "bilal", "chloe", "david", "eva", "farid", "greet", "hugo", "ines", "jonas", "karima", "luc", "mila",
    "noor",
)  # fmt: skip
SUPPORT = "support"
MB = 10**6


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day: people who wrote, people who only logged in, messages, bytes of documents stored."""

    day: date
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    sms: int
    emails: int
    stored: int

    @property
    def active(self) -> frozenset[str]:
        """Who counts as active: writers and readers, each once, the support account never."""
        return (frozenset(self.writers) | frozenset(self.readers)) - {SUPPORT}


def _draw(day: date, what: str, sides: int) -> int:
    """A die that falls the same way for the same day and purpose."""
    digest = hashlib.sha256(f"{day.isoformat()} {what}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % sides


def play(first: date, last: date) -> list[Day]:
    """The activity from `first` to `last`, both included: a team that grows, quiet weekends, a long summer break."""
    return [_play_day(date.fromordinal(n)) for n in range(first.toordinal(), last.toordinal() + 1)]


def _play_day(day: date) -> Day:
    team = TEAM[: 6 + min(8, day.month * 2 // 3)]
    quiet = day.weekday() >= 5 or (day.month == 7 and day.day > 20)
    if quiet:
        return Day(day, (), (SUPPORT,) if day.weekday() == 5 else (), 0, _draw(day, "mails", 3), 0)
    writers = tuple(name for name in team if _draw(day, f"write {name}", 10) < 4)
    readers = tuple(name for name in team if _draw(day, f"read {name}", 10) < 2)
    return Day(
        day=day,
        writers=writers,
        readers=readers,
        sms=_draw(day, "sms", 12),
        emails=20 + _draw(day, "mails", 50),
        stored=40 * MB + _draw(day, "stored", 120 * MB),
    )


def _moments(day: date, zone: ZoneInfo, count: int) -> Iterator[datetime]:
    """`count` moments within office hours, in order."""
    start = datetime.combine(day, time(8, 30), zone)
    step = timedelta(hours=9) / max(count, 1)
    return (start + step * n + timedelta(microseconds=123456) for n in range(count))


def monolog_lines(days: Sequence[Day], zone: ZoneInfo) -> Iterator[str]:
    """The metering log of those days: logins and SMS, as Monolog writes them."""
    sms = r"Symfony\Component\Notifier\Message\SmsMessage"
    token = r"Symfony\\Component\\Security\\Http\\Authenticator\\Token\\PostAuthenticationToken"
    for day in days:
        logins = (*day.readers, *day.writers)
        for moment, user in zip(_moments(day.day, zone, len(logins)), logins, strict=True):
            yield (
                f"[{moment.isoformat()}] security.INFO: Authenticator successful! "
                f'{{"token":{{"{token}":"PostAuthenticationToken(user=\\"{user}\\", roles=\\"ROLE_USER\\")"}},'
                '"authenticator":"FormLoginAuthenticator"} []'
            )
        for moment in _moments(day.day, zone, day.sms):
            escaped = sms.replace("\\", "\\\\")
            yield (
                f"[{moment.isoformat()}] messenger.INFO: {sms} was handled successfully (acknowledging to transport). "
                f'{{"class":"{escaped}"}} []'
            )


def postfix_lines(days: Sequence[Day], zone: ZoneInfo, uid: int, host: str) -> Iterator[str]:
    """The mail log of those days: mails of the Unix user `uid`, one a day deferred at first, and some of root's own."""
    number = 0
    for day in days:
        for index, moment in enumerate(_moments(day.day, zone, day.emails)):
            number += 1
            yield from _delivery(moment, host, f"{number:010X}", uid, f"person{index % 7}@example.org", index == 0)
        night = datetime.combine(day.day, time(3, 0), zone)
        yield from _delivery(night, host, f"{number:09X}F", 0, "root@example.net", False)


def _delivery(moment: datetime, host: str, queue: str, uid: int, to: str, deferred: bool) -> Iterator[str]:
    stamp = moment.isoformat()
    sender = f"user{uid}@{host}"
    relay = "relay=mx.example.org[192.0.2.25]:25, delay=0.6, delays=0.1/0/0.2/0.3"
    yield f"{stamp} {host} postfix/pickup[811]: {queue}: uid={uid} from=<{sender}>"
    yield f"{stamp} {host} postfix/cleanup[812]: {queue}: message-id=<{queue}@{host}>"
    yield f"{stamp} {host} postfix/qmgr[700]: {queue}: from=<{sender}>, size=1834, nrcpt=1 (queue active)"
    if deferred:
        yield f"{stamp} {host} postfix/smtp[813]: {queue}: to=<{to}>, {relay}, dsn=4.7.1, status=deferred (later)"
    yield f"{stamp} {host} postfix/smtp[813]: {queue}: to=<{to}>, {relay}, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
    yield f"{stamp} {host} postfix/qmgr[700]: {queue}: removed"
