"""Why a day has so many e-mails: the mail log read anew, with a reason for every delivery that does not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from metering.server.config import Config, Postfix
from metering.server.errors import MeterError
from metering.server.journal import Journal
from metering.server.logs import read_whole
from metering.server.logstreams import LogError
from metering.server.mailqueue import MailQueue, Senders
from metering.server.postfix import COUNTED, PostfixLog

OTHER_UID: Final = "submitted by a Unix user of no instance"
OTHER_SASL: Final = "submitted under a SASL name of no instance"
NO_SUBMITTER: Final = "submitted without a Unix user or SASL name, and its sender is no instance's"
# So many queue ids are shown per reason; --json has all.
SHOWN: Final = 10

# Reason → queue id → recipients.
Reasons = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class EmailsExplained:
    """The deliveries of one day. `excluded`: of the instance, by the reason why they do not count (a status of
    Postfix's other than sent is one); `nobodys`: external deliveries that are of no instance, by the reason.
    `oldest`: the first day that the logs tell of.
    """

    instance: str
    day: date
    emails_sent: int
    excluded: Reasons
    nobodys: Reasons
    oldest: str
    problems: Sequence[str]

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "day": self.day.isoformat(),
            "instance": self.instance,
            "emails_sent": self.emails_sent,
            "excluded": self.excluded,
            "of_nobody": self.nobodys,
            "oldest_day": self.oldest or None,
            "problems": list(self.problems),
        }


def explain_emails(config: Config, slug: str, day: date, now: datetime) -> EmailsExplained:
    """Read the mail log from its beginning, changing nothing.

    MeterError (status 2) when there is nothing to explain, (status 1) when no log can be read.
    """
    postfix, instance = config.postfix, config.instances.get(slug)
    if instance is None:
        known = ", ".join(sorted(config.instances)) or "none"
        raise MeterError(f"SLUG: {slug!r} is not an instance of {config.path}", f"known: {known}", status=2)
    if postfix is None or instance.mail is None:
        hint = f"it wants [postfix] logs, and [instances.{slug}] mail = {{uids = […]}}"
        raise MeterError(f"e-mails of {slug} are not counted on this server", hint, status=2)
    if day > now.astimezone(config.timezone).date():
        raise MeterError(f"DAY: {day} is in the future", status=2)
    senders = _EverySender({one.slug: one.mail for one in config.instances.values() if one.mail})
    reader = _Explaining(senders, postfix.internal_relays, config.timezone)
    reader.day = day.isoformat()
    with _told():
        oldest, problems = _read(postfix, reader)
    reader.finish(now)
    excluded: dict[str, dict[str, int]] = {}
    nobodys: dict[str, dict[str, int]] = {}
    emails = 0
    for (why_not, queue_id, owner), recipients in sorted(reader.found()):
        if owner == slug and why_not == COUNTED:
            emails += recipients
        elif owner == slug:
            excluded.setdefault(why_not, {})[queue_id] = recipients
        elif owner not in config.instances and why_not == COUNTED:
            nobodys.setdefault(owner or NO_SUBMITTER, {})[queue_id] = recipients
    return EmailsExplained(slug, day, emails, excluded, nobodys, oldest, problems)


def describe(found: EmailsExplained) -> str:
    """As lines of text."""
    lines = [f"{found.instance}, {found.day}: {found.emails_sent} e-mails sent"]
    for title, reasons in (("not counted", found.excluded), ("of no instance", found.nobodys)):
        lines += [f"{title}:"] if reasons else []
        for why_not, ids in reasons.items():
            shown = " ".join(list(ids)[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
            lines.append(f"  {sum(ids.values()):>6}  {why_not}: {shown}")
    if not found.oldest or found.oldest > found.day.isoformat():
        lines.append(f"the logs go back to {found.oldest or 'no day at all'} only: what was counted then may be more")
    return "\n".join([*lines, *(f"not read: {problem}" for problem in found.problems)])


class _EverySender(Senders):
    """Says why a submission is nobody's."""

    def of_uid(self, uid: bytes) -> str:
        return super().of_uid(uid) or OTHER_UID

    def of_sasl(self, name: bytes) -> str:
        return super().of_sasl(name) or OTHER_SASL


class _Explaining(PostfixLog):
    """Counts every delivery of `day`, under its reason and queue id instead of under the day."""

    day = ""

    def _new_queue(self) -> MailQueue:
        return MailQueue(chained=bool(self._internal), nobodys=True)

    def feed(self, block: bytes) -> None:
        self._feed_any(self._every_event.findall(b"\n" + block))
        self._go_on(block)

    def _label(self, day: str, why_not: str, key: bytes) -> str:
        return f"{why_not}\t{key.decode('ascii')}" if day == self.day else ""

    def found(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        """Recipients by why not, queue id and owner."""
        for (label, owner), recipients in self._queue.counts.items():
            why_not, _, queue_id = label.partition("\t")
            yield (why_not, queue_id, owner), recipients


def _read(postfix: Postfix, reader: PostfixLog) -> tuple[str, list[str]]:
    """The first day that the log tells of, and what of it could not be read. LogError when nothing could."""
    if postfix.journal:
        return Journal(postfix.journal_directory).read_whole(reader), []
    return read_whole(postfix.logs, reader)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except LogError as problem:
        raise MeterError(problem.text) from None
