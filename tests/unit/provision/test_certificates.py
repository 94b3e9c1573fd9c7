"""The files that `[tls]` names: what is wrong with them is told before anything is done."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provision.certificates import tls_problems
from provision.fleet_reader import load_fleet
from tests.unit.provision.fleets import make_fleet

WILDCARD = '[tls]\nmode = "wildcard"\ncertificate = "tls/wildcard.pem"\nkey = "tls/wildcard.key"\n'
PRIVATE = '[tls]\nca_certificate = "tls/ca.crt"\nca_key = "tls/ca.key"\n'


def make_certificate(directory: Path, name: str, domain: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
    ]
    command += ["-subj", "/CN=lab", "-addext", f"subjectAltName=DNS:{domain}"]
    files = ["-out", str(directory / f"{name}.pem"), "-keyout", str(directory / f"{name}.key")]
    subprocess.run([*command, *files], check=True, capture_output=True)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    directory = make_fleet(tmp_path / "fleet")
    settings = directory / "chill.toml"
    settings.write_text(settings.read_text().replace(PRIVATE, WILDCARD))
    make_certificate(directory / "tls", "wildcard", "*.chill.pro")
    return directory


def problems(fleet: Path, days: int = 0) -> list[str]:
    now = datetime.now(UTC) + timedelta(days=days)
    return [str(problem) for problem in tls_problems(load_fleet(fleet), now)]


def test_a_wildcard_certificate_with_its_key_is_fit(fleet: Path) -> None:
    assert problems(fleet) == []


def test_one_that_ended_is_refused(fleet: Path) -> None:
    assert "chill.toml: tls.certificate: it ended on" in problems(fleet, days=31)[0]


def test_one_for_other_names_is_refused_with_the_names(fleet: Path) -> None:
    make_certificate(fleet / "tls", "wildcard", "*.chill.example")
    assert "it is for *.chill.example, not for *.chill.pro" in problems(fleet)[0]


def test_the_key_of_another_is_refused(fleet: Path) -> None:
    kept = (fleet / "tls/wildcard.pem").read_bytes()
    make_certificate(fleet / "tls", "wildcard", "*.chill.pro")
    (fleet / "tls/wildcard.pem").write_bytes(kept)
    assert "is not the key of tls.certificate" in problems(fleet)[0]


@pytest.mark.parametrize("name,told", [("wildcard.pem", "holds no certificate"), ("wildcard.key", "no private key")])
def test_files_that_are_something_else(fleet: Path, name: str, told: str) -> None:
    (fleet / "tls" / name).write_text("something else")
    assert told in problems(fleet)[0]


def test_a_key_that_others_may_read_is_refused_with_the_command_to_type(fleet: Path) -> None:
    (fleet / "tls/wildcard.key").chmod(0o644)
    (told,) = problems(fleet)
    assert "chmod 600" in told


def test_a_file_that_is_not_there_is_named_by_its_key(fleet: Path) -> None:
    (fleet / "tls/wildcard.key").unlink()
    (told,) = problems(fleet)
    assert told.startswith("chill.toml: tls.key: ")


def test_an_acme_directory_of_ones_own_needs_its_authority(fleet: Path) -> None:
    settings = fleet / "chill.toml"
    settings.write_text(settings.read_text().replace(WILDCARD, '[tls]\nmode = "acme"\ndirectory_ca = "tls/none.pem"\n'))
    (told,) = problems(fleet)
    assert told.startswith("chill.toml: tls.directory_ca: ")
