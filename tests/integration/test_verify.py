"""Verification of servers that do not keep what they should: what it says, and what cannot disturb it.

What it says of servers that do is proven in the lab, on machines that the playbooks prepared.
"""

from __future__ import annotations

import http.server
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision import verify
from provision.errors import ChillError
from provision.fleet import Fleet, Server
from provision.settings import Settings
from provision.verify import CheckResult
from provision.verify.recorder import REACHABLE
from provision.verify.target import Target, resolve, shared_options, write_targets

ROOT = Path(__file__).resolve().parents[2]
HEALTHY = '{"status": "ok", "version": "1.0", "database": "ok", "redis": "ok"}'
LOGIN = '<form action="/login_check"><input name="_csrf_token"></form>'
HEALTH_CHECK = "the application reaches its database and Redis"
LOGIN_CHECK = "the login page is served over HTTPS"
CERTIFICATE_CHECK = "the certificate is valid for the name, and not about to end"
HEADERS_CHECK = "browsers are told to keep to HTTPS, to guess no types and to frame nothing from elsewhere"
TERMS = {
    "HTTPS speaks TLS 1.2 and 1.3, and nothing older",
    "HTTPS has forward secrecy, and no weak cipher",
    "a name that is not here gets no answer",
    HEADERS_CHECK,
}
HEADERS = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}
REDIRECT_CHECK = "HTTP leads to HTTPS"


