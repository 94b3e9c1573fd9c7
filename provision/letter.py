"""The encrypted letter: written from a template, sealed as PGP/MIME, handed to a mail server or to a file.

The form is RFC 3156, section 6.2: one OpenPGP message, signed inside when a signing key is configured,
in a `multipart/encrypted` of two parts. What is encrypted is a MIME entity of its own, plain text in UTF-8
(8bit), so that `gpg --decrypt` alone shows a readable letter. It repeats the headers: the signature covers
them there.
"""

from __future__ import annotations

import os
import tempfile
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import make_msgid
from itertools import groupby
from pathlib import Path

import jinja2

from provision.errors import RequestError
from provision.fleet import Instance
from provision.mail import mail_problems, read_password, send
from provision.names import SITE_ACCOUNT, EnvironmentNames
from provision.openpgp import Key, Keyring
from provision.secrets import Secret
from provision.settings import Language, Settings

__all__ = [
    "Account",
    "Letter",
    "Recipient",
    "armored_text",
    "compose",
    "mail_problems",
    "read_password",
    "seal",
    "send",
    "to_responsible",
    "write_armored",
]

WIDTH = 72
TEMPLATES = Path(__file__).resolve().parent / "templates" / "letters"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one environment, with its new password."""

    environment: EnvironmentNames
    username: str
    password: Secret

    @property
    def url(self) -> str:
        return f"https://{self.environment.domain}/"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person whom a letter is written to, and the key it is encrypted to. `place` is where the address was given."""

    name: str
    email: str
    key: Key
    place: str

    @property
    def address(self) -> Address:
        """The mail address; RequestError when no mail can be sent to it."""
        try:
            return Address(one_line(self.name), addr_spec=self.email)
        except (HeaderParseError, ValueError, IndexError):
            raise RequestError(f"{self.place}: no mail can be sent to {self.email!r}", "correct the address") from None


