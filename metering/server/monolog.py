"""Monolog's lines and JSON: the records that metering counts, and nothing else of what a log holds.

Formats: Monolog 2, LineFormatter (`[time] channel.LEVEL: message {context} {extra}`) and JsonFormatter (one
object a line, or a batch as one array on a line). Messages: symfony/messenger 5.4 `Worker`,
symfony/security-http 5.4 `AuthenticatorManager`, and Symfony 4's guard of before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.server.moments import Moment, Moments
from metering.server.sms_patterns import DEFAULTS, Sent, SmsPattern, sent

LOGIN: Final = "Authenticator successful!"
LOGIN_OF_BEFORE: Final = "User has been authenticated successfully."
# Where a message ends and its context begins is tried at this many places of a line at most.
_TRIES: Final = 64

_LINE = re.compile(
    rb"\[(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?\] ([\w.-]+)\.([A-Z]+): ", re.ASCII
)
_JSON_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TOKEN_USER = re.compile(r'\(user="(.*?)", (?:authenticated|roles)=', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that counts: SMS that the provider took (`sent` says how many), or a login (`user` is the
    name; never write it anywhere).
    """

    kind: Literal["sms", "login"]
    moment: Moment
    user: str = ""
    sent: Sent | None = None


class MonologParser:
    """Finds the events in blocks of lines; `patterns` say which records stand for SMS."""

    def __init__(self, zone: ZoneInfo, patterns: Sequence[SmsPattern] = DEFAULTS) -> None:
        self._moments = Moments(zone)
        self._patterns = patterns
        # A line without one of these is passed over unread. In JSON, what is not ASCII may stand there escaped.
        channels = {pattern.channel for pattern in patterns if re.fullmatch(r"[\w.-]+", pattern.channel, re.ASCII)}
        hints = {channel.encode() for channel in channels} | {LOGIN.encode(), LOGIN_OF_BEFORE.encode()}
        unsure = len(channels) < len({pattern.channel for pattern in patterns})
        self._hints = re.compile(b"" if unsure else b"|".join(re.escape(hint) for hint in sorted(hints)))

    def first_moment(self, head: bytes) -> Moment | None:
        """The time of the first line of a log that has one."""
        for line in head.split(b"\n"):
            match = _LINE.match(line)
            if match:
                return self._moments.dated(match[1], match[2] or b"")
            match_json = re.search(rb'"datetime":\{?"(?:date":")?([^"]+)', line)
            if match_json:
                return self._json_moment(match_json[1].decode(errors="replace"))
        return None

    def events(self, block: bytes) -> Iterator[Event]:
        """The events of whole lines, in order."""
        for line in block.split(b"\n") if self._hints.search(block) else ():
            if not self._hints.search(line):
                continue
            match = _LINE.match(line)
            if match:
                event = self._line_event(match, line[match.end() :].decode(errors="replace"))
                if event:
                    yield event
            elif line[:1] in (b"{", b"["):
                yield from self._json_events(line)

    def _line_event(self, match: re.Match[bytes], rest: str) -> Event | None:
        moment = self._moments.dated(match[1], match[2] or b"")
        if moment is None:
            return None
        parts = _parts(rest)
        message, context = parts or (rest, {})
        return self._event(match[3].decode(), match[4].decode(), message, context, moment, cut=parts is None)

    def _json_events(self, line: bytes) -> Iterator[Event]:
        try:
            records = json.loads(line)
        except (ValueError, RecursionError):
            return
        for record in records if isinstance(records, list) else [records]:
            if not isinstance(record, dict):
                continue
            context = record.get("context")
            moment = self._json_moment(record.get("datetime"))
            if moment:
                channel, level, message = (str(record.get(key)) for key in ("channel", "level_name", "message"))
                known = context if isinstance(context, dict) else {}
                event = self._event(channel, level, message, known, moment, cut=False)
                if event:
                    yield event

    def _event(
        self, channel: str, level: str, message: str, context: dict[str, Any], moment: Moment, cut: bool
    ) -> Event | None:
        user = _login(channel, level, message, context)
        if user:
            return Event("login", moment, user)
        taken = sent(self._patterns, channel, level, message, context, cut)
        return Event("sms", moment, sent=taken) if taken else None

    def _json_moment(self, time: Any) -> Moment | None:
        if isinstance(time, dict):
            # Monolog 1 writes PHP's own form: a local time, and the name or the offset of its zone.
            return self._zoned(str(time.get("date")), str(time.get("timezone", "")))
        match = _JSON_TIME.match(time) if isinstance(time, str) else None
        return self._moments.dated(match[1].encode(), (match[2] or "").encode()) if match else None

    def _zoned(self, date: str, zone: str) -> Moment | None:
        match = _JSON_TIME.match(date)
        if not match:
            return None
        if re.fullmatch(r"[+-]\d\d:\d\d|Z", zone):
            return self._moments.dated(match[1].encode(), zone.encode())
        try:
            local = datetime.fromisoformat(match[1]).replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None
        return self._json_moment(local.isoformat(timespec="seconds"))


def _parts(rest: str) -> tuple[str, dict[str, Any]] | None:
    """Message and context of a line's `message {context} {extra}`; None when no context can be read there."""
    if not rest.rstrip().endswith(("}", "]")):
        return None
    decoder = json.JSONDecoder()
    for _, found in zip(range(_TRIES), re.finditer(r" (?=[{\[])", rest), strict=False):
        try:
            context, end = decoder.raw_decode(rest, found.end())
            if rest[end:].strip():
                _, end = decoder.raw_decode(rest, end + 1)
        except (ValueError, RecursionError):
            continue
        if not rest[end:].strip():
            return rest[: found.start()], context if isinstance(context, dict) else {}
    return None


def _login(channel: str, level: str, message: str, context: dict[str, Any]) -> str:
    """The name of who logged in; empty when a record is of something else."""
    if (channel, level) != ("security", "INFO"):
        return ""
    if message.startswith(LOGIN):
        return _token_user(context.get("token"))
    return str(context.get("username") or "") if message.startswith(LOGIN_OF_BEFORE) else ""


def _token_user(token: Any) -> str:
    """The user name in the text of a security token, which Monolog writes alone or under its class."""
    texts = token.values() if isinstance(token, dict) else [token]
    for text in texts:
        match = _TOKEN_USER.search(text) if isinstance(text, str) else None
        if match:
            return match[1]
    return ""
