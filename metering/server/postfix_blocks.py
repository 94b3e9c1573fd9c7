"""Whole blocks of Postfix's log read in one search, several times as fast as line by line. Pure.

Nearly all lines of a block are usual: they begin as its first line does (one day, one host, one form of time) and
are of the Postfix that logs as `postfix/…`, or of other programs. One search finds their events, told apart by
which parts are filled. A line that is not usual comes out as a whole, in its place, and is read like any line.
"""

from __future__ import annotations

import re
from typing import Final

from metering.server.moments import Moments
from metering.server.postfix_lines import FIRST

# A block of more days is of a log so small that it does not matter how it is read.
MOST_DAYS: Final = 8

_HEAD = re.compile(
    rb"(?:(\d{4}-\d\d-\d\dT)(\d\d):\d\d:\d\d((?:\.\d+)?)(Z|[+-]\d\d:?\d\d)|([A-Z][a-z][a-z] [ \d]\d) \d\d:\d\d:\d\d) "
    rb"([^ \n]+) ",
    re.ASCII,
)
# As Debian's master.cf names the services. What may be missing is the last choice, empty: Python is faster at that than
# at a question mark.
_NAME: Final = rb"postfix/(?:submission/|submissions/|smtps/|relay/|)"
# What local(8) says, and notes that repetitions were left out, are rare enough to be read like any line.
_USUAL: Final = (
    rb"(?:"
    + _NAME
    + rb"(?!local\[)[^ /\[\n]+\[\d+\]: (?!message repeated )|[^ /\[\n]+[\[:])"  # no slash: another program
)
_KEY: Final = rb"\[\d+\]: ([0-9A-Za-z]{5,}): "
# The part before the answer decides only where it holds no parenthesis and one `status=`: postfix.py looks. Its group
# ends behind the status, because Python goes back fast over a repetition that a letter follows, not the end of a group.
_SENT: Final = rb"to=<([^\n]+, status=sent)(?![a-z])(?: \(([^\n]*)|)"
# Deliveries of smtp(8) and submissions: queue id, delivery and answer, whether the message was removed right after
# it, `uid=…`, the rest of `client=…`; all empty but the first: the message was removed.
_DIRECT: Final = (
    rb"(?:smtp()|pickup()|smtpd()|[on]?qmgr|postsuper)"
    + _KEY
    + rb"(?(1)"
    + _SENT
    + rb"(?:\n%(head)b(qmgr)\[\d+\]: \4: removed(?=\n)|)"
    + rb"|(?(2)(uid=\d+)|(?(3)client=([^\n]+)|removed(?=\n))))"
)
# The same of every program, and before them the program; at the end `from=<…>`, the envelope sender.
_EVERY: Final = rb"(?!local\[)([a-z]+)" + _KEY + rb"(?:" + _SENT + rb"|(uid=\d+)|client=([^\n]+)|"
_SENDER: Final = rb"(from=<[^\n]*?>),|removed(?=\n))"
_NO_SENDER: Final = rb"()removed(?=\n))"


def parts_by_day(block: bytes, moments: Moments) -> list[bytes]:
    """A block cut where a day ends: what is of another day than the first line is read line by line."""
    later: list[bytes] = []
    while len(later) < MOST_DAYS and (place := _last_day(block, moments)):
        later.append(block[place:])
        block = block[:place]
    return [block, *reversed(later)]


def _last_day(block: bytes, moments: Moments) -> int:
    """Where the last line's day begins, or its hour in that day; 0 when the first line is of the same day."""
    first, last = FIRST.match(block), FIRST.match(block, block.rfind(b"\n", 0, len(block) - 1) + 1)
    if not first or not last:
        return 0
    begin = last[0][: len(b"Nov 23 ")]
    if first[1] and last[1]:
        one, other = (moments.dated(match[1], match[2] or b"") for match in (first, last))
        if one and other and one.day == other.day:
            return 0
        begin = last[1][: len(b"2026-11-23T10")]
    return 0 if block.startswith(begin) else block.find(b"\n" + begin) + 1


class UsualBlocks:
    """Makes the search for a block's events, by how its first line begins.

    It finds, in a block with a line feed before it, what _DIRECT says (`every`: the time, HH:MM, and what _EVERY
    says), and a line that is not usual. Where the day of a line without a year is another one, that last part holds
    all lines from there on. `addresses`: the envelope senders are wanted, too.
    """

    def __init__(self, moments: Moments, every: bool, addresses: bool = False) -> None:
        self._moments = moments
        self._every = every
        self._events = _EVERY + (_SENDER if addresses else _NO_SENDER)
        self._searches: dict[tuple[bytes, ...], re.Pattern[bytes]] = {}

    def search(self, block: bytes) -> re.Pattern[bytes] | None:
        """None when the first line does not begin as a line of a log does."""
        head = _HEAD.match(block)
        if not head:
            return None
        date, hour, fraction, offset, day, host = head.groups(b"")
        known = self._searches.get((date, offset, day, host, b"%d" % len(fraction), hour))
        if known is None:
            hours = self._same_day(date, hour, offset) if date else [b""]
            if len(self._searches) > 5000:
                self._searches.clear()
            made = self._compile(date, hours, fraction, offset, day, host)
            for one in hours:
                known = self._searches[date, offset, day, host, b"%d" % len(fraction), one] = made
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

    def _compile(
        self, date: bytes, hours: list[bytes], fraction: bytes, offset: bytes, day: bytes, host: bytes
    ) -> re.Pattern[bytes]:
        if date:
            hour = b".." if len(hours) == 24 else rb"(?:" + b"|".join(hours) + rb")"
            seconds = rb":.{%d}" % (len(b"00") + len(fraction)) + re.escape(offset)
            begin, other = re.escape(date), rb"[^\n]+"
            clock = hour + b":.."
        else:
            # Without years, the order of all lines says which year it is.
            seconds, begin, clock = b":..", re.escape(day) + b" ", rb".{5}"
            other = begin + rb"[^\n]+|(?s:.+)"
        end = seconds + b" " + re.escape(host) + b" "
        if self._every:
            events = begin + b"(" + clock + b")" + end + _NAME + self._events
        else:
            head = begin + clock + end + _NAME
            events = head + _DIRECT % {b"head": head}
        return re.compile(
            rb"\n(?:" + events + rb"|(?!" + begin + clock + end + _USUAL + rb")(" + other + rb"))", re.ASCII
        )
