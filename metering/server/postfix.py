"""Postfix's log: recipients of final external delivery, per day and instance.

A delivery is one `status=sent` line of smtp(8) per recipient. Not counted are: deliveries to internal relays
(hops), to mailboxes and programs of this machine (local, virtual, pipe, lmtp), and what the other side
discarded. Forms of the lines: postfix_lines.py; whole blocks of them: postfix_blocks.py; whose mail it is:
mailqueue.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, datetime
from itertools import repeat
from operator import contains
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.mailqueue import NOBODY, MailQueue, Senders
from metering.server.moments import Moment, Moments, Years
from metering.server.postfix_blocks import UsualBlocks, parts_by_day
from metering.server.postfix_lines import FIRST, Delivery, delivery_of, every_event, repetitions
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
_Stamp = tuple[bytes, ...]
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
        self._internal_seen: dict[bytes, bool] = {}
        self._direct = UsualBlocks(self._moments, every=False)
        self._every = UsualBlocks(self._moments, every=True, addresses=senders.by_address)
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
        for part in parts_by_day(block, self._moments):
            self._feed_day(part)

    def _feed_day(self, block: bytes) -> None:
        # Whole lines between two line feeds: the searches begin with the first of them.
        rest = b"\n" + block
        first = FIRST.match(block)
        stamp = first.groups(b"") if first else ()
        moment = self._moment(stamp, self._years) if stamp else None
        if moment and self._queue.plain and not self._senders.by_address:
            rest = self._feed_direct(self._direct.search(block), rest, moment)
        if moment and rest:
            rest = self._feed_every(self._every.search(block), rest, stamp)
        self._feed_lines(rest)
        self._go_on(block)

    def finish(self, now: datetime) -> None:
        """All logs were read: what was not linked by now will not be."""
        self._queue.expire(int(now.timestamp()) // 60)

    def store(self, state: State) -> None:
        for (day, slug), number in self._queue.counts.items():
            state.add_count(day, slug, "emails_sent", number)
        self._queue.counts.clear()
        self._queue.save(state, self._minute)

    def _feed_direct(self, search: re.Pattern[bytes] | None, text: bytes, moment: Moment) -> bytes:
        """Count what was submitted here and went straight out; give back the lines after the first that makes it
        less simple.
        """
        if search is None:
            return text
        owners, uids, clients = self._queue.owners, self._senders.uids, self._senders.clients
        reached: list[str] = []
        tos: list[bytes] = []
        answers: list[bytes] = []
        place = 0
        for _, _, _, key, to, answer, gone, uid, client, other in search.findall(text):
            if to:
                owner = owners.pop(key, None) if gone else owners.get(key)
                if owner:
                    reached.append(owner)
                    tos.append(to)
                    answers.append(answer)
            elif uid:
                owners[key] = uids.get(uid, NOBODY)
            elif client:
                if key != b"NOQUEUE":
                    owners[key] = clients[client]
            elif other:
                self._feed_lines(b"\n" + other + b"\n")
                place = text.index(b"\n" + other, place) + 1 + len(other)
                if not self._queue.plain:
                    break
            else:
                owners.pop(key, None)
        else:
            place = len(text)
        for owner, recipients in Counter(self._counted(reached, tos, answers)).items():
            self._queue.counts[moment.day, owner] += recipients
        return text[place:]

    def _feed_every(self, search: re.Pattern[bytes] | None, text: bytes, stamp: _Stamp) -> bytes:
        """Follow messages through content filters and under the names of several Postfixes; nothing is left over
        unless there is no search.
        """
        if search is None:
            return text
        queue, senders, last = self._queue, self._senders, b""
        moment: Moment | None = None
        owners = queue.owners
        dated, offset, undated = stamp
        for clock, program, key, to, answer, uid, client, sender, other in search.findall(text):
            if to:
                if clock != last:
                    # The same day, at another minute.
                    at = (dated and dated[:-5] + clock, offset, undated and undated[:-5] + clock)
                    moment, last = self._moment(at, self._years), clock
                if moment:
                    self._sent(moment, program, key, to, answer)
            elif uid:
                if program == b"pickup":
                    queue.submit(b"postfix", key, senders.of_uid(uid))
            elif client:
                if program == b"smtpd" and key != b"NOQUEUE":
                    queue.submit(b"postfix", key, senders.clients[client])
            elif sender:
                if program.endswith(b"qmgr"):
                    queue.sender(queue.find(b"postfix", key), senders.of_address(sender[6:-1]))
            elif other:
                self._feed_lines(b"\n" + other + b"\n")
            elif program in _QUEUE_PROGRAMS:
                queue.remove(key if key in owners else queue.find(b"postfix", key))
        return b""

    def _sent(self, moment: Moment, program: bytes, key: bytes, to: bytes, answer: bytes) -> None:
        """A delivery of the usual Postfix, of which a search found the part before the answer, and the answer."""
        begin = to.find(b">, relay=") + len(b">, relay=")
        end = to.find(b",", begin)
        if b"(" in to or to.count(b"status=") != 1 or end < begin or to.count(b">, relay=") != 1:
            self._delivered(moment, b"postfix", program, key, _whole(to, answer))
            return
        relay = to[begin:end]
        internal = self._internal_seen.get(relay)
        if internal is None:
            if len(self._internal_seen) > 10_000:
                self._internal_seen.clear()
            internal = self._internal_seen[relay] = self._is_internal(relay)
        if internal:
            queued = _QUEUED.findall(answer)
            if queued:
                parent = key if key in self._queue.owners else self._queue.find(b"postfix", key)
                self._queue.link(parent, queued[-1], moment.minute)
        elif program == b"smtp" and not _discarded(answer):
            self._queue.deliver(self._queue.find(b"postfix", key), moment.day, moment.minute, 1)

    def _feed_lines(self, text: bytes) -> None:
        """Lines of any kind, between two line feeds."""
        if text:
            self._feed_any(self._every_event.findall(text))

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
                    self._queue.sender(self._queue.find(instance, key), self._senders.of_address(event[6:-1]))
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
            self._queue.submit(instance, key, self._senders.of_client(event))

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

    def _counted(self, owners: list[str], tos: list[bytes], answers: list[bytes]) -> list[str]:
        """Those owners whose deliveries count. Mostly all do, and one look at all the deliveries together tells it."""
        text = b"\n".join(tos)
        if (
            b"(" not in text
            and text.count(b"status=") == len(tos)
            and all(map(contains, tos, repeat(b">, relay=")))
            and b"discarded" not in b"\n".join(answers).lower()
        ):
            return owners
        return [
            owner
            for owner, to, answer in zip(owners, tos, answers, strict=True)
            if self._is_counted(_whole(to, answer))
        ]

    def _is_counted(self, event: bytes) -> bool:
        """Whether a delivery of smtp(8) counts, whatever stands in it."""
        delivery = delivery_of(event)
        return delivery is not None and self._why_not(b"smtp", delivery) == COUNTED

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
        return DISCARDED if _discarded(delivery.answer) else COUNTED

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

    def _moment(self, stamp: _Stamp, years: Years) -> Moment | None:
        """Of a time with a year and its offset, or one without."""
        dated, offset, undated = stamp
        if dated:
            return self._moments.dated(dated, offset)
        year = years.of(undated)
        return self._moments.undated(undated, year) if year else None


def _discarded(answer: bytes) -> bool:
    return b"discarded" in answer.lower()


def _whole(to: bytes, answer: bytes) -> bytes:
    """The event of a delivery, of which a search found the two parts."""
    return b"to=<" + to + (b" (" + answer if answer else b"")
