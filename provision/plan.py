"""From a request and a fleet to what would be done, as values that can be shown before anything happens.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from provision.errors import InvalidFiles, Problem, RequestError
from provision.fleet import Fleet, Instance, InstanceVariables
from provision.graph import GraphCredentials, missing_permissions
from provision.names import EXAMPLE, Kind, instance_names, slug_fault
from provision.records import Finding
from provision.settings import Language
from provision.tls_settings import Acme, Tls, Wildcard

# Where each value of an instance comes from on the command line: faults are told in these words.
OPTIONS = {
    "client": "--client",
    "responsible.name": "--responsible-name",
    "responsible.email": "--responsible-email",
    "responsible.fingerprint": "--fingerprint",
    "contract": "--ends",
    "contract.starts": "--starts",
    "contract.ends": "--ends",
    "contract.tariff": "--tariff",
    "contacts.technical.name": "--technical-contact",
    "contacts.technical.email": "--technical-contact",
    "servers.production": "--server",
    "servers.test": "--test-server",
}
EXAMPLES = {
    "client": '--client "ASBL Acme"',
    "responsible.name": '--responsible-name "Camille Dubois"',
    "responsible.email": "--responsible-email camille@example.org",
    "responsible.fingerprint": "--fingerprint and the 40 hex digits that gpg --fingerprint prints",
    "contract.starts": "--starts 2026-03-01",
    "contract.tariff": "--tariff standard",
    "servers.production": "--server srv1.example.net",
}
_CONTACT = re.compile(r"\s*(?P<name>[^<>]*[^<>\s])\s*<(?P<email>[^<>]+)>\s*")


@dataclass(frozen=True, slots=True)
class Request:
    """What `create` was asked for.

    A value that is None was not given: an instance that exists keeps its own.
    """

    slug: str
    client: str | None = None
    server: str | None = None
    test_server: str | None = None
    responsible_name: str | None = None
    responsible_email: str | None = None
    fingerprint: str | None = None
    starts: date | None = None
    ends: date | None = None
    tariff: str | None = None
    technical_contact: str | None = None

    def values(self) -> dict[str, Any]:
        """The values that were given, by their key (as in `OPTIONS`)."""
        contact = _CONTACT.fullmatch(self.technical_contact or "")
        given = {
            "client": self.client,
            "responsible.name": self.responsible_name,
            "responsible.email": self.responsible_email,
            "responsible.fingerprint": self.fingerprint,
            "contract.starts": self.starts,
            "contract.ends": self.ends,
            "contract.tariff": self.tariff,
            "contacts.technical.name": contact["name"] if contact else None,
            "contacts.technical.email": contact["email"] if contact else None,
            "servers.production": self.server,
            "servers.test": self.test_server,
        }
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the letter travels: by mail, into a file, or both; and in which language."""

    language: Language
    by_mail: bool = True
    file: Path | None = None

    def text(self, fleet: Fleet, instance: Instance) -> str:
        mail = fleet.settings.mail
        ways = []
        if self.by_mail:
            ways.append(f"by mail to {instance.responsible.email} through {mail.host}:{mail.port}")
        if self.file:
            ways.append(f"into {self.file}")
        return f"encrypted, in {self.language}, {' and '.join(ways)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What `create` is about to do.

    `letter` tells how the passwords travel; empty when they have travelled already. `placed` tells why the server was
    chosen, when the request left that open; `key` whose key the letter is encrypted to; `missing` what one would
    expect; `calendars` which environment gets credentials of Microsoft Graph, and until when they work; `names` whether
    the names lead to the servers; `certificates` where these come from.
    """

    instance: Instance
    new: bool
    release: str
    letter: str
    steps: Sequence[str]
    placed: str = ""
    key: str = ""
    missing: Sequence[str] = ()
    calendars: str = ""
    names: Sequence[Finding] = ()
    certificates: str = ""


def planned_instance(request: Request, fleet: Fleet) -> tuple[Instance, bool]:
    """The instance that a request asks for, and whether it is new.

    InvalidFiles with every fault of the request; RequestError when the instance exists with other values.
    """
    fault = slug_fault(request.slug, fleet.settings.reserved_slugs)
    if fault:
        raise InvalidFiles([Problem("SLUG", f"{request.slug!r} is not a slug: {fault}", f"a valid one: {EXAMPLE}")])
    problems = list(_request_problems(request, fleet))
    if request.slug in fleet.instances:
        existing = fleet.instances[request.slug]
        if problems:
            raise InvalidFiles(problems)
        _refuse_differences(request, existing)
        return existing, False
    instance = None
    try:
        model = InstanceVariables.model_validate(_nested(request.values()))
        instance = _instance(request, model, fleet)
    except ValidationError as error:
        problems += _model_problems(error)
    if problems or instance is None:
        raise InvalidFiles(problems)
    return instance, True


def _request_problems(request: Request, fleet: Fleet) -> Iterator[Problem]:
    """The faults that need the fleet to be seen, or the argument as it was typed."""
    known = ", ".join(fleet.servers) or "none yet"
    if request.server is None and request.slug not in fleet.instances:
        yield Problem("--server", "is missing", f"for example: {EXAMPLES['servers.production']}; known: {known}")
    for option, server in (("--server", request.server), ("--test-server", request.test_server)):
        if server is not None and server not in fleet.servers:
            hint = f"known: {known}; add it to the group servers"
            yield Problem(option, f"{server!r} is not in inventory/servers.yml", hint)
    if request.technical_contact is not None and not _CONTACT.fullmatch(request.technical_contact):
        hint = 'for example: --technical-contact "Alix Martin <alix@example.org>"'
        yield Problem("--technical-contact", "expected a name and an e-mail address", hint)


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`, without the servers, which are no variables of the instance."""
    tree: dict[str, Any] = {"responsible": {}, "contract": {}}
    for key, value in values.items():
        *parents, last = key.split(".")
        if parents[:1] == ["servers"]:
            continue
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def _model_problems(error: ValidationError) -> Iterator[Problem]:
    for fault in error.errors(include_url=False):
        key = ".".join(map(str, fault["loc"]))
        missing = fault["type"] == "missing"
        message = "is missing" if missing else fault["msg"].removeprefix("Value error, ")
        hint = f"for example: {EXAMPLES[key]}" if key in EXAMPLES else ""
        yield Problem(OPTIONS.get(key, key), message, hint)


