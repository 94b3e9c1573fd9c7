"""Postfix's log: recipients of final external delivery, per day and instance.

A delivery is one `status=sent` line of smtp(8) per recipient. Not counted are: deliveries to internal relays
(hops), to mailboxes and programs of this machine (local, virtual, pipe, lmtp), and what the other side
discarded. Forms of the lines: postfix_lines.py; whose mail it is: mailqueue.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.mailqueue import NOBODY, MailQueue, Senders
from metering.server.moments import Moment, Moments, Years
from metering.server.postfix_lines import FIRST, Delivery, PlainBlocks, delivery_of, every_event, repetitions
from metering.server.state import State

SOURCE: Final = "postfix"

# Why a delivery does not count.
HOP: Final = "went to an internal relay"
DISCARDED: Final = "discarded by the other side"
HERE: Final = "delivered on this machine"
COUNTED: Final = ""

_RELAY = re.compile(rb"(.*?)\[(.*)\](:\d+)?")
_QUEUED = re.compile(rb"\b(?:queued|forwarded) as <?([0-9A-Za-z]+)")
_REMOVED, _DELIVERY, _UID, _CLIENT = b"rtuc"
# Those that say that a message has left the queue.
_QUEUE_PROGRAMS: Final = frozenset({b"qmgr", b"oqmgr", b"nqmgr", b"postsuper"})
_Event = tuple[bytes, bytes, bytes, bytes, bytes, bytes]


class PostfixLog:
    """Counts the recipients that each instance's mails reached. A `logs.Consumer`."""

    def __init__(
        self, senders: Senders, internal_relays: Collection[str], zone: ZoneInfo, state: State | None = None
    ) -> None:
        self._senders = senders
        self._internal = frozenset(relay.replace("[", "").replace("]", "").encode() for relay in internal_relays)
        self._moments = Moments(zone)
        self._years = Years("", date.min)
        self._tags: dict[bytes, tuple[bytes, bytes]] = {}
        self._minute = 0
        self._queue = self._new_queue()
        self._plain_blocks = PlainBlocks(self._moments)
        self._every_event = every_event(senders.by_address)
        if state:
            self._queue.load(state)

    def _new_queue(self) -> MailQueue:
        return MailQueue(chained=bool(self._internal))

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        match = FIRST.search(head)
        return self._moment(match.groups(b""), Years("", reference)) if match else None

    def begin(self, context: str, reference: date) -> None:
        self._years = Years(context, reference)

    def context(self) -> str:
        return self._years.context

    def feed(self, block: bytes) -> None:
        # Whole lines between two line feeds: the searches begin with the first of them.
        rest = b"\n" + block
        if self._queue.plain and not self._senders.by_address:
            rest = self._feed_plain(rest, block)
        if rest:
            self._feed_any(self._every_event.findall(rest))
        self._go_on(block)

    def finish(self, now: datetime) -> None:
        """All logs were read: what was not linked by now will not be."""
        self._queue.expire(int(now.timestamp()) // 60)

    def store(self, state: State) -> None:
        for (day, slug), number in self._queue.counts.items():
            state.add_count(day, slug, "emails_sent", number)
        self._queue.counts.clear()
        self._queue.save(state, self._minute)

    def _feed_plain(self, text: bytes, block: bytes) -> bytes:
        """Count the lines up to the first that is not plain; what begins there is given back."""
        search = self._plain_blocks.search(block)
        first = FIRST.match(block)
        moment = self._moment(first.groups(b""), self._years) if search and first else None
        if search is None or moment is None:
            return text
        owners, uids, sent = self._queue.owners, self._senders.uids, Counter[str]()
        rest = b""
        for program, key, event, others in search.findall(text):
            if not event:
                rest = b"\n" + others
                break
            kind = event[0]
            if kind == _REMOVED:
                owners.pop(key, None)
            elif kind == _UID:
                owners[key] = uids.get(event, NOBODY)
            elif kind == _CLIENT:
                if program == b"smtpd" and key != b"NOQUEUE":
                    _, _, name = event.partition(b", sasl_username=")
                    owners[key] = self._senders.of_sasl(name.partition(b",")[0]) if name else None
            else:
                owner = owners.get(key)
                if owner:
                    # What decides about nearly all deliveries, told from the others at the least cost.
                    place = event.find(b", status=sent (")
                    if (
                        place > 0
                        and program == b"smtp"
                        and event.find(b"(") == place + len(b", status=sent ")
                        and b"iscarded" not in event
                        and b"ISCARDED" not in event
                    ):
                        sent[owner] += 1
                    elif b"sent" in event:
                        self._delivered(moment, b"postfix", program, key, event)
                elif owner is None and b" " in key:
                    self._delivered(moment, b"postfix", program, key, event)
        for owner, recipients in sent.items():
            self._queue.counts[moment.day, owner] += recipients
        return rest

    def _feed_any(self, events: Iterable[_Event]) -> None:
        for dated, offset, undated, tag, key, event in events:
            instance, program = self._tag(tag)
            kind = event[0]
            if kind == _REMOVED:
                if program in _QUEUE_PROGRAMS:
                    self._queue.remove(self._queue.find(instance, key))
            elif kind == _DELIVERY:
                moment = self._moment((dated, offset, undated), self._years)
                if moment:
                    self._delivered(moment, instance, program, key, event)
            elif event.startswith(b"from=<"):
                if program.endswith(b"qmgr"):
                    address = event[6 : event.find(b">,")]
                    self._queue.sender(self._queue.find(instance, key), self._senders.of_address(address))
            else:
                self._submitted(instance, program, key, event)

    def _submitted(self, instance: bytes, program: bytes, key: bytes, event: bytes) -> None:
        """`uid=998`: by a Unix user, with the sendmail command. `client=host[address], sasl_method=PLAIN,
        sasl_username=acme`: by SMTP.
        """
        if event[0] == _UID:
            if program == b"pickup":
                self._queue.submit(instance, key, self._senders.of_uid(event))
        elif program == b"smtpd" and key != b"NOQUEUE":
            _, _, name = event.partition(b", sasl_username=")
            self._queue.submit(instance, key, self._senders.of_sasl(name.partition(b",")[0]) if name else None)

    def _delivered(self, moment: Moment, instance: bytes, program: bytes, key: bytes, event: bytes) -> None:
        """`to=<recipient>, relay=host[address]:25, …, status=sent (answer)`."""
        delivery = delivery_of(event)
        if delivery is None:
            return
        key, recipients = repetitions(key)
        found = self._queue.find(instance, key)
        why_not = self._why_not(program, delivery)
        label = self._label(moment.day, why_not, key)
        if label:
            self._queue.deliver(found, label, moment.minute, recipients)
        queued = _QUEUED.findall(delivery.answer) if delivery.status == b"sent" else []
        if queued and program == b"local":
            self._queue.forward(found, instance, queued[-1], moment.minute)
        elif queued and why_not == HOP:
            self._queue.link(found, queued[-1], moment.minute)

    def _label(self, day: str, why_not: str, key: bytes) -> str:
        """Under what a delivery is counted; empty when it is not."""
        del key
        return day if why_not == COUNTED else ""

    def _why_not(self, program: bytes, delivery: Delivery) -> str:
        """COUNTED, or why a delivery does not count."""
        if delivery.status != b"sent":
            return delivery.status.decode("ascii")
        if self._is_internal(delivery.relay):
            return HOP
        if program != b"smtp":
            return HERE
        return DISCARDED if b"discarded" in delivery.answer.lower() else COUNTED

    def _is_internal(self, relay: bytes) -> bool:
        if not self._internal:
            return False
        match = _RELAY.fullmatch(relay)
        if not match:
            return False
        port = match[3] or b""
        return match[2] + port in self._internal or match[1] + port in self._internal

    def _go_on(self, block: bytes) -> None:
        """Follow the log's time by the last line of a block, whatever it is about: months may pass between
        mails.
        """
        match = FIRST.match(block, block.rfind(b"\n", 0, len(block) - 1) + 1)
        moment = self._moment(match.groups(b""), self._years) if match else None
        if moment:
            self._minute = moment.minute
            self._queue.expire(self._minute)

    def _tag(self, tag: bytes) -> tuple[bytes, bytes]:
        """Of `postfix/submission/smtpd`: the Postfix instance (`postfix`), and the program (`smtpd`)."""
        known = self._tags.get(tag)
        if known is None:
            first, _, _ = tag.partition(b"/")
            known = self._tags[tag] = (first, tag.rpartition(b"/")[2])
        return known

    def _moment(self, stamp: tuple[bytes | str, ...], years: Years) -> Moment | None:
        """Of a time with a year and its offset, or one without."""
        dated, offset, undated = (bytes(part) for part in stamp)  # type: ignore[arg-type]
        if dated:
            return self._moments.dated(dated, offset)
        year = years.of(undated)
        return self._moments.undated(undated, year) if year else None
