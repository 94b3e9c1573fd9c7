"""The tables of `chill.toml` about names and certificates: `[tls]` and `[dns]` (docs/certificates.md)."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from provision.section import EmailAddress, Section

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


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
