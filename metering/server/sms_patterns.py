"""Which records of a log stand for SMS that the provider took, and how many messages and credits each tells of.

A pattern describes one record of Monolog: its channel, its level, its message, and what its context must say. Without
any in the configuration, DEFAULTS hold: the line that Symfony's messenger writes (symfony/messenger 5.4, `Worker`) when
a message was handled. What failed, and what is tried again, leaves other lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from metering.server.table import Table

SMS_CLASS: Final = r"Symfony\Component\Notifier\Message\SmsMessage"
HANDLED: Final = " was handled successfully (acknowledging to transport)."


@dataclass(frozen=True, slots=True)
class SmsPattern:
    """One kind of record. `message` must match the whole message; `where` names texts that the context must hold.

    `messages` and `credits` say where in the context a number, or a list to be counted, stands: keys joined by dots.
    Named groups of that name in `message` do the same. Without either, a record is one message.
    """

    channel: str
    message: re.Pattern[str]
    level: str = "INFO"
    where: Mapping[str, str] = field(default_factory=dict, hash=False)
    messages: str = ""
    credits: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a record says: messages that were taken, and what they cost; None where it does not say."""

    messages: int
    credits: int | None = None


DEFAULTS: Final = (
    SmsPattern("messenger", re.compile(re.escape(SMS_CLASS + HANDLED))),
    # Formatters that leave the message's placeholders as they are.
    SmsPattern("messenger", re.compile(re.escape("{class}" + HANDLED)), where={"class": SMS_CLASS}),
)


def sms_of(table: Table) -> tuple[SmsPattern, ...]:
    """The patterns under the key `sms` of an instance's table (an array of tables), or DEFAULTS."""
    found = tuple(_pattern(one) for one in table.array("sms"))
    return found or DEFAULTS


def _pattern(table: Table) -> SmsPattern:
    channel = table.text("channel", example="messenger")
    level = table.text("level", default="INFO", pattern="[A-Z]+", example="INFO")
    text = table.text("message", example="SMS taken")
    try:
        message = re.compile(text)
    except re.error as error:
        table.fault("message", f"is not a regular expression: {error.msg} at position {error.pos}")
        message = re.compile("(?!)")
    where = table.pairs("where", "status", "sent")
    path = {"pattern": r"[^.\s]+(\.[^.\s]+)*", "example": "response.validReceivers", "default": ""}
    return SmsPattern(channel, message, level, where, table.text("messages", **path), table.text("credits", **path))


def sent(
    patterns: Sequence[SmsPattern], channel: str, level: str, message: str, context: Mapping[str, Any], cut: bool
) -> Sent | None:
    """What a record says by the first pattern that fits; None when none does.

    `cut`: `message` goes on with what is left of a context that cannot be read.
    """
    for pattern in patterns:
        if pattern.channel != channel or pattern.level != level:
            continue
        match = pattern.message.match(message) if cut else pattern.message.fullmatch(message)
        if not match or message[match.end() : match.end() + 1] not in ("", " "):
            continue
        if any(_at(context, key) != text for key, text in pattern.where.items()):
            continue
        groups = match.groupdict()
        messages = _number(groups.get("messages") or _at(context, pattern.messages))
        spent = _number(groups.get("credits") or _at(context, pattern.credits))
        return Sent(1 if messages is None else messages, spent)
    return None


def _at(context: Any, path: str) -> Any:
    """What stands in a context under keys that are joined by dots; None when nothing does."""
    for key in path.split("."):
        context = context.get(key) if isinstance(context, dict) else None
    return context


def _number(found: Any) -> int | None:
    """A whole number, that in a text, or the length of a list; None when it is none of these, or out of reason for one
    record.
    """
    if isinstance(found, list):
        return len(found)
    if isinstance(found, int | float | str) and re.fullmatch(r"\d{1,7}(\.0+)?", str(found), re.ASCII):
        return int(float(found))
    return None
