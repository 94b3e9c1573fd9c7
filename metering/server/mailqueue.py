"""Whose mail it is: the messages in a mail queue, from submission to delivery, as the log tells of them.

A message belongs to the instance whose Unix user or SASL name submitted it; nobody can forge that by a From
header. Only a message that came without either belongs to the instance of its envelope sender, where the
configuration says so. A content filter takes a message out and submits it again: the second message belongs
to whom the first did.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from metering.server.config import Mail
from metering.server.moments import Moment
from metering.server.state import State

NOBODY: Final = ""
# A content filter's answer, which says who a message belongs to, may stand in the log after that message's
# deliveries.
LINK_MINUTES: Final = 15
# A queue gives up long before (maximal_queue_lifetime is 5 days).
FORGET_MINUTES: Final = 30 * 24 * 60


class Senders:
    """Which instance a submission belongs to. Every answer is a slug or NOBODY."""

    def __init__(self, mails: Mapping[str, Mail]) -> None:
        self._uids = {b"%d" % uid: slug for slug, mail in mails.items() for uid in mail.uids}
        self._sasl = {name.encode(): slug for slug, mail in mails.items() for name in mail.sasl}
        self._addresses = {sender.encode(): slug for slug, mail in mails.items() for sender in mail.senders}
        self.by_address = bool(self._addresses)

    def of_uid(self, uid: bytes) -> str:
        return self._uids.get(uid, NOBODY)

    def of_sasl(self, name: bytes) -> str:
        return self._sasl.get(name, NOBODY)

    def of_address(self, address: bytes) -> str:
        address = address.lower()
        domain = address[address.rfind(b"@") :]
        return self._addresses.get(address) or self._addresses.get(domain) or NOBODY


@dataclass(slots=True)
class Held:
    """Deliveries of a message of which it is not known yet whose it is: recipients per day, since which
    minute.
    """

    minute: int
    days: Counter[str] = field(default_factory=Counter)


class MailQueue:
    """The messages that are under way. `counts` fills with recipients per (day, instance).

    A message is known by a key: its queue id, with the name of the Postfix instance before it unless that is
    the usual one.
    """

    def __init__(self, chained: bool) -> None:
        # Whether content filters re-inject: without them a message without a submitter will never get one.
        self._chained = chained
        self._owners: dict[bytes, str | None] = {}
        self._senders: dict[bytes, str] = {}
        self._held: dict[bytes, Held] = {}
        self._links: dict[bytes, list[bytes]] = {}
        self._prefixes: set[bytes] = {b""}
        self._reused: set[bytes] = set()
        self.counts: Counter[tuple[str, str]] = Counter()

    def find(self, instance: bytes, queue_id: bytes) -> bytes:
        """The key of a message, from the first part of the log's tag (`postfix`) and the queue id.

        The programs of one queue may log under several names (`-o syslog_name=…`): where the own name is not
        known, the others are tried.
        """
        name = _key(instance, queue_id)
        if name not in self._owners:
            for prefix in self._prefixes:
                if prefix + queue_id in self._owners:
                    return prefix + queue_id
        return name

    @property
    def single(self) -> bool:
        """Whether all messages so far are those of the usual Postfix instance, so that keys are plain queue ids."""
        return self._prefixes <= {b""}

    def is_nobodys(self, key: bytes) -> bool:
        """Whether the deliveries of a message are of no interest, nor what becomes of it."""
        return not self._chained and self._owners.get(key) == NOBODY

    def submit(self, instance: bytes, queue_id: bytes, owner: str | None) -> None:
        """A new message: `owner` when its submitter is known, else None. A queue id that is used again begins
        anew.
        """
        key = _key(instance, queue_id)
        if key in self._owners:
            self._reused.add(key)
        if key in self._held or key in self._links or key in self._senders:
            # What is still held belongs to the message that had this id before.
            self._settle(key)
            self._senders.pop(key, None)
        self._owners[key] = owner
        if key is not queue_id:
            self._prefixes.add(key[: -len(queue_id)])

    def sender(self, key: bytes, slug: str) -> None:
        """The envelope sender of a message is one of an instance's (or NOBODY's)."""
        if self._owners.get(key) is None and slug:
            self._senders[key] = slug

    def deliver(self, key: bytes, moment: Moment, recipients: int) -> None:
        """Recipients were reached."""
        owner = self._owners.get(key)
        if owner is None:
            if self._chained:
                held = self._held.setdefault(key, Held(moment.minute))
                held.days[moment.day] += recipients
                return
            owner = self._senders.get(key, NOBODY)
        if owner:
            self.counts[moment.day, owner] += recipients

    def link(self, parent: bytes, child_id: bytes) -> None:
        """The message `parent` goes on as the queue id `child_id`, if that was seen here."""
        names = [prefix + child_id for prefix in sorted(self._prefixes)]
        child = next((name for name in names if name != parent and self._waits(name)), None)
        if child is None:
            return
        owner = self._owners.get(parent)
        if owner is None:
            self._links.setdefault(parent, []).append(child)
        else:
            self._give(child, owner)

    def remove(self, keys: Iterable[bytes]) -> None:
        """These messages left the queue; to be told after a block of lines.

        A queue id that was used again within the block stays: it may be the new message. It is put right by
        its next use.
        """
        for key in keys:
            if key not in self._reused and key not in self._links:
                self._owners.pop(key, None)
                if key not in self._held:
                    self._senders.pop(key, None)
        self._reused.clear()

    def expire(self, minute: int) -> None:
        """Stop waiting for links that did not come by `minute`, the time of the log."""
        for key in [key for key, held in self._held.items() if held.minute < minute - LINK_MINUTES]:
            self._settle(key)
            if key not in self._owners:
                self._senders.pop(key, None)

    def _waits(self, key: bytes) -> bool:
        return key in self._held or (key in self._owners and self._owners[key] is None)

    def _give(self, key: bytes, owner: str) -> None:
        if key in self._owners:
            self._owners[key] = owner
        held = self._held.pop(key, None)
        if held and owner:
            for day, number in held.days.items():
                self.counts[day, owner] += number
        for child in self._links.pop(key, ()):
            self._give(child, owner)

    def _settle(self, key: bytes) -> None:
        """No link came: the envelope sender decides."""
        held = self._held.pop(key, None)
        owner = self._senders.get(key, NOBODY)
        if held and owner:
            for day, number in held.days.items():
                self.counts[day, owner] += number
        self._links.pop(key, None)

    def load(self, state: State) -> None:
        """Go on with the messages that the last run left under way."""
        for key, owner, sender, waiting, minute in state.db.execute(
            "SELECT key, owner, sender, waiting, minute FROM queue"
        ):
            known = json.loads(waiting)
            self._prefixes.add(key[: key.rfind(b"/") + 1])
            if known["present"]:
                self._owners[key] = owner
            if sender:
                self._senders[key] = sender
            if known["days"]:
                self._held[key] = Held(minute, Counter(known["days"]))
            if known["links"]:
                self._links[key] = [child.encode("latin-1") for child in known["links"]]

    def save(self, state: State, minute: int) -> None:
        """Write down the messages under way; part of the transaction under way.

        `minute` is the time of the log.
        """
        since = dict(state.db.execute("SELECT key, minute FROM queue"))
        rows = []
        for key in {*self._owners, *self._held, *self._links}:
            held = self._held.get(key)
            began = held.minute if held else since.get(key, minute)
            if began < minute - FORGET_MINUTES:
                continue
            waiting = {
                "present": key in self._owners,
                "days": held.days if held else {},
                "links": [child.decode("latin-1") for child in self._links.get(key, ())],
            }
            rows.append((key, self._owners.get(key), self._senders.get(key), json.dumps(waiting), began))
        state.db.execute("DELETE FROM queue")
        state.db.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?)", rows)


def _key(instance: bytes, queue_id: bytes) -> bytes:
    return queue_id if instance == b"postfix" else instance + b"/" + queue_id
