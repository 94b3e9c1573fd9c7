"""Monolog's lines and JSON: the records that metering counts, and nothing else of what a log holds.

Formats: Monolog 2, LineFormatter (`[time] channel.LEVEL: message {context} {extra}`) and JsonFormatter (one
object a line, or a batch as one array on a line). Messages: symfony/messenger 5.4 `Worker`,
symfony/security-http 5.4 `AuthenticatorManager`, and Symfony 4's guard of before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.server.moments import Moment, Moments

SMS_CLASS: Final = r"Symfony\Component\Notifier\Message\SmsMessage"
HANDLED: Final = " was handled successfully (acknowledging to transport)."
LOGIN: Final = "Authenticator successful!"
LOGIN_OF_BEFORE: Final = "User has been authenticated successfully."
# A line without one of these is passed over unread.
_HINTS: Final = (b"was handled successfully", LOGIN.encode(), LOGIN_OF_BEFORE.encode())

_LINE = re.compile(
    rb"\[(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?\] ([\w.-]+)\.([A-Z]+): ", re.ASCII
)
_JSON_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TOKEN_USER = re.compile(r'\(user="(.*?)", (?:authenticated|roles)=', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that counts: an SMS that the provider took, or a login (`user` is the name; never write it
    anywhere).
    """

    kind: Literal["sms", "login"]
    moment: Moment
    user: str = ""


class MonologParser:
    """Finds the events in blocks of lines."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._moments = Moments(zone)

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
        if not any(hint in block for hint in _HINTS):
            return
        for line in block.split(b"\n"):
            if not any(hint in line for hint in _HINTS):
                continue
            if line.startswith(b"["):
                match = _LINE.match(line)
                if match:
                    event = self._line_event(match, line[match.end() :].decode(errors="replace"))
                    if event:
                        yield event
                    continue
            if line[:1] in (b"{", b"["):
                yield from self._json_events(line)

    def _line_event(self, match: re.Match[bytes], rest: str) -> Event | None:
        moment = self._moments.dated(match[1], match[2] or b"")
        if moment is None or match[4] != b"INFO":
            return None
        for message in (SMS_CLASS + HANDLED, "{class}" + HANDLED, LOGIN, LOGIN_OF_BEFORE):
            if rest.startswith(message):
                return _event(match[3].decode(), message, _context(rest[len(message) :]), moment)
        return None

    def _json_events(self, line: bytes) -> Iterator[Event]:
        try:
            records = json.loads(line)
        except (ValueError, RecursionError):
            return
        for record in records if isinstance(records, list) else [records]:
            if not isinstance(record, dict) or record.get("level_name") != "INFO":
                continue
            time, context = record.get("datetime"), record.get("context")
            moment = self._json_moment(time)
            if moment:
                known = context if isinstance(context, dict) else {}
                event = _event(str(record.get("channel")), str(record.get("message")), known, moment)
                if event:
                    yield event

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


def _context(rest: str) -> dict[str, Any]:
    """The context that follows a message; empty when there is none that can be read."""
    try:
        context, _ = json.JSONDecoder().raw_decode(rest.lstrip(" "))
    except (ValueError, RecursionError):
        return {}
    return context if isinstance(context, dict) else {}


def _event(channel: str, message: str, context: dict[str, Any], moment: Moment) -> Event | None:
    if channel == "messenger":
        named = message == SMS_CLASS + HANDLED
        if named or (message == "{class}" + HANDLED and context.get("class") == SMS_CLASS):
            return Event("sms", moment)
    elif channel == "security":
        user = ""
        if message == LOGIN:
            user = _token_user(context.get("token"))
        elif message == LOGIN_OF_BEFORE:
            user = str(context.get("username") or "")
        if user:
            return Event("login", moment, user)
    return None


def _token_user(token: Any) -> str:
    """The user name in the text of a security token, which Monolog writes alone or under its class."""
    texts = token.values() if isinstance(token, dict) else [token]
    for text in texts:
        match = _TOKEN_USER.search(text) if isinstance(text, str) else None
        if match:
            return match[1]
    return ""
