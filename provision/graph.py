"""What a customer gives so that Chill may synchronise calendars through Microsoft Graph, and when it ends.

The credentials come as TOML, from an OpenPGP-encrypted file or from standard input:

    tenant = "a3b1c2d4-0000-4000-8000-1234567890ab"       # the directory: its id, or one of its domains
    client_id = "5f6e7d8c-0000-4000-8000-ba0987654321"    # the application's id
    client_secret = "…"                                   # the secret's value, not its id
    expires = 2027-03-01                                  # the secret's last day

The secret lives in the memory of the run and in the env file of the production environment, nowhere else. Its last
day goes into the journal: it is not secret, and `list` reminds of it.

Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, ValidationError, ValidationInfo

from provision.errors import InvalidFiles, Problem
from provision.journal import Entry
from provision.secrets import Secret
from provision.settings import Section, model_problems

REMIND_DAYS = 60
EVENT = "graph_set"
EXAMPLE = """\
tenant = "…"
client_id = "…"
client_secret = "…"
expires = 2027-03-01"""

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.IGNORECASE)
# All that can be seen in ASCII but the single quote, which ends a value in the env file.
_SECRET = re.compile(r"[\x21-\x26\x28-\x7e]{8,256}")
_POSITION = re.compile(r"at (line \d+, column \d+|end of document)")


@dataclass(frozen=True, slots=True)
class GraphCredentials:
    """Credentials of the right form. `expires` is the last day on which the secret works."""

    tenant: str
    client_id: str
    client_secret: Secret
    expires: date

    def variables(self) -> Mapping[str, str | Secret]:
        """The variables of Chill's env file (docs/release-contract.md, point 3)."""
        return {
            "OAUTH_AZURE_CLIENT_ID": self.client_id,
            "OAUTH_AZURE_CLIENT_SECRET": self.client_secret,
            "OAUTH_AZURE_CLIENT_TENANT": self.tenant,
        }


@dataclass(frozen=True, slots=True)
class Expiry:
    """When the secret of an instance ends, and how many days are left from today (negative: since)."""

    expires: date
    days: int

    @property
    def due(self) -> bool:
        return self.days <= REMIND_DAYS

    def __str__(self) -> str:
        if self.days < 0:
            return f"expired on {self.expires}"
        when = "today" if self.days == 0 else f"in {self.days} day{'s' * (self.days > 1)}"
        return f"expires on {self.expires}, {when}"


def _tenant(text: str) -> str:
    if _GUID.fullmatch(text) or _DOMAIN.fullmatch(text):
        return text.lower()
    raise ValueError("expected the id of the directory (tenant), 8-4-4-4-12 hex digits, or one of its domain names")


def _client_id(text: str) -> str:
    if not _GUID.fullmatch(text):
        raise ValueError("expected the id of the application (client), 8-4-4-4-12 hex digits")
    return text.lower()


def _client_secret(text: str) -> str:
    if _GUID.fullmatch(text):
        raise ValueError("this is the id of a secret; expected its value, which Microsoft shows once, when it is made")
    if not _SECRET.fullmatch(text):
        raise ValueError("expected 8 to 256 ASCII characters without space and single quote")
    return text


def _expires(day: date, info: ValidationInfo) -> date:
    told: Any = info.context
    if day < told["today"]:
        raise ValueError(f"{day} is over: ask the customer for a new secret")
    return day


class _Document(Section):
    """The TOML document as it was given. Its validation is told `today`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tenant: Annotated[str, AfterValidator(_tenant)]
    client_id: Annotated[str, AfterValidator(_client_id)]
    client_secret: Annotated[str, AfterValidator(_client_secret)]
    expires: Annotated[date, AfterValidator(_expires)]


def parse(text: str, place: str, today: date) -> GraphCredentials:
    """Credentials from TOML. InvalidFiles with every fault of their form; no message repeats a value.

    `place` names the source in messages.
    """
    try:
        document = _Document.model_validate(tomllib.loads(text), context={"today": today})
    except tomllib.TOMLDecodeError as error:
        # Its own words may quote what stands there.
        position = _POSITION.search(str(error))
        where = f", {position[1]}" if position else ""
        raise InvalidFiles(
            [Problem(f"{place}{where}", "is not TOML", f"expected four lines:\n{EXAMPLE}")], "nothing was changed"
        ) from None
    except ValidationError as error:
        raise InvalidFiles(model_problems(error, place), "nothing was changed") from None
    return GraphCredentials(document.tenant, document.client_id, Secret(document.client_secret), document.expires)


def graph_variables(domain: str, credentials: GraphCredentials) -> Mapping[str, Any]:
    """The extra variable by which the environment role gets credentials, for this environment alone."""
    return {"graph_credentials": {domain: dict(credentials.variables())}}


def expiry(entries: Iterable[Entry], today: date) -> Expiry | None:
    """When the secret that was set last ends, by the journal; None when none was ever set."""
    days: Sequence[str] = [entry.expires for entry in entries if entry.event == EVENT and entry.expires]
    if not days:
        return None
    last = date.fromisoformat(days[-1])
    return Expiry(last, (last - today).days)


def missing_permissions(ungranted: Sequence[str], slug: str = "SLUG") -> str:
    """How it is told that an application lacks permissions that Chill needs."""
    return f"the application was not granted {', '.join(ungranted)} (chill-provision graph letter {slug} asks for them)"


def reminder(slug: str, found: Expiry) -> str:
    """The line by which `list` reminds of a secret that ends soon."""
    return f"{slug}: the client secret of Microsoft Graph {found}; a new one: chill-provision graph set {slug} FILE"
