"""What the logs of a web server say about Collabora: who opened a document.

Collabora opens one by `GET …/wopi/files/<id>?access_token=<JWT>` (Microsoft's WOPI protocol, CheckFileInfo). The call
comes from Collabora's server, so that only the token tells who is meant. Counted are calls that were answered with
success: an application refuses tokens that are forged or expired.

Formats: nginx' and Apache's `combined` and what begins like it, and one JSON object a line, with the names that nginx'
variables have or that Caddy writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from metering.server.config import Config, Instance
from metering.server.errors import SourceError
from metering.server.logs import Reading, read_logs
from metering.server.moments import MONTHS, Moment, Moments
from metering.server.pseudonyms import Pseudonyms
from metering.server.sources import Wopi
from metering.server.state import State
from metering.server.tokens import Tokens, load_key

METRIC: Final = "collabora_users"
_NEEDLE: Final = b"/wopi/files/"
_OPEN: Final = re.compile(r"(?:/[^?#]*)?/wopi/files/[^/?#]+/?")
_TIME = re.compile(rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d):\d\d(?:\.\d+)? ([+-]\d{4})\]")
_REQUEST = re.compile(rb'\s+"([A-Z]+) (\S+)(?: HTTP/[\d.]+)?"\s+(\d{3})\b')
_ISO = re.compile(rb"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):\d\d(?:[.,]\d+)?\s?(Z|[+-]\d\d:?\d\d)?")
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+)(?: HTTP/[\d.]+)?")
_TIME_KEYS: Final = ("time_iso8601", "@timestamp", "timestamp", "time", "datetime", "time_local", "msec", "ts")


def source_name(slug: str) -> str:
    """The name under which the state knows the logs of Collabora's calls for an instance."""
    return f"wopi:{slug}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A document was opened with a token; never write that anywhere."""

    moment: Moment
    token: str


class WopiParser:
    """Finds the openings in blocks of lines."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._moments = Moments(zone)

    def first_moment(self, head: bytes) -> Moment | None:
        """The time of the first line of a log that has one."""
        for line in head.split(b"\n"):
            moment = self._stamp(line) if not line.startswith(b"{") else self._json_time(_object(line))
            if moment:
                return moment
        return None

    def openings(self, block: bytes) -> Iterator[Opened]:
        """The openings in whole lines, in order."""
        if _NEEDLE not in block:
            return
        for line in block.split(b"\n"):
            if _NEEDLE in line:
                found = self._of_json(line) if line.startswith(b"{") else self._of_line(line)
                if found:
                    yield found

    def _of_line(self, line: bytes) -> Opened | None:
        stamp = _TIME.search(line)
        request = _REQUEST.match(line, stamp.end()) if stamp else None
        moment = self._stamp(line)
        if not request or not moment:
            return None
        token = _token(request[1].decode(), request[2].decode(errors="replace"), int(request[3]))
        return Opened(moment, token) if token else None

    def _of_json(self, line: bytes) -> Opened | None:
        record = _object(line)
        method, target = _json_request(record)
        moment = self._json_time(record)
        status = str(record.get("status", ""))
        if not moment or not (status.isascii() and status.isdigit()):
            return None
        token = _token(method, target, int(status))
        return Opened(moment, token) if token else None

    def _stamp(self, text: bytes) -> Moment | None:
        match = _TIME.search(text)
        month = MONTHS.get(match[2]) if match else None
        if not match or not month:
            return None
        return self._moments.dated(b"%b-%02d-%bT%b" % (match[3], month, match[1], match[4]), match[5])

    def _json_time(self, record: dict[str, Any]) -> Moment | None:
        value = next((record[key] for key in _TIME_KEYS if key in record), None)
        if isinstance(value, str) and re.fullmatch(r"\d{9,11}(\.\d+)?", value, re.ASCII):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                text = datetime.fromtimestamp(value, UTC).isoformat(timespec="minutes")
            except (OverflowError, OSError, ValueError):
                return None
            return self._moments.dated(text[:16].encode(), b"Z")
        if not isinstance(value, str):
            return None
        match = _ISO.match(value.encode())
        if match:
            return self._moments.dated(match[1] + b"T" + match[2], match[3] or b"")
        return self._stamp(b"[" + value.encode() + b"]")


def _object(line: bytes) -> dict[str, Any]:
    """The object on a line; empty when there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _json_request(record: dict[str, Any]) -> tuple[str, str]:
    """Method and target: in one text, in an object (Caddy), or in keys of their own."""
    request = record.get("request")
    if isinstance(request, str):
        match = _REQUEST_LINE.fullmatch(request)
        return (match[1], match[2]) if match else ("", "")
    place = request if isinstance(request, dict) else record
    method = place.get("request_method") or place.get("method")
    target = place.get("request_uri") or place.get("uri") or place.get("path")
    query = place.get("args") or place.get("query_string") or place.get("query")
    if not isinstance(method, str) or not isinstance(target, str):
        return "", ""
    return method, f"{target}?{query}" if isinstance(query, str) and "?" not in target else target