def to_responsible(instance: Instance, key: Key) -> Recipient:
    """The responsible of an instance, with the key found fit."""
    responsible = instance.responsible
    return Recipient(responsible.name, responsible.email, key, f"{instance.path.name}: responsible.email")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter before it is sealed. The body holds passwords and is never shown; the subject holds none."""

    subject: str
    body: str = field(repr=False)


def compose(
    instance: Instance,
    recipients: Sequence[Recipient],
    accounts: Sequence[Account],
    settings: Settings,
    language: Language,
    sites: Mapping[str, Secret],
    *,
    renewed: bool = False,
) -> Letter:
    """Write the letter with passwords: addresses, accounts, what to do first, whom to write to.

    `sites`: by domain, the passwords that sites of test environments ask for. `renewed`: the instance is not new, and
    these passwords replace earlier ones.

    Accounts of one environment must follow each other. The template's first line is the subject.
    """
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (plain text: a password must stay as it is)
        trim_blocks=True,
        lstrip_blocks=True,
    )
    signing_key = settings.openpgp.signing_key
    text = engine.get_template(f"{language}.txt.j2").render(
        names=[one_line(recipient.name) for recipient in recipients],
        renewed=renewed,
        client=one_line(instance.client),
        environments=_places(accounts, sites, settings.mailbox_path),
        support_address=instance.names.support_address,
        sender=settings.mail.sender,
        domain=settings.domain,
        fingerprints=[printed_fingerprint(recipient.key.fingerprint) for recipient in recipients],
        signing_key=printed_fingerprint(signing_key) if signing_key else "",
    )
    subject, _, body = text.partition("\n\n")
    return Letter(subject, fill(body))


def _places(accounts: Sequence[Account], sites: Mapping[str, Secret], mailbox_path: str) -> list[dict[str, object]]:
    """What the templates know of each environment. Passwords are revealed here, for the encrypted text."""
    groups = [list(group) for _, group in groupby(accounts, key=lambda account: account.environment)]
    return [
        {
            "kind": group[0].environment.kind,
            "domain": group[0].environment.domain,
            "url": group[0].url,
            "mailbox": f"{group[0].url.removesuffix('/')}{mailbox_path}/",
            "site": _site(sites.get(group[0].environment.domain)),
            "accounts": [{"username": account.username, "password": account.password.reveal()} for account in group],
        }
        for group in groups
    ]


def _site(password: Secret | None) -> dict[str, str] | None:
    """The account that a site asks for, with its password."""
    return {"username": SITE_ACCOUNT, "password": password.reveal()} if password else None


def seal(
    letter: Letter, recipients: Sequence[Recipient], keyring: Keyring, settings: Settings, now: datetime
) -> EmailMessage:
    """Encrypt a letter to its recipients' keys alone, in one message to them. ChillError when GnuPG refuses."""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.mail.sender
    message["To"] = [recipient.address for recipient in recipients]
    message["Subject"] = letter.subject
    message["Date"] = now
    message["Message-ID"] = make_msgid(domain=settings.mail.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    keys = [recipient.key for recipient in recipients]
    armored = keyring.encrypt(_entity(letter, message), keys, sign_with=settings.openpgp.signing_key)
    message["MIME-Version"] = "1.0"
    message.add_header("Content-Type", "multipart/encrypted", protocol="application/pgp-encrypted")
    message.attach(_part("application/pgp-encrypted", "Version: 1\n"))
    message.attach(_part("application/octet-stream", armored.decode("ascii"), name="letter.asc"))
    return message


def armored_text(message: EmailMessage) -> str:
    """The OpenPGP message inside a sealed letter, armored."""
    _, encrypted = message.iter_parts()
    return str(encrypted.get_payload())


def write_armored(message: EmailMessage, path: Path) -> None:
    """Write the encrypted letter into a new file, whole or not at all, readable by its owner only.

    RequestError when `path` exists or its directory cannot be written to: preflight asks before.
    """
    partial = ""
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(armored_text(message))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never replaces a file that appeared meanwhile.
        os.link(partial, path)
    except FileExistsError:
        raise RequestError(f"{path} exists already", "name a file that does not exist") from None
    except OSError as error:
        raise RequestError(
            f"{path} cannot be written: {error.strerror}", "name a file in a directory of yours"
        ) from None
    finally:
        if partial:
            Path(partial).unlink(missing_ok=True)


def one_line(text: str) -> str:
    """A name on one line, without control characters: it stands in a header and in a sentence."""
    return " ".join("".join(char if unicodedata.category(char)[0] != "C" else " " for char in text).split())


def printed_fingerprint(fingerprint: str) -> str:
    """A fingerprint in groups of four, as key tools print it, to be compared by eye."""
    groups = [fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4)]
    return f"{' '.join(groups[:5])}  {' '.join(groups[5:])}"


def fill(text: str) -> str:
    """Break paragraphs at 72 columns. Indented lines stay as they are; numbered paragraphs hang."""
    blocks = [block.strip("\n") for block in text.split("\n\n") if block.strip()]
    return "\n\n".join(block if block.startswith(" ") else _wrapped(block) for block in blocks) + "\n"


def _wrapped(block: str) -> str:
    hanging = "   " if block[:1].isdigit() else ""
    return textwrap.fill(block, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _entity(letter: Letter, message: EmailMessage) -> bytes:
    """What gets encrypted, in canonical form (CRLF): the text under a copy of the headers."""
    inner = MIMEPart(policy=SMTP)
    inner.set_content(letter.body, cte="8bit")
    inner.set_param("protected-headers", "v1")
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        inner[name] = message[name]
    return inner.as_bytes()


def _part(content_type: str, text: str, **parameters: str) -> EmailMessage:
    part = EmailMessage(policy=SMTP)
    part.add_header("Content-Type", content_type, **parameters)
    if parameters:
        part.add_header("Content-Disposition", "inline", filename=parameters["name"])
    part.set_payload(text)
    return part
