"""The lines of Postfix's log that tell of a message's way, found in whole blocks of a log at a time. Pure.

Format: Postfix 2.3 to 3.10 as logged through syslog (RFC 3164 or RFC 3339 times), `syslog_name` being
anything, with a dot or a slash in it or not. An event is the part of such a line behind the queue id: `uid=…`
and `client=…` (submission), `from=…` (sender), `to=…` (delivery), `removed`.

Nearly every block is plain: all its lines are of one day, one host and the usual Postfix. That is looked for and
read in a single search, several times as fast as line by line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from metering.server.moments import Moments

STAMP: Final = (
    rb"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?"
    rb"|([A-Z][a-z][a-z] [ \d]\d \d\d:\d\d):\d\d)"
)
FIRST: Final = re.compile(rb"^" + STAMP + rb" ", re.MULTILINE | re.ASCII)
# The queue id, which rsyslog may have put into a note that it left out repetitions.
_KEY: Final = rb"([0-9A-Za-z]{5,}|message repeated \d+ times: \[ ?[0-9A-Za-z]{5,}): "
_EVENT: Final = rb"uid=\d+|removed(?=\n)|client=[^\n]*|to=<[^\n]*"
_REPEATED: Final = re.compile(rb"message repeated (\d+) times: \[ ?(.+)")
_DELIVERY: Final = re.compile(
    rb"to=<[^\n]*?>, (?:orig_to=<[^\n]*?>, )?relay=([^,\n]+), "
    rb"(?:(?!status=)[a-z_]+=[^,\n]+, )*status=([a-z]+)(?: \(([^\n]*))?"
)


def every_event(addresses: bool) -> re.Pattern[bytes]:
    """Finds, in a block with a line feed before it, per event: time with a year, its offset, time without a year,
    tag, queue id, event. `addresses`: those that say the envelope sender, too.
    """
    event = _EVENT + (rb"|from=<[^\n]*" if addresses else rb"")
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


_HEAD = re.compile(
    rb"(?:(\d{4}-\d\d-\d\dT)(\d\d):\d\d:\d\d((?:\.\d+)?)(Z|[+-]\d\d:?\d\d)|([A-Z][a-z][a-z] [ \d]\d) \d\d:\d\d:\d\d) "
    rb"([^ \n]+) ",
    re.ASCII,
)
# The tags of the usual Postfix, as it is installed: `postfix/smtp`, `postfix/submission/smtpd`.
_PLAIN_NAME: Final = rb"postfix/(?:submissions?/|smtps/)?"
_PLAIN_EVENT: Final = _PLAIN_NAME + rb"(smtp|pickup|smtpd|qmgr|lmtp|local|postsuper)\[\d+\]: " + _KEY
# Those of lines that are no other Postfix's: its own, and those without a slash, of other programs.
_PLAIN_TAG: Final = rb"(?:" + _PLAIN_NAME + rb"[^ /\[\n]+\[|[^ /\[\n]+[\[:])"


class PlainBlocks:
    """Makes the search for a block's events, by how its first line begins.

    It finds, in a block with a line feed before it: program, queue id, event, and an empty text. Where a line
    comes that is of another day, of another host or not of the Postfix that logs as `postfix/…`, it ends, with
    everything from that line on as the last text.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._searches: dict[tuple[bytes, ...], re.Pattern[bytes]] = {}

    def search(self, block: bytes) -> re.Pattern[bytes] | None:
        """None when the first line does not begin as a line of a log does."""
        head = _HEAD.match(block)
        if not head:
            return None
        date, hour, fraction, offset, day, host = head.groups(b"")
        known = self._searches.get((date, offset, day, host, fraction and b"%d" % len(fraction), hour))
        if known is None:
            hours = self._same_day(date, hour, offset) if date else [b""]
            if len(self._searches) > 5000:
                self._searches.clear()
            made = _search(date, hours, fraction, offset, day, host)
            for one in hours:
                key = (date, offset, day, host, fraction and b"%d" % len(fraction), one)
                known = self._searches[key] = made
        return known

    def _same_day(self, date: bytes, hour: bytes, offset: bytes) -> list[bytes]:
        """The hours of a date whose moments are all of one local day, that of `hour`; none when that hour itself
        is of two.
        """
        hours = [b"%02d" % number for number in range(24)]
        days = {one: (self._day(date, one, b"00", offset), self._day(date, one, b"59", offset)) for one in hours}
        first, last = days.get(hour, ("", "-"))
        return [one for one in hours if first and days[one] == (first, first)] if first == last else []

    def _day(self, date: bytes, hour: bytes, minute: bytes, offset: bytes) -> str:
        moment = self._moments.dated(date + hour + b":" + minute, offset)
        return moment.day if moment else ""


def _search(
    date: bytes, hours: list[bytes], fraction: bytes, offset: bytes, day: bytes, host: bytes
) -> re.Pattern[bytes]:
    if date:
        clock = rb":.{%d}" % (len(b"00:00") + len(fraction))
        some = b".." if len(hours) == 24 else rb"(?:" + b"|".join(hours) + rb")"
        head = re.escape(date) + some + clock + re.escape(offset)
    else:
        head = re.escape(day) + rb" .{8}"
    head += b" " + re.escape(host) + b" "
    events = head + _PLAIN_EVENT + rb"(" + _EVENT + rb")"
    return re.compile(rb"\n(?:" + events + rb"|(?!" + head + _PLAIN_TAG + rb")((?s:.+)))", re.ASCII)
