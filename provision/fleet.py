"""A fleet as frozen values: its settings, servers and instances. `fleet_reader.py` reads them from their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from provision.contract import Contract
from provision.errors import RequestError
from provision.names import InstanceNames, Kind
from provision.settings import EmailAddress, Fingerprint, Section, Settings

SETTINGS_FILE = "chill.toml"


# What an instance's environments are to be; `chill-provision suspend`, `archive` and `resume` write it.
Lifecycle = Literal["running", "suspended", "archived"]


class Responsible(Section):
    """Who receives the passwords: the fingerprint is that of the OpenPGP key they are encrypted to."""

    name: str = Field(min_length=1)
    email: EmailAddress
    fingerprint: Fingerprint


class Contact(Section):
    """A person at the customer's."""

    name: str = Field(min_length=1)
    email: EmailAddress


class InstanceVariables(Section):
    """The variables of an instance's group that the toolkit reads; any other is Ansible's alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: str = Field(min_length=1)
    responsible: Responsible
    contract: Contract
    contacts: dict[str, Contact] = Field(default_factory=dict)
    lifecycle: Lifecycle = "running"


@dataclass(frozen=True, slots=True)
class Server:
    """A server: its inventory name and the variables given to it. `address` is where it answers."""

    name: str
    variables: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def address(self) -> str:
        return str(self.variables.get("ansible_host", self.name))

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """Where the world finds it, when that is not where it is managed."""
        return tuple(map(str, self.variables.get("public_addresses") or ()))


@dataclass(frozen=True)
class Instance:
    """A customer: names, client, contract, and the server of each environment by kind. `path` is its file."""

    names: InstanceNames
    client: str
    responsible: Responsible
    contract: Contract
    contacts: Mapping[str, Contact] = field(hash=False)
    servers: Mapping[Kind, str] = field(hash=False)
    path: Path
    lifecycle: Lifecycle = "running"

    @property
    def slug(self) -> str:
        return self.names.slug


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything a fleet directory says, valid as a whole."""

    directory: Path
    settings: Settings
    servers: Mapping[str, Server] = field(hash=False)
    instances: Mapping[str, Instance] = field(hash=False)

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory"

    @property
    def ledger(self) -> Path:
        return self.path(self.settings.ledger)

    @property
    def tariffs(self) -> Path:
        return self.directory / "tariffs"

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    @property
    def ssh_config(self) -> Path | None:
        """The OpenSSH client configuration to reach servers with; None for that of who runs the command."""
        config = self.settings.ssh.config
        return self.path(config) if config else None

    def path(self, setting: str) -> Path:
        """A path of the settings: `~` expanded, relative ones taken from the fleet directory."""
        return self.directory / Path(setting).expanduser()

    def instance(self, slug: str) -> Instance:
        """The instance called `slug`; a RequestError when there is none."""
        try:
            return self.instances[slug]
        except KeyError:
            known = ", ".join(self.instances) or "none yet"
            raise RequestError(f"SLUG: there is no instance {slug!r} in {self.directory}", f"known: {known}") from None

    def server(self, name: str) -> Server:
        """The server called `name`; a RequestError when there is none."""
        try:
            return self.servers[name]
        except KeyError:
            known = ", ".join(self.servers) or "none yet"
            raise RequestError(
                f"server {name!r} is not in inventory/servers.yml",
                f"known: {known}; add it to the group servers",
            ) from None
