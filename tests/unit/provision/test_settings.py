"""chill.toml: every fault at once, each with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.settings import read_settings
from tests.unit.provision.fleets import make_fleet


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return make_fleet(tmp_path / "fleet") / "chill.toml"


def problems(path: Path) -> list[str]:
    settings, found = read_settings(path)
    assert settings is None
    return [str(problem) for problem in found]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_defaults(settings_file: Path) -> None:
    settings, found = read_settings(settings_file)
    assert not found
    assert settings
    assert (settings.language, settings.timezone, settings.ledger) == ("fr", "Europe/Brussels", "ledger")
    assert (settings.mail.host, settings.mail.port, settings.openpgp.minimum_validity_days) == (
        "localhost",
        25,
        30,
    )


@pytest.mark.parametrize(
    "old,new,expected",
    [
        ('domain = "chill.pro"\n', "", "chill.toml: domain: is missing"),
        ('domain = "chill.pro"', 'domain = "Chill_pro"', "chill.toml: domain: "),
        ('domain = "chill.pro"', "domain = 3", "chill.toml: domain: expected text between quotes"),
        (
            'sender = "adminsys@example.org"',
            'sender = "adminsys"',
            "chill.toml: mail.sender: expected an e-mail address",
        ),
        ('version = "1.0.0"', 'version = "../1"', "chill.toml: release.version: "),
        ('sha256 = "', 'sha256 = "XY', "chill.toml: release.sha256: "),
        ("[mail]", '[mail]\nport = "25"', None),
        ("[mail]", "[mail]\nport = 0", "chill.toml: mail.port: "),
        ("[mail]", '[mail]\nsecurity = "ssl"', "chill.toml: mail.security: "),
        ("[mail]", '[mail]\nhots = "x"', "chill.toml: mail.hots: is not a key that is known here"),
        (
            "[openpgp]",
            '[openpgp]\nsigning_key = "me@example.org"',
            "chill.toml: openpgp.signing_key: an e-mail address may",
        ),
        ("[release]", 'timezone = "Mars/Base"\n[release]', "chill.toml: timezone: not a time zone"),
        ("[release]", 'language = "de"\n[release]', "chill.toml: language: "),
        ("[tls]", "[tls", "chill.toml: is not TOML: "),
        ("[tls]", '[tls]\nmode = "acne"', "chill.toml: tls: mode: expected private-ca, acme, wildcard"),
        ("[tls]", '[tls]\nmode = "acme"', "chill.toml: tls.ca_key: is not a key that is known here"),
        ("[tls]", '[tls]\nmode = "wildcard"', "chill.toml: tls.certificate: is missing"),
        ("[tls]", '[dns]\nresolvers = ["dns.example.net"]\n[tls]', "chill.toml: dns.resolvers.0: expected an address"),
        ("[tls]", '[dns]\nresolvers = ["9.9.9.9", "10.0.0.1:5353", "[2620:fe::fe]:53"]\n[tls]', None),
    ],
)
def test_each_fault_names_file_and_key(settings_file: Path, old: str, new: str, expected: str | None) -> None:
    replace(settings_file, old, new)
    if expected is None:
        # A number between quotes is still a number: TOML makes the slip easy, and its meaning is plain.
        assert read_settings(settings_file)[0] is not None
        return
    assert any(expected in problem for problem in problems(settings_file)), problems(settings_file)


def test_all_faults_are_told_at_once(settings_file: Path) -> None:
    replace(settings_file, 'domain = "chill.pro"\n', "")
    replace(settings_file, 'sender = "adminsys@example.org"', 'sender = "nobody"')
    replace(settings_file, 'ca_key = "tls/ca.key"', "")
    places = {problem.split(":")[1].strip() for problem in problems(settings_file)}
    assert places == {"domain", "mail.sender", "tls.ca_key"}


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "chill-provision init" in problems(tmp_path / "chill.toml")[0]


def test_a_file_that_is_not_text(settings_file: Path) -> None:
    settings_file.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in problems(settings_file)[0]
