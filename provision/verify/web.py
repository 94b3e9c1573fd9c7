"""Asks an environment over HTTP as its users do: from here, at its server's address, by its name.

The name is not looked up in the DNS, so that an environment can be checked before its record exists.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from provision.verify.target import Target

TIMEOUT_SECONDS = 10
BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


def get(target: Target, path: str, *, secure: bool = True) -> Answer:
    """GET a page, without following redirects; an AssertionError says in words why none came.

    Whether the certificate is valid is a check of its own: what else stands is found out without it.
    """
    if not secure:
        with _said(target, target.http_port), _connected(target, target.http_port) as plain:
            return _ask(plain, target.domain, path)
    with _said(target, target.https_port), encrypted(target, anybody()) as connection:
        return _ask(connection, target.domain, path)


def valid_until(target: Target) -> datetime:
    """When the certificate ends that is shown for the name; an AssertionError says why it is not valid."""
    context = ssl.create_default_context(cafile=target.ca_certificate or None)
    with _said(target, target.https_port), encrypted(target, context) as connection:
        shown = connection.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def anybody() -> ssl.SSLContext:
    """A context that takes any certificate. The default one would read all authorities of this machine, for nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shakes_hands(target: Target, context: ssl.SSLContext, name: str | None = None) -> bool:
    """Whether the server agrees to speak TLS on these terms, asked for `name` instead of the environment's own."""
    with _said(target, target.https_port), _connected(target, target.https_port) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name or target.domain):
                return True
        except (ssl.SSLError, ConnectionError):
            return False


@contextmanager
def encrypted(target: Target, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """A connection to the server's HTTPS port, for the environment's name."""
    with (
        _connected(target, target.https_port) as plain,
        context.wrap_socket(plain, server_hostname=target.domain) as connection,
    ):
        yield connection


def _connected(target: Target, port: int) -> socket.socket:
    return socket.create_connection((target.address, port), TIMEOUT_SECONDS)


@contextmanager
def _said(target: Target, port: int) -> Iterator[None]:
    """What goes wrong on the way, in words."""
    where = f"{target.address} port {port}"
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise AssertionError(f"the certificate at {where} is not valid: {error.verify_message}") from None
    except ssl.SSLError as error:
        unknown = error.reason == "TLSV1_UNRECOGNIZED_NAME"
        fault = f"there is no site {target.domain}" if unknown else f"no TLS: {error.reason}"
        raise AssertionError(f"{where}: {fault}") from None
    except TimeoutError:
        raise AssertionError(f"{where} gave no answer within {TIMEOUT_SECONDS} seconds") from None
    except OSError as error:
        raise AssertionError(f"{where} cannot be reached: {error.strerror or error}") from None
    except http.client.HTTPException as error:
        raise AssertionError(f"{where} gave no proper answer: {error!r}") from None


def _ask(connected: socket.socket | ssl.SSLSocket, domain: str, path: str) -> Answer:
    connection = http.client.HTTPConnection(domain)
    connection.sock = connected
    connection.request("GET", path, headers={"Connection": "close", "User-Agent": "chill-provision verify"})
    response = connection.getresponse()
    body = response.read(BODY_BYTES).decode("utf-8", "replace")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
