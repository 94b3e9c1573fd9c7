"""Fetches a probe file by an environment's public name, as the authority that is asked for a certificate will.

`python -m provision.probe DOMAIN PATH CONTENT [RESOLVER…]` prints nothing when the file is found, else why it is not,
in a sentence. The playbook runs it on the control machine before a certificate is ordered: directories count failures.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import sys
from collections.abc import Sequence

from provision.records import Answer
from provision.resolver import addresses

TIMEOUT_SECONDS = 10
HTTP_PORT = 80


def fault(domain: str, path: str, content: str, resolvers: Sequence[str], port: int = HTTP_PORT) -> str:
    """Why the file cannot be had under the public name; empty when it can, at every address of that name.

    An authority may ask at any of them, and prefers IPv6.
    """
    answer: Answer = addresses(domain, resolvers)
    if answer.fault:
        return f"{domain} could not be looked up in the DNS: {answer.fault}"
    if not answer.addresses:
        return f"{domain} leads nowhere in the DNS: add its record"
    faults = [_fault_at(address, domain, path, content, port) for address in sorted(answer.addresses)]
    return next(filter(None, faults), "")


def _fault_at(address: str, domain: str, path: str, content: str, port: int) -> str:
    where = f"http://{domain}{path} at {_written(address)}"
    try:
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", path, headers={"Host": domain, "Connection": "close"})
        response = connection.getresponse()
        found = response.read(1000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        silent = "no answer" if isinstance(error, TimeoutError | socket.timeout) else reason
        return f"{where} cannot be fetched: {silent or type(error).__name__}"
    if response.status != http.HTTPStatus.OK:
        return f"{where} answers {response.status}"
    return "" if found == content else f"{where} is another file: the name leads to another server"


def _written(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address


def main(arguments: Sequence[str]) -> None:
    domain, path, content, *resolvers = arguments
    print(fault(domain, path, content, resolvers))


if __name__ == "__main__":
    main(sys.argv[1:])
