"""Asking a store over HTTP: TLS verified, with time limits, a few tries; the standard library alone.

Addresses that a store itself names are held to the same rule as those of the configuration: HTTPS, or this machine.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from metering.server.errors import SourceError

SECONDS: Final = 30
# Seconds before the second and the third try.
PAUSES: Final = (1.0, 4.0)
# A page of a listing is well below this.
LARGEST_ANSWER: Final = 32 << 20
_PASSING: Final = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """Keeps one connection per server for the time of a run. What is told has `name` in place of any address."""

    def __init__(
        self, name: str = "the store", ca_file: Path | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._name = name
        self._ca_file = ca_file
        self._pause = pause
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def ask(self, method: str, url: str, headers: Callable[[], Mapping[str, str]], body: bytes = b"") -> Answer:
        """The answer to a request, tried again while the server is away or busy. `headers` is called for each try.

        SourceError when there is no answer, or none but faults of the server.
        """
        place = _checked(url)
        for wait in (*PAUSES, None):
            try:
                answer = self._once(method, place, headers(), body)
            except (OSError, http.client.HTTPException) as error:
                self._forget(place)
                if wait is None or isinstance(error, ssl.SSLCertVerificationError):
                    raise SourceError(f"{self._name} {_fault(error)}") from None
            else:
                if answer.status not in _PASSING:
                    return answer
                if wait is None:
                    raise SourceError(f"{self._name} is out of order: it answers {answer.status}")
            self._pause(wait)
        raise AssertionError("unreachable")

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _once(self, method: str, place: SplitResult, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = self._connection(place)
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        connection.request(method, target, body or None, dict(headers))
        response = connection.getresponse()
        content = response.read(LARGEST_ANSWER + 1)
        if len(content) > LARGEST_ANSWER:
            raise SourceError(f"{self._name} answers more than can be right")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def _connection(self, place: SplitResult) -> http.client.HTTPConnection:
        key = (place.scheme, place.netloc)
        known = self._connections.get(key)
        if known is None:
            if place.scheme == "https":
                context = _trusting(self._ca_file)
                host = place.hostname or ""
                known = http.client.HTTPSConnection(host, place.port, timeout=SECONDS, context=context)
            else:
                known = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS)
            self._connections[key] = known
        return known

    def _forget(self, place: SplitResult) -> None:
        connection = self._connections.pop((place.scheme, place.netloc), None)
        if connection:
            connection.close()


def acceptable(url: str) -> bool:
    """Whether passwords may be sent there: by HTTPS, or to this machine."""
    try:
        place = urlsplit(url)
        port_is_valid = place.port is None or place.port > 0
    except ValueError:
        return False
    if not place.hostname or place.username is not None or not port_is_valid:
        return False
    return place.scheme == "https" or (place.scheme == "http" and _is_this_machine(place.hostname))


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(url: str) -> SplitResult:
    if not acceptable(url):
        raise SourceError("the store names an address that is not HTTPS: nothing is sent there")
    return urlsplit(url)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
        raise SourceError(f"ca_file: {ca_file} {reason}") from None


def _fault(error: Exception) -> str:
    """Why there is no answer, in our words: the system's may hold addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "has a certificate that is not trusted here"
    if isinstance(error, ssl.SSLError):
        return "speaks no TLS that is known here"
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, OSError) and error.errno == errno.EAFNOSUPPORT:
        return "is out of reach: this service may not use the network (metering_network: true lets it)"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection"
    return "does not answer"
