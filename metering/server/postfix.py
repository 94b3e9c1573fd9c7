"""Postfix's log: recipients of final external delivery, per day and instance.

Format: Postfix 2.3 to 3.10 as logged through syslog (RFC 3164 or RFC 3339 times), `syslog_name` being
anything, with a dot or a slash in it or not. A delivery is one `status=sent` line of smtp(8) per recipient.
Not counted are: deliveries to internal relays (hops), to mailboxes and programs of this machine (local,
virtual, pipe, lmtp), and what the other side discarded.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.mailqueue import MailQueue, Senders
from metering.server.moments import Moment, Moments, Years
from metering.server.state import State

SOURCE: Final = "postfix"

_STAMP: Final = (
    rb"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?"
    rb"|([A-Z][a-z][a-z] [ \d]\d \d\d:\d\d):\d\d)"
)
# Time, host, tag, process, and the queue id, which rsyslog may have put into a note that it left out
# repetitions.
_LINE = re.compile(
    _STAMP + rb" \S+ ([^\s\[]+)\[\d+\]: (?:message repeated (\d+) times: \[ ?)?([0-9A-Za-z]{5,}): ", re.ASCII
)
_FIRST = re.compile(rb"^" + _STAMP + rb" ", re.MULTILINE | re.ASCII)
_DELIVERY = re.compile(
    rb"to=<[^\n]*?>, (?:orig_to=<[^\n]*?>, )?relay=([^,\n]+), "
    rb"(?:(?!status=)[a-z_]+=[^,\n]+, )*status=sent(?: \(([^\n]*))?"
)
_SASL = re.compile(rb", sasl_username=([^,\n]+)")
_RELAY = re.compile(rb"(.*?)\[(.*)\](:\d+)?")
_QUEUED = re.compile(rb"\b(?:queued|forwarded) as <?([0-9A-Za-z]+)")
_REMOVED = re.compile(rb"\]: ([0-9A-Za-z]{5,}): removed\n")
_REMOVED_TAGGED = re.compile(rb" ([^\s\[]+)\[\d+\]: ([0-9A-Za-z]{5,}): removed\n")

# What is looked for in a block, and which method reads such a line.
_SUBMISSIONS: Final = ((b": uid=", "_pickup"), (b": client=", "_smtpd"))
_DELIVERIES: Final = ((b" status=sent", "_sent"),)
_ADDRESSES: Final = ((b": from=<", "_from"),)


class PostfixLog:
    """Counts the recipients that each instance's mails reached. A `logs.Consumer`."""

    def __init__(self, senders: Senders, internal_relays: Collection[str], zone: ZoneInfo, state: State) -> None:
        self._senders = senders
        self._internal = frozenset(relay.replace("[", "").replace("]", "").encode() for relay in internal_relays)
        self._moments = Moments(zone)
        self._years = Years("", date.min)
        self._tags: dict[bytes, tuple[bytes, bytes]] = {}
        self._minute = 0
        self._queue = MailQueue(chained=bool(internal_relays))
        self._queue.load(state)
        searches = _SUBMISSIONS + _DELIVERIES + (_ADDRESSES if senders.by_address else ())
        self._searches = tuple((needle, getattr(self, name)) for needle, name in searches)

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        match = _FIRST.search(head)
        return self._moment(match, Years("", reference)) if match else None

    def begin(self, context: str, reference: date) -> None:
        self._years = Years(context, reference)

    def context(self) -> str:
        return self._years.context

    def feed(self, block: bytes) -> None:
        found = []
        for needle, method in self._searches:
            place = block.find(needle)
            while place >= 0:
                found.append((place, method))
                place = block.find(needle, place + len(needle))
        found.sort(key=lambda pair: pair[0])
        for place, method in found:
            match = _LINE.match(block, block.rfind(b"\n", 0, place) + 1)
            if match:
                method(block, place, match)
        if self._queue.single:
            # Nearly always: then the queue id alone says which message it is, and looking for it is five times as fast.
            self._queue.remove(_REMOVED.findall(block))
        else:
            self._queue.remove(self._find(tag, number) for tag, number in _REMOVED_TAGGED.findall(block))
        self._go_on(block)

    def finish(self, now: datetime) -> None:
        """All logs were read: what was not linked by now will not be."""
        self._queue.expire(int(now.timestamp()) // 60)

    def store(self, state: State) -> None:
        for (day, slug), number in self._queue.counts.items():
            state.add_count(day, slug, "emails_sent", number)
        self._queue.counts.clear()
        self._queue.save(state, self._minute)

    def _go_on(self, block: bytes) -> None:
        """Follow the log's time by the last line of a block, whatever it is about: months may pass between
        mails.
        """
        match = _FIRST.match(block, block.rfind(b"\n", 0, len(block) - 1) + 1)
        moment = self._moment(match, self._years) if match else None
        if moment:
            self._minute = moment.minute
            self._queue.expire(self._minute)

    def _pickup(self, block: bytes, place: int, match: re.Match[bytes]) -> None:
        """`ID: uid=998 from=<acme>`: submitted by a Unix user, by the sendmail command."""
        instance, service = self._tag(match[4])
        if service == b"pickup" and place + 2 == match.end():
            uid = block[place + 6 : block.find(b" ", place + 6)]
            self._queue.submit(instance, match[6], self._senders.of_uid(uid))

    def _smtpd(self, block: bytes, place: int, match: re.Match[bytes]) -> None:
        """`ID: client=host[address], sasl_method=PLAIN, sasl_username=acme`: submitted by SMTP."""
        instance, service = self._tag(match[4])
        if service == b"smtpd" and place + 2 == match.end() and match[6] != b"NOQUEUE":
            sasl = _SASL.search(block, place, block.find(b"\n", place))
            self._queue.submit(instance, match[6], self._senders.of_sasl(sasl[1]) if sasl else None)

    def _from(self, block: bytes, place: int, match: re.Match[bytes]) -> None:
        """`ID: from=<sender>, size=…`: said by the queue manager."""
        service = self._tag(match[4])[1]
        if service.endswith(b"qmgr") and place + 2 == match.end():
            address = block[place + 8 : block.find(b">,", place + 8)]
            self._queue.sender(self._find(match[4], match[6]), self._senders.of_address(address))

    def _sent(self, block: bytes, place: int, match: re.Match[bytes]) -> None:
        """`ID: to=<recipient>, relay=host[address]:25, …, status=sent (answer)`."""
        service = self._tag(match[4])[1]
        if service not in (b"smtp", b"lmtp", b"local"):
            return
        key = self._find(match[4], match[6])
        if self._queue.is_nobodys(key):
            return
        delivery = _DELIVERY.match(block, match.end())
        if not delivery or delivery.start(1) > place:
            return
        answer = delivery[2] or b""
        if service == b"local" or self._is_internal(delivery[1]):
            queued = _QUEUED.findall(answer)
            if queued:
                self._queue.link(key, queued[-1])
        elif service == b"smtp" and b"discarded" not in answer.lower():
            moment = self._moment(match, self._years)
            if moment:
                self._queue.deliver(key, moment, int(match[5] or 1))

    def _is_internal(self, relay: bytes) -> bool:
        if not self._internal:
            return False
        match = _RELAY.fullmatch(relay)
        if not match:
            return False
        port = match[3] or b""
        return match[2] + port in self._internal or match[1] + port in self._internal

    def _tag(self, tag: bytes) -> tuple[bytes, bytes]:
        """Of `postfix/submission/smtpd`: the Postfix instance (`postfix`), and the program (`smtpd`)."""
        known = self._tags.get(tag)
        if known is None:
            first, _, _ = tag.partition(b"/")
            known = self._tags[tag] = (first, tag.rpartition(b"/")[2])
        return known

    def _find(self, tag: bytes, queue_id: bytes) -> bytes:
        return self._queue.find(self._tag(tag)[0], queue_id)

    def _moment(self, match: re.Match[bytes], years: Years) -> Moment | None:
        if match[1]:
            return self._moments.dated(match[1], match[2] or b"")
        year = years.of(match[3])
        return self._moments.undated(match[3], year) if year else None
