"""An ACME server and its DNS on the lab's bridge: Debian's pebble and pebble-challtestsrv.

pebble signs for whoever proves a name as a public authority would: it looks the name up in the DNS beside it and
fetches the challenge from port 80. Each start has a root of its own.
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.local_services import certificate, free_port, wait_for
from tests.fixtures.name_server import NameServer, logged, name_server
from tests.lab.network import HOST

SECONDS_A_DAY = 86_400
# Without them it waits before it looks, and refuses good nonces now and then: both test clients, not servers.
_HASTE = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}


@dataclass(frozen=True)
class Authority:
    """The directory's URL, PEM files of who signed its own certificate and of the root that it signs with, the DNS."""

    directory: str
    directory_ca: Path
    root: Path
    names: NameServer
    log: Path

    @property
    def orders(self) -> int:
        """How many orders it was given."""
        return self.log.read_text(errors="replace").count("order-plz")

    def settings(self, email: str = "adminsys@example.org") -> str:
        """`[tls]` and `[dns]` of a fleet that has certificates from here."""
        values = {
            "mode": "acme",
            "directory": self.directory,
            "directory_ca": str(self.directory_ca),
            "ca_certificate": str(self.root),
            "email": email,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join(["[tls]", *lines, "", "[dns]", f'resolvers = ["{self.names.resolver}"]'])


@contextmanager
def authority(directory: Path) -> Iterator[Authority]:
    """Run both until the end of the block. `directory` gets their files. The lab's bridge must be there."""
    directory.mkdir()
    own, key = certificate(directory, HOST)
    acme, management = (f"{HOST}:{free_port(HOST)}" for _ in range(2))
    settings = {
        "listenAddress": acme,
        "managementListenAddress": management,
        "certificate": str(own),
        "privateKey": str(key),
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": 90 * SECONDS_A_DAY,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    root, log = directory / "root.pem", directory / "pebble.log"
    with name_server(directory, HOST) as names:
        command = ["pebble", "-config", str(directory / "pebble.json"), "-dnsserver", names.resolver]
        with logged(command, log, _HASTE):
            wait_for(lambda: _fetched(f"https://{management}/roots/0", own, root), f"pebble does not answer; see {log}")
            yield Authority(f"https://{acme}/dir", own, root, names, log)


def _fetched(url: str, trusted: Path, into: Path) -> bool:
    context = ssl.create_default_context(cafile=trusted)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as answer:
            into.write_bytes(answer.read())
    except OSError:
        return False
    return True
