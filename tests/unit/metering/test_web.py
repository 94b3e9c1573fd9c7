"""Asking a store: what is tried again, what is trusted, and what is told."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest

from metering.server import web as web_module
from metering.server.errors import SourceError
from metering.server.web import Answer, Web, acceptable
from tests.fixtures.local_services import certificate, free_port
from tests.unit.metering.scripted_server import scripted


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def pauses() -> list[float]:
    return []


def ask(url: str, pauses: list[float], ca_file: Path | None = None) -> Answer:
    with closing(Web("the store", ca_file, pauses.append)) as web:
        return web.ask("GET", url, dict)


def refusal(url: str, pauses: list[float], ca_file: Path | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        ask(url, pauses, ca_file)
    return caught.value.reason


@pytest.mark.parametrize("fault", [503, 500, 429, 0])
def test_what_passes_is_tried_again(pauses: list[float], fault: int) -> None:
    with scripted([(fault, b""), (fault, b""), (200, b"good")]) as server:
        assert ask(f"{server.url}/a?b=c", pauses).body == b"good"
    assert server.asked == ["/a?b=c"] * 3
    assert pauses == [1.0, 4.0]


def test_what_does_not_pass_is_a_failure(pauses: list[float]) -> None:
    with scripted([(503, b"marked")] * 3) as server:
        assert refusal(server.url, pauses) == "the store is out of order: it answers 503"
    with scripted([(0, b"")] * 3) as server:
        assert refusal(server.url, pauses) == "the store does not answer"
    assert refusal(f"http://127.0.0.1:{free_port()}", pauses) == "the store refuses the connection"


def test_a_service_that_may_not_use_the_network(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd's RestrictAddressFamilies does it."""

    def forbidden(*arguments: object, **more: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("socket.create_connection", forbidden)
    assert refusal("https://s3.example.net", pauses).endswith("(metering_network: true lets it)")


def test_an_answer_is_taken_whatever_it_says(pauses: list[float]) -> None:
    """A refusal is not a fault of the server: it is not tried again, nor is a redirection followed."""
    for status in (401, 403, 404, 301):
        with scripted([(status, b"no")]) as server:
            assert ask(server.url, pauses).status == status
    assert pauses == []


def test_a_server_that_is_silent(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(web_module, "SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refusal(url, pauses) == "the store does not answer in time"


def test_an_answer_without_end(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "LARGEST_ANSWER", 10)
    with scripted([(200, b"x" * 11)]) as server:
        assert refusal(server.url, pauses) == "the store answers more than can be right"


def test_a_certificate_must_be_trusted(pauses: list[float], own_certificate: tuple[Path, Path]) -> None:
    with scripted([(200, b"good")], own_certificate) as server:
        assert refusal(server.url, pauses) == "the store has a certificate that is not trusted here"
        assert server.asked == []
        assert pauses == []
        assert ask(server.url, pauses, own_certificate[0]).body == b"good"


def test_certificates_that_cannot_be_read(pauses: list[float], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    assert refusal("https://127.0.0.1", pauses, tmp_path / "empty.pem").endswith("empty.pem holds no certificate")
    assert "cannot be read: No such file" in refusal("https://127.0.0.1", pauses, tmp_path / "absent.pem")
    assert pauses == []


@pytest.mark.parametrize(
    "url,good",
    [
        ("https://s3.example.net", True),
        ("https://s3.example.net:8443/path", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost", True),
        ("http://s3.example.net", False),
        ("http://127.0.0.1.example.net", False),
        ("http://192.0.2.7", False),
        ("https://user:secret@s3.example.net", False),
        ("https://", False),
        ("https://s3.example.net:port", False),
        ("ftp://127.0.0.1", False),
        ("s3.example.net", False),
    ],
)
def test_passwords_go_by_https_or_stay_on_this_machine(url: str, good: bool, pauses: list[float]) -> None:
    assert acceptable(url) is good


def test_an_address_that_a_store_names_is_held_to_the_same(pauses: list[float]) -> None:
    assert "not HTTPS: nothing is sent there" in refusal("http://192.0.2.7/v1/AUTH_acme", pauses)
