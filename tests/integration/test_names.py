"""Whether names lead to servers: asked of a real DNS server, and of a real web server for the probe."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import probe
from provision.fleet_reader import load_fleet
from provision.records import Answer
from provision.resolver import addresses, look_up_names
from tests.fixtures.local_services import free_port
from tests.fixtures.name_server import NameServer, name_server
from tests.unit.provision.fleets import add_instance, make_fleet

DOMAIN = "acme.chill.pro"
PATH = "/.well-known/acme-challenge/chill-probe"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    with name_server(tmp_path_factory.mktemp("dns")) as made:
        yield made


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """A web server on loopback that has the probe for `acme.chill.pro` alone; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == PATH and self.headers["Host"] == DOMAIN
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"proof\n" if known else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_kinds_of_addresses_are_found(names: NameServer) -> None:
    names.lead("both.chill.pro", "192.0.2.10", "2001:db8::10")
    assert addresses("both.chill.pro", [names.resolver]) == Answer(frozenset({"192.0.2.10", "2001:db8::10"}))
    assert addresses("nowhere.chill.pro", [names.resolver]) == Answer()


def test_a_resolver_that_is_not_there_is_a_fault_in_words() -> None:
    answer = addresses("acme.chill.pro", [f"127.0.0.1:{free_port()}"])
    assert answer.fault
    assert "Traceback" not in answer.fault


def test_the_names_of_an_instance_are_held_to_its_servers(names: NameServer, tmp_path: Path) -> None:
    directory = make_fleet(tmp_path / "fleet")
    add_instance(directory, "acme")
    settings = directory / "chill.toml"
    settings.write_text(settings.read_text().replace("[ssh]", f'[dns]\nresolvers = ["{names.resolver}"]\n\n[ssh]'))
    (directory / "inventory/servers.yml").write_text(
        "servers:\n  hosts:\n    srv1.example.net: {ansible_host: 10.0.0.1, public_addresses: [192.0.2.10]}\n"
        "    srv2.example.net:\n"
    )
    names.lead(DOMAIN, "192.0.2.10")
    names.lead("srv2.example.net", "192.0.2.20")
    fleet = load_fleet(directory)

    found = look_up_names(fleet, fleet.instance("acme"))

    assert [finding.verdict for finding in found] == ["right", "missing"]
    assert "acme-test.chill.pro. 3600 IN A 192.0.2.20" in str(found[1])
    names.lead_all("192.0.2.20")
    wildcard = look_up_names(fleet, fleet.instance("acme"))
    names.lead_all("")
    assert "by the wildcard *.chill.pro" in str(wildcard[1])


def test_the_probe_is_fetched_by_its_public_name(names: NameServer, web: int) -> None:
    names.lead(DOMAIN, "127.0.0.1")
    names.lead("other.chill.pro", "127.0.0.1")

    def fault(domain: str, content: str = "proof", port: int = web) -> str:
        return probe.fault(domain, PATH, content, [names.resolver], port)

    assert fault(DOMAIN) == ""
    assert "answers 404" in fault("other.chill.pro")
    assert "another server" in fault(DOMAIN, "another proof")
    assert "leads nowhere" in fault("nowhere.chill.pro")
    assert "cannot be fetched: Connection refused" in fault(DOMAIN, port=free_port())


def test_every_address_of_the_name_must_answer(names: NameServer, web: int) -> None:
    """The authority may ask at any."""
    names.lead(DOMAIN, "127.0.0.1", "::1")
    assert "[::1]" in probe.fault(DOMAIN, PATH, "proof", [names.resolver], web)
