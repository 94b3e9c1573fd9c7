"""The letter as its reader gets it: received by a mail server, decrypted by GnuPG, parsed by Python."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from provision.contract import Contract
from provision.errors import ChillError, RequestError
from provision.fleet import Instance, Responsible
from provision.letter import Account, Letter, Recipient, compose, seal, to_responsible, write_armored
from provision.mail import read_password, send
from provision.names import instance_names
from provision.openpgp import Key, Keyring
from provision.secrets import Secret
from provision.settings import Language, Settings
from tests.integration.keys import Home, home

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
PASSWORDS = ("k7vm-2xqe-9hpt-w4cz-n6ra", "p3gd-y8ub-4sjf-e5mx-t7qk")
SITE_PASSWORD = "b7rk-q4me-x9cd-h2wv-s6np"
ADDRESS = "zoe@example.org"
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "letter.md"


@dataclass(frozen=True)
class Keys:
    """The responsible's key (beside it, another of the same address) and the adminsys's, who signs."""

    owner: Home
    adminsys: Home
    pinned: str
    signer: str


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with home() as owner, home() as adminsys:
        pinned = owner.make(f"Zoé Dupont <{ADDRESS}>")
        twin = owner.make(f"Zoé Dupont <{ADDRESS}>")
        signer = adminsys.make("Lettres <lettres@chill.pro>", "ed25519", "sign", "never")
        owner.give_to(adminsys, pinned, twin)
        adminsys.give_to(owner, signer)
        yield Keys(owner, adminsys, pinned, signer)


@dataclass
class Inbox:
    """A mail server's handler that keeps what it gets, or refuses at the stage it is told to."""

    refuse: dict[str, str] = field(default_factory=dict)
    received: list[Envelope] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 (aiosmtpd calls it so)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.refuse.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.refuse.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" not in self.refuse:
            self.received.append(envelope)
        return self.refuse.get("DATA", "250 OK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mail_server(inbox: Inbox, **options: Any) -> Iterator[int]:
    """A real SMTP server on a port of loopback; the port."""
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def fleet_settings(keys: Keys, port: int = 25, *, signed: bool = True, **mail: object) -> Settings:
    return Settings.model_validate(
        {
            "domain": "chill.pro",
            "support_domain": "support.example.org",
            "release": {"version": "1.0", "archive": "release.tar.gz", "sha256": "0" * 64},
            "mail": {"sender": "lettres@chill.pro", "host": "127.0.0.1", "port": port, **mail},
            "openpgp": {"signing_key": keys.signer if signed else None},
            "tls": {"ca_certificate": "ca.pem", "ca_key": "ca.key"},
        }
    )


def new_instance(fingerprint: str, client: str = "ASBL L’Œuvre d’Acmé", name: str = "Zoé Dupont") -> Instance:
    return Instance(
        names=instance_names("acme", "chill.pro", "support.example.org"),
        client=client,
        responsible=Responsible(name=name, email=ADDRESS, fingerprint=fingerprint),
        contract=Contract(starts=date(2026, 3, 1), tariff="standard"),
        contacts={},
        servers={"production": "srv1.example.net", "test": "srv1.example.net"},
        path=Path("inventory/instances/acme.yml"),
    )


def new_letter(recipients: Sequence[Recipient], instance: Instance, settings: Settings, language: Language) -> Letter:
    pairs = zip(instance.names.environments, PASSWORDS, strict=True)
    accounts = [Account(environment, "admin", Secret(text)) for environment, text in pairs]
    sites = {instance.names.test.domain: Secret(SITE_PASSWORD)}
    return compose(instance, recipients, accounts, settings, language, sites)


def sealed(keys: Keys, settings: Settings, instance: Instance | None = None, language: Language = "fr") -> EmailMessage:
    instance = instance or new_instance(keys.pinned)
    with Keyring(keys.adminsys.path) as keyring:
        key = keyring.fit_key(instance.responsible.fingerprint, NOW.date(), 0)
        recipients = [to_responsible(instance, key)]
        return seal(new_letter(recipients, instance, settings, language), recipients, keyring, settings, NOW)


def received(inbox: Inbox) -> tuple[bytes, EmailMessage]:
    (envelope,) = inbox.received
    raw = envelope.original_content
    assert raw is not None
    return raw, parsed(raw)


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert not [part.defects for part in message.walk() if part.defects]
    return message


def encrypted_part(message: EmailMessage) -> bytes:
    """The OpenPGP message in a PGP/MIME one, whose form is checked on the way (RFC 3156, section 4)."""
    assert message.get_content_type() == "multipart/encrypted"
    assert message["Content-Type"].params["protocol"] == "application/pgp-encrypted"
    control, encrypted = message.iter_parts()
    assert control.get_content_type() == "application/pgp-encrypted"
    assert cast("bytes", control.get_payload(decode=True)).split() == [b"Version:", b"1"]
    assert encrypted.get_content_type() == "application/octet-stream"
    return cast("bytes", encrypted.get_payload(decode=True))


def no_password() -> Secret:
    raise AssertionError("nobody logs in: no password is needed")


@pytest.mark.parametrize(
    "language, words",
    [
        ("fr", ["Bonjour Zoé Dupont,", "Mot de passe", "À FAIRE D’ABORD", "formation"]),
        ("en", ["Hello Zoé Dupont,", "Password", "WHAT TO DO FIRST", "training"]),
        ("nl", ["Beste Zoé Dupont,", "Wachtwoord", "WAT U EERST DOET", "opleiding"]),
    ],
)
def test_the_letter_arrives_and_its_owner_reads_it(keys: Keys, language: Language, words: list[str]) -> None:
    inbox = Inbox()
    with mail_server(inbox) as port:
        settings = fleet_settings(keys, port)
        send(sealed(keys, settings, language=language), settings.mail, no_password)
    raw, outer = received(inbox)
    assert inbox.received[0].rcpt_tos == [ADDRESS]
    assert outer["To"].addresses[0].display_name == "Zoé Dupont"
    assert outer["From"].addresses[0].addr_spec == "lettres@chill.pro"
    assert outer["Date"].datetime == NOW
    assert "acme.chill.pro" in outer["Subject"]

    opened = keys.owner.gpg("--status-fd", "2", "--decrypt", data=encrypted_part(outer))
    assert f"[GNUPG:] VALIDSIG {keys.signer}" in opened.stderr.decode()
    inner = parsed(opened.stdout)
    text = inner.get_content().replace("\r\n", "\n")
    assert inner.get_content_type() == "text/plain"
    assert inner.get_content_charset() == "utf-8"
    assert inner["Subject"] == outer["Subject"]
    assert inner["To"] == outer["To"]
    expected = ["https://acme.chill.pro/", "https://acme-test.chill.pro/", "ASBL L’Œuvre d’Acmé", "admin"]
    expected += ["support+acme@support.example.org", "lettres@chill.pro", *PASSWORDS, *words]
    flat = " ".join(text.split(" "))
    assert [wanted for wanted in expected if wanted not in flat] == []
    assert text.index(PASSWORDS[0]) < text.index("https://acme-test.chill.pro/") < text.index(PASSWORDS[1])
    assert max(len(line) for line in text.splitlines()) <= 78
    assert [password for password in PASSWORDS if password.encode() in raw] == []


def test_without_a_signing_key_the_letter_is_not_signed(keys: Keys) -> None:
    message = sealed(keys, fleet_settings(keys, signed=False))
    opened = keys.owner.gpg("--status-fd", "2", "--decrypt", data=encrypted_part(parsed(message.as_bytes())))
    assert "SIG" not in opened.stderr.decode()
    assert PASSWORDS[0].encode() in opened.stdout
    assert keys.signer[:4].encode() not in opened.stdout


def test_the_letter_is_for_the_pinned_key_alone(keys: Keys) -> None:
    encrypted = encrypted_part(parsed(sealed(keys, fleet_settings(keys)).as_bytes()))
    (subkey,) = keys.owner.subkeys(keys.pinned)
    assert keys.owner.recipients(encrypted) == [subkey[-16:]]


def test_what_is_encrypted_has_canonical_line_ends(keys: Keys) -> None:
    message = sealed(keys, fleet_settings(keys))
    clear = keys.owner.gpg("--decrypt", data=encrypted_part(parsed(message.as_bytes()))).stdout
    assert clear.count(b"\n") == clear.count(b"\r\n") > 20


def test_passwords_are_neither_printed_nor_logged(
    keys: Keys, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    inbox = Inbox()
    with mail_server(inbox) as port:
        settings = fleet_settings(keys, port)
        instance = new_instance(keys.pinned)
        letter = new_letter([to_responsible(instance, Key(keys.pinned, (), None))], instance, settings, "fr")
        account = Account(instance.names.test, "admin", Secret(PASSWORDS[0]))
        send(sealed(keys, settings, instance), settings.mail, no_password)
    said = capfd.readouterr()
    seen = [repr(letter), repr(account), str(letter), letter.subject, caplog.text, said.out, said.err]
    assert "gpg" in caplog.text
    assert [text for text in seen for password in PASSWORDS if password in text] == []


def test_a_long_name_and_one_with_line_breaks_do_no_harm(keys: Keys) -> None:
    client = "Très " * 80 + "longue\r\nBcc: eve@example.org\x1b[31m"
    name = 'Zoé "Z", Dupont\nBcc: eve@example.org'
    settings = fleet_settings(keys)
    message = parsed(sealed(keys, settings, new_instance(keys.pinned, client, name)).as_bytes())
    assert "Bcc" not in message
    assert [address.addr_spec for address in message["To"].addresses] == [ADDRESS]
    assert message["To"].addresses[0].display_name == 'Zoé "Z", Dupont Bcc: eve@example.org'
    text = parsed(keys.owner.gpg("--decrypt", data=encrypted_part(message)).stdout).get_content()
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 78
    assert PASSWORDS[1] in text


@pytest.mark.parametrize("email", ["zoe@@example.org", "zoe..d@example.org", "(zoe)@example.org"])
def test_an_address_that_mail_does_not_know_is_refused(keys: Keys, email: str) -> None:
    good = new_instance(keys.pinned)
    bad = Responsible.model_construct(name="Zoé", email=email, fingerprint=keys.pinned)
    instance = Instance(good.names, good.client, bad, good.contract, {}, good.servers, good.path)
    with pytest.raises(RequestError, match=r"acme\.yml: responsible\.email"):
        sealed(keys, fleet_settings(keys), instance)


def test_the_file_is_private_and_gnupg_alone_reads_it(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "acme.asc"
    write_armored(sealed(keys, fleet_settings(keys)), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["acme.asc"]
    shown = keys.owner.gpg("--decrypt", str(path)).stdout.decode()
    assert f"Mot de passe  {PASSWORDS[0]}" in shown
    assert "À FAIRE D’ABORD" in shown


def test_a_file_that_exists_is_never_replaced(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "acme.asc"
    path.write_text("precious")
    with pytest.raises(RequestError, match="exists already") as caught:
        write_armored(sealed(keys, fleet_settings(keys)), path)
    assert caught.value.status == 2
    assert path.read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["acme.asc"]


def test_a_directory_that_is_not_there_is_said_so(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none/acme\.asc cannot be written: No such file or directory"):
        write_armored(sealed(keys, fleet_settings(keys)), tmp_path / "none" / "acme.asc")


@pytest.mark.parametrize(
    "stage, answer, place",
    [
        ("RCPT", "550 no such user here", "correct responsible.email"),
        ("MAIL", "553 not your domain", "chill.toml: mail.sender"),
        ("DATA", "554 looks like spam", "chill.toml: mail.host"),
        ("RCPT", "451 try later", "correct responsible.email"),
    ],
)
def test_a_letter_that_the_server_refuses_is_an_error(keys: Keys, stage: str, answer: str, place: str) -> None:
    inbox = Inbox(refuse={stage: answer})
    with mail_server(inbox) as port:
        settings = fleet_settings(keys, port)
        with pytest.raises(ChillError) as caught:
            send(sealed(keys, settings), settings.mail, no_password)
    assert caught.value.status == 1
    assert answer in caught.value.message
    assert f"127.0.0.1:{port}" in caught.value.message
    assert place in caught.value.hint
    assert inbox.received == []


def test_no_mail_server_is_an_error_that_says_where_it_was_looked_for(keys: Keys) -> None:
    settings = fleet_settings(keys, free_port())
    with pytest.raises(ChillError, match=r"127\.0\.0\.1:\d+ cannot be reached: Connection refused") as caught:
        send(sealed(keys, settings), settings.mail, no_password)
    assert "mail.port" in caught.value.hint


def test_a_server_that_hangs_up_is_an_error(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = fleet_settings(keys, listener.getsockname()[1])
        message = sealed(keys, settings)

        def hang_up() -> None:
            listener.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(ChillError, match="broke off: Connection unexpectedly closed"):
            send(message, settings.mail, no_password)
        hanging_up.join()


@dataclass(frozen=True)
class Certified:
    """A mail server's certificate for localhost, and the file of the authority that made it (itself)."""

    context: ssl.SSLContext
    authority: Path


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    request += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, capture_output=True, check=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return Certified(context, certificate)


def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data.login == b"lettres" and data.password == b"relay password", handled=False)


def authenticated(certified: Certified) -> dict[str, object]:
    return {
        "tls_context": certified.context,
        "require_starttls": True,
        "authenticator": authenticator,
        "auth_required": True,
        "auth_require_tls": True,
    }


def test_starttls_and_a_password_from_a_file(
    keys: Keys, certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
    password = tmp_path / "password"
    password.write_text("relay password\n")
    password.chmod(0o600)
    inbox = Inbox()
    with mail_server(inbox, **authenticated(certified)) as port:
        settings = fleet_settings(keys, port, host="localhost", security="starttls", username="lettres")
        send(sealed(keys, settings), settings.mail, lambda: read_password(password))
    assert len(inbox.received) == 1


def test_tls_from_the_first_byte(keys: Keys, certified: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
    inbox = Inbox()
    with mail_server(inbox, ssl_context=certified.context) as port:
        settings = fleet_settings(keys, port, host="localhost", security="tls")
        send(sealed(keys, settings), settings.mail, no_password)
    assert len(inbox.received) == 1


def test_a_wrong_mail_password_is_an_error_that_does_not_show_it(
    keys: Keys, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
    with mail_server(Inbox(), **authenticated(certified)) as port:
        settings = fleet_settings(keys, port, host="localhost", security="starttls", username="lettres")
        with pytest.raises(ChillError, match="refused the user name or password: 535") as caught:
            send(sealed(keys, settings), settings.mail, lambda: Secret("not the one"))
    assert "not the one" not in caught.value.message + caught.value.hint
    assert "mail.password_file" in caught.value.hint


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_nobody_vouches_for_is_an_error(keys: Keys, certified: Certified, security: str) -> None:
    option = "ssl_context" if security == "tls" else "tls_context"
    inbox = Inbox()
    with mail_server(inbox, **{option: certified.context}) as port:
        settings = fleet_settings(keys, port, host="localhost", security=security)
        with pytest.raises(ChillError, match=r"the certificate of .* is not valid: self-signed"):
            send(sealed(keys, settings), settings.mail, no_password)
    assert inbox.received == []


def test_a_server_without_starttls_gets_nothing(keys: Keys) -> None:
    inbox = Inbox()
    with mail_server(inbox) as port:
        settings = fleet_settings(keys, port, security="starttls")
        with pytest.raises(ChillError, match="cannot do what the settings ask for: STARTTLS"):
            send(sealed(keys, settings), settings.mail, no_password)
    assert inbox.received == []


def test_a_password_never_travels_in_clear(keys: Keys) -> None:
    settings = fleet_settings(keys, host="mail.example.org", username="lettres")
    with pytest.raises(RequestError, match=r"mail\.security: the password of lettres would travel"):
        send(sealed(keys, settings), settings.mail, lambda: Secret("relay password"))


@pytest.mark.parametrize(
    "content, mode, reason",
    [
        (b"relay password\n", 0o644, "can be read by others"),
        (b"\n", 0o600, "is empty"),
        (b"\xff\xfe", 0o600, "is not UTF-8 text"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes | None, mode: int, reason: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(RequestError, match=r"mail\.password_file: .*" + reason) as caught:
        read_password(path)
    assert "relay password" not in caught.value.message


@pytest.mark.parametrize("language", ["fr", "en", "nl"])
def test_the_letters_in_the_documentation_are_the_ones_sent(language: Language) -> None:
    settings = fleet_settings(Keys(Home(Path()), Home(Path()), "", "FEDCBA9876543210" * 2 + "FEDCBA98"))
    fingerprint = "0123456789ABCDEF" * 2 + "01234567"
    instance = new_instance(fingerprint)
    letter = new_letter([to_responsible(instance, Key(fingerprint, (), None))], instance, settings, language)
    shown = DOCUMENTED.read_text(encoding="utf-8")
    assert f"```text\nSubject: {letter.subject}\n\n{letter.body}```" in shown