def _token(method: str, target: str, status: int) -> str:
    """The token of a call that opened a document; empty for any other."""
    if method != "GET" or not 200 <= status < 300:
        return ""
    try:
        place = urlsplit(target)
        tokens = parse_qs(place.query, max_num_fields=100).get("access_token", [""])
    except ValueError:
        return ""
    return tokens[0] if _OPEN.fullmatch(place.path) else ""


class WopiLog:
    """Remembers, as keyed digests, who opened a document of one instance. A `logs.Consumer`."""

    def __init__(
        self, slug: str, tokens: Tokens, service_accounts: frozenset[str], zone: ZoneInfo, pseudonyms: Pseudonyms
    ) -> None:
        self._slug = slug
        self._tokens = tokens
        self._service_accounts = service_accounts
        self._parser = WopiParser(zone)
        self._pseudonyms = pseudonyms
        self._editors: set[tuple[str, str]] = set()

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        del reference
        return self._parser.first_moment(head)

    def begin(self, context: str, reference: date) -> None:
        """Every line stands alone: there is nothing to go on with."""

    def feed(self, block: bytes) -> None:
        for opened in self._parser.openings(block):
            day = opened.moment.day
            if int(day[:4]) in self._pseudonyms.forgotten:
                continue
            person = self._tokens.person(opened.token, opened.moment.minute)
            if person and person.casefold() not in self._service_accounts:
                self._editors.add((day, self._pseudonyms.of_login(self._slug, int(day[:4]), person)))

    def context(self) -> str:
        return ""

    def finish(self, now: datetime) -> None:
        """Nothing waits for the end."""

    def store(self, state: State) -> None:
        for day, digest in sorted(self._editors):
            state.add_editor(day, self._slug, digest)
        self._editors.clear()


def read_wopi_logs(
    config: Config, instance: Instance, wopi: Wopi, state: State, pseudonyms: Pseudonyms, now: datetime
) -> Reading:
    """Read what is new in the logs of Collabora's calls. Nothing is read while the key cannot be used: what was
    passed over would never be read again.
    """
    try:
        tokens = Tokens(wopi.claims, load_key(wopi.key) if wopi.key else None)
        wopi_log = WopiLog(instance.slug, tokens, instance.service_accounts, config.timezone, pseudonyms)
        reading = read_logs(state, source_name(instance.slug), wopi.logs, wopi_log, now)
    except SourceError as failure:
        return Reading(failure.reason)
    if not tokens.refused:
        return reading
    # The application took these tokens: rather than forged, the key may be another one by now.
    told = f"{wopi.key} does not bear out the tokens of {tokens.refused} calls of Collabora: they are not counted"
    return Reading(reading.failure, [*reading.notices, told])