def _instance(request: Request, model: InstanceVariables, fleet: Fleet) -> Instance:
    server = request.server or ""
    servers: dict[Kind, str] = {"production": server, "test": request.test_server or server}
    names = instance_names(request.slug, fleet.settings.domain, fleet.settings.support_domain)
    path = fleet.inventory / "instances" / f"{request.slug}.yml"
    return Instance(names, model.client, model.responsible, model.contract, model.contacts, servers, path)


def _refuse_differences(request: Request, existing: Instance) -> None:
    """A RequestError when a value was given that is not the one of the instance that exists."""
    has = _values(existing)
    differing = [
        Problem(OPTIONS[key], f"asked for {_written(value)}, but {existing.slug} has {_written(has.get(key))}")
        for key, value in request.values().items()
        if _comparable(key, value) != _comparable(key, has.get(key))
    ]
    if differing:
        lines = "\n".join(str(problem) for problem in differing)
        raise RequestError(
            f"SLUG: the instance {existing.slug!r} exists already, with other values:\n{lines}",
            f"leave these options out to keep them, or edit inventory/instances/{existing.path.name}",
        )


def _values(instance: Instance) -> dict[str, Any]:
    technical = instance.contacts.get("technical")
    return {
        "client": instance.client,
        "responsible.name": instance.responsible.name,
        "responsible.email": instance.responsible.email,
        "responsible.fingerprint": instance.responsible.fingerprint,
        "contract.starts": instance.contract.starts,
        "contract.ends": instance.contract.ends,
        "contract.tariff": instance.contract.tariff,
        "contacts.technical.name": technical and technical.name,
        "contacts.technical.email": technical and technical.email,
        "servers.production": instance.servers["production"],
        "servers.test": instance.servers["test"],
    }


def _comparable(key: str, value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace(" ", "").upper() if key == "responsible.fingerprint" else text


def _written(value: Any) -> str:
    return "none" if value is None else repr(str(value))


def make_plan(
    instance: Instance,
    fleet: Fleet,
    *,
    new: bool,
    letter: str,
    placed: str = "",
    key: str = "",
    today: date | None = None,
    graph: GraphCredentials | None = None,
    ungranted: Sequence[str] = (),
    names: Sequence[Finding] = (),
) -> Plan:
    """The steps of `create` for an instance.

    `graph` are credentials that production gets, `ungranted` the permissions that they lack. `letter` says how the
    letter travels, or is empty when none is due; `key` whose key it is encrypted to; `names` what the DNS says.
    """
    release = fleet.settings.release
    write = [f"write inventory/instances/{instance.path.name}"] if new else []
    steps = [
        *write,
        f"build both environments on {_servers(instance)} (what is there already is left as it is)",
        "verify both environments",
        *([f"send the passwords: {letter}"] if letter else []),
    ]
    told = f"{release.version} ({release.archive})"
    missing = [*_missing(instance, fleet, today), *([missing_permissions(ungranted)] if ungranted else [])]
    calendars = f"{instance.names.environments[0].domain}, until {graph.expires}" if graph else ""
    return Plan(
        instance,
        new,
        told,
        letter,
        steps,
        placed,
        key,
        tuple(missing),
        calendars,
        names,
        _certificates(fleet.settings.tls),
    )


def _certificates(tls: Tls) -> str:
    if isinstance(tls, Acme):
        return f"each from {tls.directory}, once its name leads to the server"
    if isinstance(tls, Wildcard):
        return f"the wildcard certificate {tls.certificate}"
    return f"signed by {tls.ca_certificate}"


def _servers(instance: Instance) -> str:
    return " and ".join(sorted(set(instance.servers.values())))


def _missing(instance: Instance, fleet: Fleet, today: date | None) -> Iterator[str]:
    """What one would expect and is not there, although nothing needs it."""
    contract = instance.contract
    if "technical" not in instance.contacts:
        yield "no technical contact at the customer's (--technical-contact)"
    if not fleet.settings.openpgp.signing_key:
        yield "the letter will not be signed: chill.toml names no openpgp.signing_key"
    if today and contract.ends and contract.ends < today:
        yield f"the contract ended on {contract.ends}"
