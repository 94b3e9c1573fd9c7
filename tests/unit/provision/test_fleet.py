"""The fleet directory: values with everything resolved, faults with file and key, all at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from provision.errors import InvalidFiles, RequestError
from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from tests.unit.provision.fleets import FINGERPRINT, add_instance, make_fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return make_fleet(tmp_path / "fleet")


def faults(fleet: Path) -> str:
    with pytest.raises(InvalidFiles) as caught:
        load_fleet(fleet)
    assert caught.value.status == 2
    return caught.value.message


def test_an_instance_is_read_with_all_its_names(fleet: Path) -> None:
    add_instance(fleet, "acme")
    loaded = load_fleet(fleet)
    acme = loaded.instance("acme")
    assert acme.names.test.domain == "acme-test.chill.pro"
    assert acme.servers == {"production": "srv1.example.net", "test": "srv2.example.net"}
    assert acme.contract.starts == date(2026, 3, 1)
    assert acme.contract.ends is None
    assert acme.responsible.fingerprint == FINGERPRINT
    assert loaded.server("srv1.example.net").address == "127.0.0.1"
    assert loaded.path("tls/ca.key") == fleet / "tls/ca.key"
    assert loaded.path("/etc/x") == Path("/etc/x")


def test_a_server_answers_under_its_name_unless_told_otherwise(fleet: Path) -> None:
    (fleet / "inventory/servers.yml").write_text("servers: {hosts: {srv1.example.net: }}\n")
    assert load_fleet(fleet).server("srv1.example.net").address == "srv1.example.net"


@pytest.mark.parametrize(
    "given,told", [("192.0.2.10", "a list of addresses"), ("[srv1]", "'srv1' is not an IP address")]
)
def test_public_addresses_are_addresses(fleet: Path, given: str, told: str) -> None:
    servers = fleet / "inventory/servers.yml"
    servers.write_text(f"servers: {{hosts: {{srv1.example.net: {{public_addresses: {given}}}}}}}\n")
    assert "inventory/servers.yml: servers.hosts.srv1.example.net.public_addresses: " in faults(fleet)
    assert told in faults(fleet)
    servers.write_text("servers: {hosts: {srv1.example.net: {public_addresses: [192.0.2.10]}}}\n")
    assert load_fleet(fleet).server("srv1.example.net").public_addresses == ("192.0.2.10",)


def test_unknown_names_are_refused_with_those_that_are_known(fleet: Path) -> None:
    add_instance(fleet, "acme")
    loaded = load_fleet(fleet)
    with pytest.raises(RequestError) as caught:
        loaded.instance("acne")
    assert "known: acme" in caught.value.hint
    with pytest.raises(RequestError) as caught:
        loaded.server("srv9")
    assert "srv1.example.net" in caught.value.hint


@pytest.mark.parametrize(
    "old,new,expected",
    [
        (
            "server: srv1.example.net",
            "server: srv9",
            "instances/acme.yml: production.hosts.acme.chill.pro.server: 'srv9'",
        ),
        (
            ", server: srv1.example.net",
            "",
            "instances/acme.yml: production.hosts.acme.chill.pro.server: is missing",
        ),
        ('instance: "acme"', "instance: other", "production.hosts.acme.chill.pro.instance: is 'other'"),
        (
            FINGERPRINT,
            "camille@example.org",
            "chill_acme.vars.responsible.fingerprint: an e-mail address may match",
        ),
        (
            "starts: 2026-03-01",
            "starts: 2026-02-30",
            "inventory/instances/acme.yml: holds a value that does not exist: day is out of range",
        ),
        ("starts: 2026-03-01", "starts: soon", "chill_acme.vars.contract.starts: "),
        (
            "ends: null",
            "ends: 2025-01-01",
            "chill_acme.vars.contract: ends 2025-01-01 is before starts 2026-03-01",
        ),
        ('client: "ASBL Acme"', 'client: ""', "chill_acme.vars.client: "),
        ("contract:", "contrat:", "chill_acme.vars.contract: is missing"),
        ("chill_acme:", "acme:", "chill_acme.hosts: expected acme-test.chill.pro and acme.chill.pro"),
        ("test:\n", "tests:\n", "test.hosts: expected exactly acme-test.chill.pro"),
        ("production:\n", "production: [\n", "inventory/instances/acme.yml:"),
    ],
)
def test_each_fault_of_an_instance_names_file_and_key(fleet: Path, old: str, new: str, expected: str) -> None:
    path = add_instance(fleet, "acme")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert expected in faults(fleet)


def test_faults_of_all_files_are_told_together(fleet: Path) -> None:
    add_instance(fleet, "acme").write_text("- a list\n")
    add_instance(fleet, "Beta")
    settings = fleet / "chill.toml"
    (fleet / "inventory/servers.yml").write_text("hosts: {}\n")
    settings.write_text(settings.read_text().replace("[mail]", "[mail]\nport = -1"))
    # Instances cannot be read without the domain that the settings give; what can be read is.
    told = faults(fleet)
    assert "chill.toml: mail.port" in told
    assert "inventory/servers.yml: servers: is missing" in told
    settings.write_text(settings.read_text().replace("port = -1", "port = 25"))
    told = faults(fleet)
    assert "inventory/instances/acme.yml: expected groups" in told
    assert "inventory/instances/Beta.yml: 'Beta' is not a slug: capital letters" in told


def test_the_option_wins_over_the_environment_over_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHILL_FLEET", raising=False)
    assert fleet_directory() == tmp_path
    monkeypatch.setenv("CHILL_FLEET", "/srv/fleet")
    assert fleet_directory() == Path("/srv/fleet")
    assert fleet_directory(tmp_path / "x") == tmp_path / "x"


def test_variables_of_the_roles_may_stand_beside_those_of_the_toolkit(fleet: Path) -> None:
    path = add_instance(fleet, "acme")
    path.write_text(path.read_text().replace("client:", "environment_php_processes: 4\n    client:"))
    assert load_fleet(fleet).instances["acme"].client == "ASBL Acme"
