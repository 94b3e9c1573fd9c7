"""Asks an environment over HTTP as its users do: from here, at its server's address, by its name.

The name is not looked up in the DNS, so that an environment can be checked before its record exists.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

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
    """GET a page, without following redirects; an AssertionError says in words why none came."""
    port = target.https_port if secure else target.http_port
    where = f"{target.address} port {port}"
    try:
        with socket.create_connection((target.address, port), TIMEOUT_SECONDS) as plain:
            if not secure:
                return _ask(plain, target.domain, path)
            context = ssl.create_default_context(cafile=target.ca_certificate)
            with context.wrap_socket(plain, server_hostname=target.domain) as encrypted:
                return _ask(encrypted, target.domain, path)
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


def _ask(connected: socket.socket, domain: str, path: str) -> Answer:
    connection = http.client.HTTPConnection(domain)
    connection.sock = connected
    connection.request("GET", path, headers={"Connection": "close", "User-Agent": "chill-provision verify"})
    response = connection.getresponse()
    body = response.read(BODY_BYTES).decode("utf-8", "replace")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
