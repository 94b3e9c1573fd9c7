"""The lines of Postfix's log that tell of a message's way, found in whole blocks of a log at a time. Pure.

Format: Postfix 2.3 to 3.10 as logged through syslog (RFC 3164 or RFC 3339 times), `syslog_name` being
anything, with a dot or a slash in it or not. An event is the part of such a line behind the queue id: `uid=…`
and `client=…` (submission), `from=…` (sender), `to=…` (delivery), `removed`.

How most of them are found faster: postfix_blocks.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

STAMP: Final = (
    rb"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?"
    rb"|([A-Z][a-z][a-z] [ \d]\d \d\d:\d\d):\d\d)"
)
FIRST: Final = re.compile(rb"^" + STAMP + rb" ", re.MULTILINE | re.ASCII)
# The queue id, which rsyslog may have put into a note that it left out repetitions.
_KEY: Final = rb"([0-9A-Za-z]{5,}|message repeated \d+ times: \[ ?[0-9A-Za-z]{5,}): "
_EVENT: Final = rb"uid=\d+|removed(?=\n)|client=[^\n]+|to=<[^\n]*"
_REPEATED: Final = re.compile(rb"message repeated (\d+) times: \[ ?(.+)")
_DELIVERY: Final = re.compile(
    rb"to=<[^\n]*?>, (?:orig_to=<[^\n]*?>, )?relay=([^,\n]+), "
    rb"(?:(?!status=)[a-z_]+=[^,\n]+, )*status=([a-z]+)(?: \(([^\n]*))?"
)


def every_event(addresses: bool) -> re.Pattern[bytes]:
    """Finds, in a block with a line feed before it, per event: time with a year, its offset, time without a year,
    tag, queue id, event. `addresses`: those that say the envelope sender, too.
    """
    event = _EVENT + (rb"|from=<[^\n]*?>(?=,)" if addresses else rb"")
    return re.compile(rb"\n" + STAMP + rb" [^ \n]+ ([^ \n\[]+)\[\d+\]: " + _KEY + rb"(" + event + rb")", re.ASCII)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a `to=` event says: the relay, the status (`sent`, `deferred`, …) and the other side's answer."""

    relay: bytes
    status: bytes
    answer: bytes


def delivery_of(event: bytes) -> Delivery | None:
    """None when it is none after all."""
    match = _DELIVERY.match(event)
    return Delivery(match[1], match[2], match[3] or b"") if match else None


def repetitions(key: bytes) -> tuple[bytes, int]:
    """The queue id in a note of repetitions, and how many it stands for; of any other the id, and 1."""
    match = _REPEATED.fullmatch(key) if b" " in key else None
    return (match[2], int(match[1])) if match else (key, 1)
