"""Whose mail it is: the messages in a mail queue, from submission to delivery, as the log tells of them.

A message belongs to the instance whose Unix user or SASL name submitted it; nobody can forge that by a From
header. Only a message that came without either belongs to the instance of its envelope sender, where the
configuration says so. A content filter takes a message out and submits it again: the second message belongs
to whom the first did.

What comes out depends on the lines alone, not on where one run stopped reading and the next went on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metering.server.config import Mail
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
        # As they stand in the log.
        self.uids = {b"uid=%d" % uid: slug for slug, mail in mails.items() for uid in mail.uids}
        self._sasl = {name.encode(): slug for slug, mail in mails.items() for name in mail.sasl}
        self._addresses = {sender.encode(): slug for slug, mail in mails.items() for sender in mail.senders}
        self.by_address = bool(self._addresses)
        self.clients = _Clients(self)

    def of_uid(self, uid: bytes) -> str:
        """`uid` as it stands in the log: `uid=998`."""
        return self.uids.get(uid, NOBODY)

    def of_sasl(self, name: bytes) -> str:
        return self._sasl.get(name, NOBODY)

    def of_client(self, client: bytes) -> str | None:
        """What smtpd says about one: `host[address], sasl_method=PLAIN, sasl_username=acme`. None when it did not say
        who it is.
        """
        _, _, name = client.partition(b", sasl_username=")
        return self.of_sasl(name.partition(b",")[0]) if name else None

    def of_address(self, address: bytes) -> str:
        address = address.lower()
        domain = address[address.rfind(b"@") :]
        return self._addresses.get(address) or self._addresses.get(domain) or NOBODY


class _Clients(dict[bytes, str | None]):
    """What `of_client` says, remembered: most clients come again and again."""

    def __init__(self, senders: Senders) -> None:
        super().__init__()
        self._senders = senders

    def __missing__(self, client: bytes) -> str | None:
        if len(self) > 10_000:
            self.clear()
        owner = self[client] = self._senders.of_client(client)
        return owner


@dataclass(slots=True)
class Waiting:
    """What waits until it is known whose a message is: recipients by label, messages that it went on as.

    `minute`: since when; `ended`: the message has left the queue meanwhile.
    """

    minute: int
    recipients: Counter[str] = field(default_factory=Counter)
    children: list[bytes] = field(default_factory=list)
    ended: bool = False


class MailQueue:
    """The messages that are under way. `counts` fills with recipients by (label, instance); a label is the day
    of a delivery, or whatever else the caller tells deliveries apart by.

    A message is known by a key: its queue id, with the name of the Postfix instance before it unless that is
    the usual one. `owners` holds whose each message is, None where that is not known (yet).
    """

    def __init__(self, chained: bool, nobodys: bool = False) -> None:
        # Whether content filters re-inject: without them a message without a submitter will never get one.
        self._chained = chained
        # Whether what belongs to nobody is counted as well, under NOBODY.
        self._nobodys = nobodys
        self.owners: dict[bytes, str | None] = {}
        self._senders: dict[bytes, str] = {}
        self._waiting: dict[bytes, Waiting] = {}
        self._prefixes: set[bytes] = {b""}
        self.counts: Counter[tuple[str, str]] = Counter()

    @property
    def plain(self) -> bool:
        """Whether all messages are those of the usual Postfix instance, and `owners` says all there is to know."""
        return self._prefixes == {b""} and not self._chained and not self._waiting and not self._senders

    def find(self, instance: bytes, queue_id: bytes) -> bytes:
        """The key of a message, from the first part of the log's tag (`postfix`) and the queue id.

        The programs of one queue may log under several names (`-o syslog_name=…`): where the own name is not
        known, the others are tried.
        """
        name = _key(instance, queue_id)
        if name not in self.owners:
            for prefix in sorted(self._prefixes):
                if prefix + queue_id in self.owners:
                    return prefix + queue_id
        return name

    def submit(self, instance: bytes, queue_id: bytes, owner: str | None) -> None:
        """A new message: `owner` when its submitter is known, else None. A queue id that is used again begins
        anew.
        """
        key = _key(instance, queue_id)
        # What still waits belongs to the message that had this id before.
        if key in self._waiting:
            self._settle(key)
        if self._senders:
            self._senders.pop(key, None)
        self.owners[key] = owner
        if key is not queue_id:
            self._prefixes.add(key[: -len(queue_id)])

    def sender(self, key: bytes, slug: str) -> None:
        """The envelope sender of a message is one of an instance's (or NOBODY's)."""
        if slug and self.owners.get(key) is None:
            self._senders[key] = slug

    def deliver(self, key: bytes, label: str, minute: int, recipients: int) -> None:
        """Recipients were reached."""
        owner = self.owners.get(key)
        if owner is None and self._chained:
            self._wait(key, minute).recipients[label] += recipients
        else:
            self._count(label, self._senders.get(key, NOBODY) if owner is None else owner, recipients)

    def link(self, parent: bytes, child_id: bytes, minute: int) -> None:
        """A content filter submitted the message `parent` again as the queue id `child_id`, if that was seen here."""
        # Mostly there is one Postfix.
        names = [prefix + child_id for prefix in sorted(self._prefixes)] if len(self._prefixes) > 1 else [child_id]
        child = next((name for name in names if name != parent and self._is_open(name, minute)), None)
        if child is None:
            return
        owner = self.owners.get(parent)
        if owner is None:
            self._wait(parent, minute).children.append(child)
        else:
            self._give(child, owner)

    def forward(self, parent: bytes, instance: bytes, child_id: bytes, minute: int) -> None:
        """A local alias sent the message `parent` on as the queue id `child_id`, which nobody submits."""
        child = _key(instance, child_id)
        if child in self.owners:
            self.link(parent, child_id, minute)
        elif self.owners.get(parent) is not None:
            self.owners[child] = self.owners[parent]
        elif parent in self._senders:
            self._senders[child] = self._senders[parent]

    def remove(self, key: bytes) -> None:
        """A message left the queue."""
        waiting = self._waiting.get(key)
        if waiting:
            waiting.ended = True
        else:
            self._forget(key)

    def expire(self, minute: int) -> None:
        """Stop waiting for what did not come by `minute`, the time of the log."""
        for key in [key for key, waiting in self._waiting.items() if _is_over(waiting, minute)]:
            self._settle(key)

    def _wait(self, key: bytes, minute: int) -> Waiting:
        waiting = self._waiting.get(key)
        if waiting and _is_over(waiting, minute):
            self._settle(key)
            waiting = None
        if waiting is None:
            waiting = self._waiting[key] = Waiting(minute)
        return waiting

    def _is_open(self, key: bytes, minute: int) -> bool:
        """Whether it is still to be said whose a message is."""
        waiting = self._waiting.get(key)
        if waiting and _is_over(waiting, minute):
            self._settle(key)
            waiting = None
        return waiting is not None or (key in self.owners and self.owners[key] is None)

    def _give(self, key: bytes, owner: str) -> None:
        if key in self.owners:
            self.owners[key] = owner
        waiting = self._waiting.pop(key, None) if self._waiting else None
        if waiting:
            for label, recipients in waiting.recipients.items():
                self._count(label, owner, recipients)
            for child in waiting.children:
                self._give(child, owner)
            if waiting.ended:
                self._forget(key)

    def _settle(self, key: bytes) -> None:
        """Nothing more will be said: the envelope sender decides."""
        waiting = self._waiting.pop(key, None)
        if waiting:
            for label, recipients in waiting.recipients.items():
                self._count(label, self._senders.get(key, NOBODY), recipients)
            if waiting.ended:
                self._forget(key)

    def _count(self, label: str, owner: str, recipients: int) -> None:
        if owner or self._nobodys:
            self.counts[label, owner] += recipients

    def _forget(self, key: bytes) -> None:
        self.owners.pop(key, None)
        if self._senders:
            self._senders.pop(key, None)

    def load(self, state: State) -> None:
        """Go on with the messages that the last run left under way."""
        for key, owner, sender, waiting, minute in state.db.execute(
            "SELECT key, owner, sender, waiting, minute FROM queue"
        ):
            self._prefixes.add(key[: key.rfind(b"/") + 1])
            known = json.loads(waiting)
            if known["present"]:
                self.owners[key] = owner
            if sender:
                self._senders[key] = sender
            if known["days"] or known["links"]:
                children = [child.encode("latin-1") for child in known["links"]]
                self._waiting[key] = Waiting(minute, Counter(known["days"]), children, known["ended"])

    def save(self, state: State, minute: int) -> None:
        """Write down the messages under way; part of the transaction under way.

        `minute` is the time of the log.
        """
        since = dict(state.db.execute("SELECT key, minute FROM queue"))
        rows = []
        for key in {*self.owners, *self._waiting, *self._senders}:
            waiting = self._waiting.get(key)
            began = waiting.minute if waiting else since.get(key, minute)
            if began < minute - FORGET_MINUTES:
                continue
            cells = {
                "present": key in self.owners,
                "days": waiting.recipients if waiting else {},
                "links": [child.decode("latin-1") for child in waiting.children] if waiting else [],
                "ended": waiting is not None and waiting.ended,
            }
            rows.append((key, self.owners.get(key), self._senders.get(key), json.dumps(cells), began))
        state.db.execute("DELETE FROM queue")
        state.db.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?)", rows)


def _is_over(waiting: Waiting, minute: int) -> bool:
    return waiting.minute < minute - LINK_MINUTES


def _key(instance: bytes, queue_id: bytes) -> bytes:
    return queue_id if instance == b"postfix" else instance + b"/" + queue_id
