"""Bad input: a clear error, exit status 2, nothing changed. Commands are run whole; keys are GnuPG's own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provision.cli import main
from provision.preflight import writable_problems
from tests.integration.keys import LONG_AGO, Home, home
from tests.unit.provision.fleets import add_instance, make_fleet, tree


@pytest.fixture(scope="module")
def keys() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def fit(keys: Home) -> str:
    return keys.make("Camille Dubois <camille@example.org>", "future-default", "default", "1y")


@pytest.fixture
def fleet(tmp_path: Path, keys: Home) -> Path:
    return make_fleet(tmp_path / "fleet", keyring=str(keys.path))


def request(fleet: Path, fingerprint: str, *more: str, slug: str = "acme", **changed: str) -> list[str]:
    options = {
        "client": "ASBL Acme",
        "server": "srv1.example.net",
        "responsible-name": "Camille Dubois",
        "responsible-email": "camille@example.org",
        "fingerprint": fingerprint,
        "starts": "2026-03-01",
        "tariff": "standard",
        "fleet": str(fleet),
    }
    options |= {name.replace("_", "-"): value for name, value in changed.items()}
    flags = [text for name, value in options.items() for text in (f"--{name}", value)]
    return ["create", slug, *flags, "--yes", *more]


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(main, arguments)


def assert_refused(fleet: Path, arguments: list[str], *told: str, status: int = 2) -> None:
    before = tree(fleet)
    result = run(arguments)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for text in told:
        assert text in result.stderr, result.stderr
    assert result.stdout == ""
    assert tree(fleet) == before


@pytest.mark.parametrize(
    "slug,part",
    [
        ("Acme", "capital letters"),
        ("acme-test", "-test"),
        ("a" * 22, "22 characters long"),
        ("a", "shorter than 2"),
        ("1a", "begin with a letter"),
        ("ac--me", "two hyphens"),
        ("www", "reserved"),
        ("../acme", "only a-z"),
    ],
)
def test_slugs_that_break_the_rule(fleet: Path, fit: str, slug: str, part: str) -> None:
    assert_refused(fleet, request(fleet, fit, slug=slug), "SLUG: ", part, "a valid one: maison-verte")


def test_a_slug_that_settings_reserve(fleet: Path, fit: str) -> None:
    settings = fleet / "chill.toml"
    settings.write_text('reserved_slugs = ["acme"]\n' + settings.read_text())
    assert_refused(fleet, request(fleet, fit), "SLUG: 'acme' is not a slug: it is a reserved word")


def test_a_slug_that_exists_with_other_values(fleet: Path, fit: str) -> None:
    add_instance(fleet, "acme", fit)
    told = ("'acme' exists already", "--client: asked for 'Other', but acme has 'ASBL Acme'")
    assert_refused(fleet, request(fleet, fit, client="Other"), *told)


@pytest.mark.parametrize("domain", ["acme.chill.pro", "acme-test.chill.pro"])
def test_a_slug_whose_pair_exists_elsewhere(fleet: Path, fit: str, domain: str) -> None:
    (fleet / "inventory/old.yml").write_text(f"all: {{hosts: {{{domain}: {{}}}}}}\n")
    assert_refused(fleet, request(fleet, fit), f"SLUG: {domain} stands already in inventory/old.yml")


def test_an_unknown_server(fleet: Path, fit: str) -> None:
    told = ("--server: 'srv9' is not in inventory/servers.yml", "known: srv1.example.net, srv2.example.net")
    assert_refused(fleet, request(fleet, fit, server="srv9"), *told)


def test_a_server_that_cannot_be_reached_is_a_failure_and_changes_nothing(fleet: Path, fit: str) -> None:
    arguments = request(fleet, fit, test_server="srv2.example.net")
    told = (
        "srv1.example.net: ",
        "srv2.example.net: ",
        "Connection refused",
        "nothing was changed",
        "try: ssh -F",
    )
    assert_refused(fleet, arguments, *told, status=1)


def test_a_server_that_is_not_prepared(fleet: Path, fit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for ssh whose server answers, but has no such file: ssh then ends with the status of test.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    told = (
        "not prepared for environments: srv1.example.net",
        "first: chill-provision server prepare srv1.example.net",
    )
    assert_refused(fleet, request(fleet, fit), *told)


def test_preparing_a_server_that_cannot_be_reached_or_is_unknown(fleet: Path) -> None:
    prepare = ["server", "prepare", "--fleet", str(fleet)]
    assert_refused(fleet, [*prepare, "srv1.example.net"], "srv1.example.net: ", "Connection refused", status=1)
    assert_refused(fleet, [*prepare, "srv9"], "server 'srv9' is not in inventory/servers.yml")


def test_wrong_settings_are_told_all_at_once(fleet: Path, fit: str) -> None:
    settings = fleet / "chill.toml"
    text = settings.read_text().replace('domain = "chill.pro"\n', "", 1).replace("adminsys@example.org", "nobody")
    settings.write_text(text.replace('ca_key = "tls/ca.key"', "ca_key = 3"))
    told = ("chill.toml: domain: is missing", "chill.toml: mail.sender: ", "chill.toml: tls.ca_key: ")
    assert_refused(fleet, request(fleet, fit), *told)


def test_a_directory_that_is_no_fleet(tmp_path: Path, fit: str) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(
        tmp_path / "empty", request(tmp_path / "empty", fit), "chill.toml: there is no such file", "init DIR"
    )


@pytest.fixture(scope="module")
def unfit(keys: Home) -> Callable[[str], str]:
    made: dict[str, str] = {}

    def key(kind: str) -> str:
        if kind not in made:
            made[kind] = make_unfit(keys, kind)
        return made[kind]

    return key


def make_unfit(keys: Home, kind: str) -> str:
    if kind == "sign-only":
        return keys.make("Signer <signer@example.org>", "ed25519", "sign", "1y")
    if kind == "expired":
        return keys.make("Late <late@example.org>", "future-default", "default", "1y", when=LONG_AGO)
    if kind == "revoked":
        fingerprint = keys.make("Gone <gone@example.org>", "future-default", "default", "1y")
        keys.revoke(fingerprint)
        return fingerprint
    return "0" * 40


@pytest.mark.parametrize(
    "kind,told",
    [("absent", "no key 0000"), ("expired", "expired"), ("revoked", "revoked"), ("sign-only", "encrypt")],
)
def test_keys_that_are_unfit(fleet: Path, unfit: Callable[[str], str], kind: str, told: str) -> None:
    assert_refused(fleet, request(fleet, unfit(kind)), "fingerprint: ", told)


def test_an_e_mail_address_instead_of_a_fingerprint(fleet: Path) -> None:
    assert_refused(
        fleet,
        request(fleet, "camille@example.org"),
        "--fingerprint: an e-mail address may match several keys",
    )


def test_an_unfit_key_of_an_instance_that_exists(fleet: Path, unfit: Callable[[str], str]) -> None:
    add_instance(fleet, "acme", unfit("expired"))
    assert_refused(fleet, ["create", "acme", "--yes", "--fleet", str(fleet)], "responsible.fingerprint: ", "expired")


def test_a_signing_key_that_cannot_sign(fleet: Path, fit: str, unfit: Callable[[str], str]) -> None:
    settings = fleet / "chill.toml"
    settings.write_text(settings.read_text().replace("[openpgp]", f'[openpgp]\nsigning_key = "{unfit("revoked")}"'))
    assert_refused(fleet, request(fleet, fit), "chill.toml: openpgp.signing_key: ", "revoked")


def test_a_release_that_is_missing_or_another(fleet: Path, fit: str) -> None:
    archive = fleet / "releases/chill.tar.gz"
    archive.write_bytes(b"another")
    assert_refused(fleet, request(fleet, fit), "chill.toml: release.sha256: ", "has the checksum ")
    archive.unlink()
    assert_refused(fleet, request(fleet, fit), f"chill.toml: release.archive: {archive}: No such file")


def test_a_tariff_that_is_missing_or_broken(fleet: Path, fit: str) -> None:
    assert_refused(
        fleet,
        request(fleet, fit, tariff="gold"),
        "tariffs/gold.toml: there is no such tariff",
        "known: standard",
    )
    (fleet / "tariffs/gold.toml").write_text("currency = ")
    assert_refused(fleet, request(fleet, fit, tariff="gold"), "tariffs/gold.toml: is not TOML")


def test_a_certification_authority_that_is_missing(fleet: Path, fit: str) -> None:
    (fleet / "tls/ca.key").unlink()
    assert_refused(fleet, request(fleet, fit), "chill.toml: tls.ca_key: ", "is not there or cannot be read")


def test_a_letter_s_file_that_exists_or_has_no_place(fleet: Path, fit: str, tmp_path: Path) -> None:
    (tmp_path / "letter.asc").touch()
    assert_refused(
        fleet,
        request(fleet, fit, "--letter-to", str(tmp_path / "letter.asc")),
        "--letter-to: ",
        "exists already",
    )
    assert_refused(
        fleet,
        request(fleet, fit, "--letter-to", str(tmp_path / "no/letter.asc")),
        "--letter-to: ",
        "directory",
    )


def test_a_letter_that_would_go_nowhere(fleet: Path, fit: str) -> None:
    assert_refused(
        fleet, request(fleet, fit, "--no-mail"), "--no-mail: the letter would go nowhere", "--letter-to FILE"
    )


def test_mail_settings_that_would_show_a_password(fleet: Path, fit: str) -> None:
    settings = fleet / "chill.toml"
    more = '[mail]\nhost = "mail.example.org"\nusername = "ada"\npassword_file = "mail.password"'
    settings.write_text(settings.read_text().replace("[mail]", more))
    assert_refused(
        fleet,
        request(fleet, fit),
        "chill.toml: mail.security: ",
        "in clear",
        "chill.toml: mail.password_file: ",
    )


@pytest.mark.parametrize("day", ["2026-02-30", "1 March", "20260301x", ""])
def test_days_that_do_not_exist(fleet: Path, fit: str, day: str) -> None:
    assert_refused(fleet, request(fleet, fit, starts=day), "--starts", "expected the form 2026-03-01")


def test_all_faults_of_a_request_are_told_together(fleet: Path) -> None:
    (fleet / "releases/chill.tar.gz").unlink()
    (fleet / "tls/ca.crt").unlink()
    told = (
        "no key 0000",
        "chill.toml: release.archive",
        "tariffs/gold.toml",
        "chill.toml: tls.ca_certificate",
    )
    assert_refused(fleet, request(fleet, "0" * 40, tariff="gold"), *told)


def test_without_a_terminal_and_without_yes_nothing_is_done(fleet: Path, fit: str) -> None:
    (fleet / "inventory/servers.yml").write_text("servers: {hosts: {srv1.example.net: {ansible_connection: local}}}\n")
    arguments = [one for one in request(fleet, fit) if one != "--yes"]
    assert_refused(fleet, arguments, "there is no terminal to ask for confirmation", "add --yes")


@pytest.mark.parametrize("directory", ["inventory/instances", "journal"])
def test_a_directory_that_cannot_be_written_to(fleet: Path, fit: str, directory: str) -> None:
    (fleet / directory).rmdir()
    (fleet / directory).write_text("a file in its place")
    assert_refused(fleet, request(fleet, fit), f"{fleet / directory}: is not a directory that can be written to")


def test_a_directory_that_this_user_may_not_write_to() -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o555)
        # Asked in a process without privileges: root may write anywhere.
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setuid(65534)
            os._exit(len(list(writable_problems(root / "journal" / "runs", root))))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        root.chmod(0o755)
        assert not list(writable_problems(root / "journal" / "runs", root))


@pytest.mark.parametrize("command", [["apply"], ["verify"], ["show"]])
def test_an_instance_that_does_not_exist(fleet: Path, command: list[str]) -> None:
    add_instance(fleet, "acme")
    assert_refused(fleet, [*command, "acne", "--fleet", str(fleet)], "there is no instance 'acne'", "known: acme")


def test_apply_without_instances_or_without_the_release(fleet: Path) -> None:
    assert_refused(fleet, ["apply", "--fleet", str(fleet)], "there is no instance in")
    add_instance(fleet, "acme")
    (fleet / "releases/chill.tar.gz").unlink()
    assert_refused(fleet, ["apply", "--fleet", str(fleet)], "chill.toml: release.archive")


def test_a_journal_with_a_broken_line(fleet: Path, fit: str) -> None:
    add_instance(fleet, "acme", fit)
    (fleet / "journal/acme.jsonl").write_text("{}\nnonsense\n")
    assert_refused(fleet, ["list", "--fleet", str(fleet)], "journal/acme.jsonl:1", "journal/acme.jsonl:2")


def test_init_refuses_to_overwrite(fleet: Path) -> None:
    assert_refused(fleet, ["init", str(fleet)], f"{fleet / 'chill.toml'}: exists already", "nothing was written")