@dataclass(frozen=True)
class Certified:
    """A private authority, and a context with a certificate it signed for acme.chill.pro."""

    authority: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, check=True)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90")
    openssl(*new, "-subj", "/CN=Lab", "-keyout", "ca.key", "-out", "ca.pem")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:acme.chill.pro")
    openssl(*new, "-subj", "/CN=acme", *signed, "-keyout", "site.key", "-out", "site.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "site.pem", directory / "site.key")
    context.set_ciphers("ECDHE+AESGCM")
    context.sni_callback = lambda _connection, name, _context: (
        None if str(name).endswith(".chill.pro") else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    )
    return Certified(directory / "ca.pem", context)


@contextmanager
def site(
    pages: Mapping[str, tuple[int, str]],
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = HEADERS,
) -> Iterator[int]:
    """A web server on a port of loopback; of a 3xx page, the text is where it leads."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def version_string(self) -> str:
            return "lab"

        def do_GET(self) -> None:
            status, text = pages.get(self.path, (404, ""))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", text)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that refuses the certificate hangs up: that is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def target(certified: Certified, **changes: object) -> Target:
    """An environment on a server that answers nothing but what `changes` say."""
    silent = Target(
        instance="acme",
        kind="production",
        domain="acme.chill.pro",
        user="chill-acme",
        database="chill_acme",
        home="/srv/chill/acme.chill.pro",
        release="1.0",
        server="srv1.example.net",
        address="127.0.0.1",
        ssh_host="127.0.0.1",
        ssh_options=("-F", "/dev/null", "-p", str(closed_port()), "-o", "BatchMode=yes"),
        sudo=False,
        ca_certificate=str(certified.authority),
        http_port=closed_port(),
        https_port=closed_port(),
    )
    return replace(silent, **changes)  # type: ignore[arg-type]


def checked(target: Target, tmp_path: Path) -> dict[str, CheckResult]:
    """The results by name; every one was reported as a line."""
    lines: list[str] = []
    results = verify.run_checks([target], tmp_path, lines.append)
    assert lines == [str(result) for result in results]
    assert {result.environment for result in results} == {target.domain}
    return {result.name: result for result in results}


def test_a_silent_server_fails_every_question_in_words(certified: Certified, tmp_path: Path) -> None:
    results = checked(target(certified), tmp_path)
    assert set(results) == {REACHABLE, HEALTH_CHECK, LOGIN_CHECK, REDIRECT_CHECK, CERTIFICATE_CHECK, *TERMS}
    assert not any(result.passed for result in results.values())
    assert "srv1.example.net cannot be reached" in results[REACHABLE].message
    assert "Connection refused" in results[REACHABLE].message
    assert results[HEALTH_CHECK].message.endswith("cannot be reached: Connection refused")


def test_a_site_that_is_right_passes_from_here(certified: Certified, tmp_path: Path) -> None:
    pages = {"/healthz": (200, HEALTHY), "/login": (200, LOGIN)}
    moved = {"/login": (301, "https://acme.chill.pro/login")}
    with site(pages, certified.context) as https, site(moved) as http_port:
        results = checked(target(certified, https_port=https, http_port=http_port), tmp_path)
    passed = {name for name, result in results.items() if result.passed}
    assert passed == {HEALTH_CHECK, LOGIN_CHECK, REDIRECT_CHECK, CERTIFICATE_CHECK, *TERMS}, results
    assert all(result.message == "" for result in results.values() if result.passed)


@pytest.mark.parametrize(
    "check, page, reason",
    [
        (HEALTH_CHECK, (503, HEALTHY.replace('"redis": "ok"', '"redis": "down"')), "no answer from: redis"),
        (HEALTH_CHECK, (200, '{"status": "ok"}'), "no answer from: database, redis"),
        (HEALTH_CHECK, (200, "<h1>Welcome to nginx!</h1>"), "not in JSON"),
        (HEALTH_CHECK, (404, ""), "/healthz answers 404"),
        (LOGIN_CHECK, (200, "<h1>Welcome to nginx!</h1>"), "no login form"),
        (LOGIN_CHECK, (502, "Bad Gateway"), "/login answers 502"),
        (LOGIN_CHECK, (302, "https://elsewhere.example.org/"), "/login answers 302"),
    ],
)
def test_a_wrong_page_is_found(
    certified: Certified, tmp_path: Path, check: str, page: tuple[int, str], reason: str
) -> None:
    path = "/healthz" if check == HEALTH_CHECK else "/login"
    with site({path: page}, certified.context) as port:
        result = checked(target(certified, https_port=port), tmp_path)[check]
    assert not result.passed
    assert reason in result.message


@pytest.mark.parametrize(
    "page, reason",
    [
        ((200, LOGIN), "answers 200"),
        ((301, "https://elsewhere.example.org/login"), "leads to https://elsewhere.example.org/login"),
    ],
)
def test_http_that_does_not_lead_to_https_is_found(
    certified: Certified, tmp_path: Path, page: tuple[int, str], reason: str
) -> None:
    with site({"/login": page}) as port:
        result = checked(target(certified, http_port=port), tmp_path)[REDIRECT_CHECK]
    assert not result.passed
    assert reason in result.message


def test_a_certificate_for_another_name_is_found(certified: Certified, tmp_path: Path) -> None:
    with site({"/login": (200, LOGIN)}, certified.context) as port:
        other = target(certified, https_port=port, domain="other.chill.pro")
        results = checked(other, tmp_path)
    result = results[CERTIFICATE_CHECK]
    assert not result.passed
    assert result.degrades
    assert "certificate" in result.message
    assert "other.chill.pro" in result.message
    assert results[LOGIN_CHECK].passed, "what else stands is found out without the certificate"


def test_a_certificate_of_another_authority_is_found(
    certified: Certified, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("other") / "ca.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Other", "-days", "2"]
    request += ["-keyout", "/dev/null", "-out", str(elsewhere)]
    subprocess.run(request, capture_output=True, check=True)
    with site({"/login": (200, LOGIN)}, certified.context) as port:
        result = checked(target(certified, https_port=port, ca_certificate=str(elsewhere)), tmp_path)[CERTIFICATE_CHECK]
    assert not result.passed
    assert "certificate" in result.message


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_missing_is_named(certified: Certified, tmp_path: Path, name: str) -> None:
    others = {header: value for header, value in HEADERS.items() if header != name}
    with site({"/login": (200, LOGIN)}, certified.context, others) as port:
        result = checked(target(certified, https_port=port), tmp_path)[HEADERS_CHECK]
    assert not result.passed
    assert name.lower() in result.message.lower()


def test_metering_is_asked_of_production_only(certified: Certified, tmp_path: Path) -> None:
    """Without a server to ask, told by what pytest collects."""
    both = [target(certified), target(certified, kind="test", domain="acme-test.chill.pro")]
    write_targets(both, tmp_path / "targets.json")
    command = [*verify.command(tmp_path / "targets.json", 1), "--collect-only"]
    shown = subprocess.run(command, env=verify.environment({}), capture_output=True, text=True, check=True).stdout
    assert "test_metered[acme.chill.pro]" in shown
    assert "test_metered[acme-test.chill.pro]" not in shown
    of_test_alone = len(re.findall(r"test_test_environment\.py.*\[acme-test.chill.pro\]", shown))
    assert "test_test_environment.py" not in "".join(re.findall(r".*\[acme.chill.pro\]", shown))
    assert shown.count("[acme-test.chill.pro]") - of_test_alone == shown.count("[acme.chill.pro]") - 2 > 12
    assert of_test_alone > 4


def test_nothing_of_the_callers_directory_or_pytest_disturbs_it(
    certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("pytest.ini", "conftest.py", "provision.py", "json.py"):
        (trap / name).write_text("[pytest]\naddopts = --no-such-option\n" if name == "pytest.ini" else "1 / 0\n")
    monkeypatch.chdir(trap)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from provision import verify\n"
        "from provision.verify.target import read_targets\n"
        "targets = read_targets(Path(sys.argv[2]))\n"
        "print(len(verify.run_checks(targets, Path(sys.argv[3]), lambda line: None)))\n"
    )
    write_targets([target(certified)], tmp_path / "given.json")
    command = [sys.executable, "-P", "-c", script, str(ROOT), str(tmp_path / "given.json"), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{5 + len(TERMS)}\n"


def test_checks_that_cannot_run_are_an_error_not_a_success(tmp_path: Path) -> None:
    with pytest.raises(ChillError, match="the verification itself failed") as caught:
        verify.run_checks([], tmp_path, print)
    assert caught.value.status == 1


def test_ssh_is_asked_as_the_inventory_and_the_fleets_configuration_say(tmp_path: Path) -> None:
    configuration = tmp_path / "ssh_config"
    configuration.write_text("Host srv1\n  HostName 192.0.2.7\n")
    fleet = Fleet(tmp_path, settings(ssh={"config": "ssh_config"}), {}, {})
    plain = Server("srv1", {})
    assert resolve(plain, shared_options(fleet, plain, tmp_path)) == ("192.0.2.7", "root")
    variables = {"ansible_host": "192.0.2.8", "ansible_user": "admin", "ansible_port": 2222}
    variables["ansible_ssh_common_args"] = "-o User=other -o LogLevel=ERROR"
    named = Server("srv2", variables)
    options = shared_options(fleet, named, tmp_path)
    assert resolve(named, options) == ("192.0.2.8", "admin")
    assert "2222" in options
    assert "LogLevel=ERROR" in options


def test_an_ssh_configuration_with_a_fault_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("NoSuchKeyword yes\n")
    fleet = Fleet(tmp_path, settings(ssh={"config": "ssh_config"}), {}, {})
    server = Server("srv1", {})
    with pytest.raises(ChillError, match=r"srv1: ssh: .*NoSuchKeyword|nosuchkeyword") as caught:
        resolve(server, shared_options(fleet, server, tmp_path))
    assert "ssh.config" in caught.value.hint


def settings(**sections: object) -> Settings:
    return Settings.model_validate(
        {
            "domain": "chill.pro",
            "support_domain": "support.example.org",
            "release": {"version": "1.0", "archive": "release.tar.gz", "sha256": "0" * 64},
            "mail": {"sender": "letters@chill.pro"},
            "tls": {"ca_certificate": "ca.pem", "ca_key": "ca.key"},
            **sections,
        }
    )
