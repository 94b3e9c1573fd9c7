"""The fleet's settings: the schema of `chill.toml`.

What a key means is said here and in the sample that `init` writes.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from provision.errors import Problem

Language = Literal["fr", "en", "nl"]
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


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


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;\"]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError("expected an e-mail address")
    return text


DomainName = Annotated[
    str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$", max_length=200)
]
# Where usage is computed: docs/engines.md.
Engine = Annotated[str, AfterValidator(_engine)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
EmailAddress = Annotated[str, AfterValidator(_address)]
TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Section(BaseModel):
    """A table of settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class PrivateCa(Section):
    """Certificates are signed on the control machine by the CA named here."""

    mode: Literal["private-ca"] = "private-ca"
    ca_certificate: str
    ca_key: str

    @property
    def trusted(self) -> str:
        """The file of the CA that clients must trust; empty: those that this machine trusts."""
        return self.ca_certificate


class Acme(Section):
    """Each environment has a certificate of its own, from an ACME directory (RFC 8555, challenge HTTP-01)."""

    mode: Literal["acme"]
    directory: str = Field(default=LETS_ENCRYPT, pattern=r"^https://[^\s]+$")
    directory_ca: str = Field(
        default="", description="PEM file: who signed the directory's own certificate, if private"
    )
    email: EmailAddress | Literal[""] = ""
    ca_certificate: str = Field(default="", description="PEM file: the root of what the directory signs, if private")

    @property
    def trusted(self) -> str:
        return self.ca_certificate


class Wildcard(Section):
    """One certificate for all names of the domain, that is there already."""

    mode: Literal["wildcard"]
    certificate: str = Field(description="PEM file: the certificate, then its chain")
    key: str = Field(description="PEM file, readable by its owner only")
    ca_certificate: str = Field(default="", description="PEM file: the root of the certificate, if private")

    @property
    def trusted(self) -> str:
        return self.ca_certificate


TLS_MODES = ("private-ca", "acme", "wildcard")


def _tls_mode(table: Any) -> str:
    return str(table.get("mode", TLS_MODES[0])) if isinstance(table, dict) else str(table.mode)


# Where certificates come from: docs/certificates.md.
Tls = Annotated[
    Annotated[PrivateCa, Tag("private-ca")] | Annotated[Acme, Tag("acme")] | Annotated[Wildcard, Tag("wildcard")],
    Discriminator(_tls_mode),
]


def split_resolver(text: str) -> tuple[str, int]:
    """`9.9.9.9`, `10.0.0.1:5353` or `[2620:fe::fe]:53` as address and port. ValueError for anything else."""
    found = re.fullmatch(r"\[(?P<six>[0-9A-Fa-f:]+)\](:(?P<port6>\d+))?|(?P<four>[\d.]+)(:(?P<port4>\d+))?", text)
    if not found:
        raise ValueError('expected an address, with a port if it is not 53: "9.9.9.9", "[2620:fe::fe]:53"')
    address = str(ipaddress.ip_address(found["six"] or found["four"]))
    return address, int(found["port6"] or found["port4"] or 53)


def _resolver(text: str) -> str:
    split_resolver(text)
    return text


class Dns(Section):
    """Who is asked whether the names of environments lead to their servers."""

    check: bool = True
    resolvers: tuple[Annotated[str, AfterValidator(_resolver)], ...] = Field(
        default=(), description="addresses, with a port if it is not 53; empty: those of this machine"
    )


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


class Graph(Section):
    """Where credentials of Microsoft Graph are checked: by https, or on this machine."""

    authority: Annotated[str, AfterValidator(_authority)] = "https://login.microsoftonline.com"


class Settings(Section):
    """`chill.toml`. Paths are relative to the fleet directory; `~` is the home of who runs the command."""

    domain: DomainName
    support_domain: DomainName
    language: Language = "fr"
    timezone: TimeZone = "Europe/Brussels"
    ledger: str = "ledger"
    engine: Engine = "duckdb"
    reserved_slugs: tuple[str, ...] = ()
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
