"""Reading a fleet directory: settings and inventory become frozen, validated values; all problems are told at once.

The inventory is an ordinary Ansible one. Of it, this module reads the group `servers` in
`inventory/servers.yml` and the files `inventory/instances/<slug>.yml`; anything else in the directory is
Ansible's alone.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from provision.errors import InvalidFiles, Problem
from provision.fleet import SETTINGS_FILE, Fleet, Instance, InstanceVariables, Server
from provision.fleet_cache import AT_LEAST, Known, Stamp, digest_of, read_cache, stamp_of, write_cache
from provision.names import KINDS, InstanceNames, Kind, instance_names, slug_fault
from provision.settings import Settings, model_problems, read_settings
from provision.yaml_lines import key_lines


def load_fleet(directory: Path) -> Fleet:
    """Read and validate a fleet directory. InvalidFiles with every problem found, each with file and key."""
    settings, found = read_settings(directory / SETTINGS_FILE)
    problems = list(found)
    servers, found = _read_servers(directory / "inventory" / "servers.yml")
    problems += found
    instances: Mapping[str, Instance] = {}
    if settings is not None:
        instances, found = _read_instances(directory, settings, servers)
        problems += found
    if problems or settings is None:
        raise InvalidFiles(problems, f"correct these in {directory} and run the command again")
    return Fleet(directory, settings, servers, instances)


def _read_instances(
    directory: Path, settings: Settings, servers: Mapping[str, Server]
) -> tuple[Mapping[str, Instance], Sequence[Problem]]:
    """All instances by slug, in the order of their files. Those of a large fleet are remembered (fleet_cache.py)."""
    place = directory / "inventory" / "instances"
    entries = sorted(_entries(place), key=lambda entry: entry.name)
    digest = ""
    known: Known = {}
    if len(entries) >= AT_LEAST:
        names = (settings.domain, settings.support_domain, *sorted(settings.reserved_slugs), "", *sorted(servers))
        digest = digest_of("\n".join(names).encode())
        known = read_cache(directory, digest)
    instances: dict[str, Instance] = {}
    problems: list[Problem] = []
    read: dict[str, tuple[Stamp, Instance]] = {}
    for entry in entries:
        stamp = stamp_of(entry) if digest else None
        remembered = known.get(entry.name)
        if stamp and remembered and remembered[0] == stamp:
            instance: Instance | None = remembered[1]
        else:
            instance, found = _read_instance(place / entry.name, settings, servers)
            problems += found
        if instance:
            instances[instance.slug] = instance
        if instance and stamp:
            read[entry.name] = (stamp, instance)
    if digest and {name: one[0] for name, one in read.items()} != {name: one[0] for name, one in known.items()}:
        write_cache(directory, digest, read)
    return instances, problems


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if entry.name.endswith(".yml")]
    except (FileNotFoundError, NotADirectoryError):
        # What is to be written there says so.
        return []
    except OSError as error:
        raise InvalidFiles([Problem(str(directory), f"cannot be read: {error.strerror}")]) from None


def _read_yaml(path: Path) -> tuple[dict[str, Any] | None, Sequence[Problem]]:
    try:
        # The C loader, where it is there: a fleet may hold thousands of files.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506 (a safe loader either way)
    except FileNotFoundError:
        return None, [Problem(str(path), "there is no such file", "chill-provision init DIR writes a commented one")]
    except OSError as error:
        return None, [Problem(str(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return None, [Problem(str(path), "is not UTF-8 text")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        return None, [Problem(f"{_place(path)}{line}", f"is not YAML: {getattr(error, 'problem', error)}")]
    except ValueError as error:
        # A date that does not exist, such as 2026-02-30, which PyYAML tries to build.
        return None, [Problem(_place(path), f"holds a value that does not exist: {error}")]
    if not isinstance(document, dict):
        return None, [Problem(_place(path), "expected groups at its top level")]
    return document, []


def _place(path: Path) -> str:
    """A file as an adminsys names it: from `inventory/` on."""
    parts = path.parts
    return "/".join(parts[parts.index("inventory") :]) if "inventory" in parts else path.name


def _read_servers(path: Path) -> tuple[dict[str, Server], Sequence[Problem]]:
    document, problems = _read_yaml(path)
    if document is None:
        return {}, problems
    hosts = _mapping(_mapping(document.get("servers")).get("hosts"))
    if not isinstance(document.get("servers"), dict):
        return {}, [Problem(f"{_place(path)}: servers", "is missing", "servers: {hosts: {srv1.example.net: {}}}")]
    servers = {str(name): Server(str(name), _mapping(variables)) for name, variables in hosts.items()}
    return servers, [problem for server in servers.values() for problem in _address_problems(server, path)]


def _address_problems(server: Server, path: Path) -> Iterator[Problem]:
    given = server.variables.get("public_addresses") or ()
    key = f"{_place(path)}: servers.hosts.{server.name}.public_addresses"
    if not isinstance(given, list | tuple):
        yield Problem(key, "expected a list of addresses", "[192.0.2.10]")
        return
    for address in server.public_addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield Problem(key, f"{address!r} is not an IP address", "[192.0.2.10]")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_instance(
    path: Path, settings: Settings, servers: Mapping[str, Server]
) -> tuple[Instance | None, list[Problem]]:
    slug = path.stem
    place = _place(path)
    fault = slug_fault(slug, settings.reserved_slugs)
    if fault:
        return None, [Problem(place, f"{slug!r} is not a slug: {fault}")]
    document, found = _read_yaml(path)
    if document is None:
        return None, list(found)
    names = instance_names(slug, settings.domain, settings.support_domain)
    placed, problems = _read_hosts(document, names, place, servers)
    variables = _mapping(document.get(names.group)).get("vars")
    try:
        model = InstanceVariables.model_validate(_mapping(variables))
    except ValidationError as error:
        # Where each key stands is only looked for now that something is wrong.
        lines = key_lines(path.read_text(encoding="utf-8"))
        return None, problems + model_problems(error, place, lines, under=f"{names.group}.vars")
    if problems:
        return None, problems
    instance = Instance(
        names, model.client, model.responsible, model.contract, model.contacts, placed, path, model.lifecycle
    )
    return instance, []


def _read_hosts(
    document: Mapping[str, Any], names: InstanceNames, place: str, servers: Mapping[str, Server]
) -> tuple[dict[Kind, str], list[Problem]]:
    """The server of each environment, and what is wrong with the file's groups and hosts."""
    problems = [
        Problem(f"{place}: {group}", "is a group that does not belong in this file")
        for group in document
        if group not in (names.group, *KINDS)
    ]
    expected = {names.production.domain, names.test.domain}
    members = set(_mapping(_mapping(document.get(names.group)).get("hosts")))
    if members != expected:
        problems.append(Problem(f"{place}: {names.group}.hosts", f"expected {' and '.join(sorted(expected))}"))
    placed: dict[Kind, str] = {}
    for kind, environment in zip(KINDS, names.environments, strict=True):
        hosts = _mapping(_mapping(document.get(kind)).get("hosts"))
        key = f"{place}: {kind}.hosts"
        if set(hosts) != {environment.domain}:
            problems.append(Problem(key, f"expected exactly {environment.domain}"))
            continue
        variables = _mapping(hosts[environment.domain])
        problems += _host_problems(variables, names.slug, f"{key}.{environment.domain}", servers)
        placed[kind] = str(variables.get("server"))
    return placed, problems


def _host_problems(
    variables: Mapping[str, Any], slug: str, key: str, servers: Mapping[str, Server]
) -> Iterator[Problem]:
    if variables.get("instance") != slug:
        yield Problem(f"{key}.instance", f"is {variables.get('instance')!r}, expected {slug!r}")
    if "server" not in variables:
        yield Problem(f"{key}.server", "is missing", "name a server of inventory/servers.yml")
    elif variables["server"] not in servers:
        yield Problem(f"{key}.server", f"{variables['server']!r} is not in the group servers of inventory/servers.yml")
