"""The fleet's settings: the schema of `chill.toml`.

What a key means is said here and in the sample that `init` writes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError

from provision.errors import Problem
from provision.languages import Language as Language
from provision.section import EmailAddress as EmailAddress
from provision.section import Section as Section
from provision.tls_settings import TLS_MODES, Dns, Tls


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("not a time zone of the tz database, such as Europe/Brussels") from None
    return name


def _fingerprint(text: str) -> str:
    """An OpenPGP v4 fingerprint: 40 hex digits; spaces are allowed as key tools print them."""
    compact = text.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{40}", compact):
        hint = "an e-mail address may match several keys; " if "@" in text else ""
        raise ValueError(f"{hint}expected the 40 hex digits of an OpenPGP fingerprint")
    return compact


def _engine(text: str) -> str:
    if not re.fullmatch(r"duckdb|spark(:(yarn|local[^\s:]*|(spark|k8s)://\S+))?", text):
        raise ValueError(
            'expected "duckdb", "spark" or "spark:<master>", such as "spark:spark://node1.example.net:7077"'
        )
    return text


DomainName = Annotated[
    str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$", max_length=200)
]
# Where usage is computed: docs/engines.md.
Engine = Annotated[str, AfterValidator(_engine)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Release(Section):
    """The built application that new environments get: an archive that keeps docs/release-contract.md."""

    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    archive: str = Field(min_length=1, description="a path, relative to the fleet directory")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Mail(Section):
    """How letters leave the control machine."""

    sender: EmailAddress
    host: str = "localhost"
    port: int = Field(default=25, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "none"
    username: str = ""
    password_file: str = Field(default="", description="a file with the password, readable by its owner only")


class OpenPGP(Section):
    """The keyring with the responsibles' public keys, and the key that signs letters."""

    home: str = "~/.gnupg"
    signing_key: Fingerprint | None = None
    former_signing_keys: tuple[Fingerprint, ...] = Field(
        default=(), description="signed closed years before signing_key did; audits take their signatures"
    )
    minimum_validity_days: int = Field(default=30, ge=0)


class Ssh(Section):
    """How servers are reached: an OpenSSH client configuration with hosts, users and pinned host keys."""

    config: str = ""


class Cooperative(Section):
    """Who hosts: what the papers say of the sender. Empty: not shown."""

    name: str = ""
    address: tuple[str, ...] = Field(default=(), description="the lines of the postal address")
    email: EmailAddress | Literal[""] = ""
    phone: str = ""
    vat_number: str = ""
    iban: str = ""
    logo: str = Field(default="", description="an SVG or PNG file, relative to the fleet directory")
    colour: str = Field(default="#1f4e79", pattern=r"^#[0-9a-fA-F]{6}$", description="titles and charts")


class Reports(Section):
    """What the papers ask of their data."""

    coverage_percent: int = Field(default=95, ge=0, le=100, description="below it, an instance is named first")


class Metering(Section):
    """Who is told of what the counts show."""

    quota_mail_to: EmailAddress | Literal[""] = Field(default="", description="gets one letter per quota crossed")


def _authority(text: str) -> str:
    if not re.fullmatch(r"https://[^/\s?#@]+(/[^\s?#]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/?", text):
        raise ValueError('expected an address like "https://login.microsoftonline.com"')
    return text.rstrip("/")


def _permission(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]+(\.[A-Za-z]+)+", text):
        raise ValueError('expected the name of a permission, like "Calendars.ReadWrite"')
    return text


class Graph(Section):
    """Where credentials of Microsoft Graph are checked: by https, or on this machine; and what they must permit.

    The permissions are those of what Chill's manual describes ("Configure Chill for calendar and absence
    synchronisation"): people found by e-mail address, calendars in both ways, absences. docs/graph.md says more.
    """

    authority: Annotated[str, AfterValidator(_authority)] = "https://login.microsoftonline.com"
    permissions: Annotated[tuple[Annotated[str, AfterValidator(_permission)], ...], Field(min_length=1)] = (
        "Calendars.ReadWrite",
        "MailboxSettings.Read",
        "User.Read.All",
    )


class Settings(Section):
    """`chill.toml`. Paths are relative to the fleet directory; `~` is the home of who runs the command."""

    domain: DomainName
    support_domain: DomainName
    language: Language = "fr"
    timezone: TimeZone = "Europe/Brussels"
    ledger: str = "ledger"
    engine: Engine = "duckdb"
    reserved_slugs: tuple[str, ...] = ()
    mailbox_path: str = Field(
        default="/_mail",
        pattern=r"^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        description="where a test environment's address shows the e-mails that it sent",
    )
    server_mail_relay: str = Field(default="", description="host:port that servers hand their mail to; empty: none")
    release: Release
    mail: Mail
    openpgp: OpenPGP = OpenPGP()
    tls: Tls
    dns: Dns = Dns()
    ssh: Ssh = Ssh()
    cooperative: Cooperative = Cooperative()
    reports: Reports = Reports()
    metering: Metering = Metering()
    graph: Graph = Graph()


def read_settings(path: Path) -> tuple[Settings | None, Sequence[Problem]]:
    """Read `chill.toml`: the settings, or every problem in it, each with its key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, [Problem(str(path), "there is no such file", "chill-provision init DIR writes a commented one")]
    except OSError as error:
        return None, [Problem(str(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return None, [Problem(str(path), "is not UTF-8 text")]
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(str(path), f"is not TOML: {error}")]
    try:
        return Settings.model_validate(document), []
    except ValidationError as error:
        return None, model_problems(error, path.name)


def model_problems(
    error: ValidationError, place: str, lines: dict[str, int] | None = None, under: str = ""
) -> list[Problem]:
    """Every fault pydantic found, as problems that name the file, the line where it is known, and the key.

    `under` is the key that the validated table itself has in the file.
    """
    problems = []
    for fault in error.errors(include_url=False):
        # Of a table that comes in several kinds, pydantic names the kind as if it were a key.
        keys = [str(part) for part in fault["loc"] if part not in TLS_MODES]
        key = ".".join((*filter(None, [under]), *keys))
        line = _line_of(key, lines or {})
        where = f"{place}:{line}" if line else place
        problems.append(Problem(f"{where}: {key}" if key else where, _fault_text(fault["type"], fault["msg"])))
    return problems


def _line_of(key: str, lines: dict[str, int]) -> int | None:
    """The line of a key, or, of one that is missing, of the nearest table around it."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key)


def _fault_text(kind: str, message: str) -> str:
    """Pydantic's messages in the words of this toolkit, where its own would puzzle an adminsys."""
    known = {
        "missing": "is missing",
        "extra_forbidden": "is not a key that is known here",
        "string_type": "expected text between quotes",
        "int_type": "expected a whole number",
        "union_tag_invalid": f"mode: expected {', '.join(TLS_MODES)}",
    }
    text = known.get(kind, message)
    return text.removeprefix("Value error, ")
