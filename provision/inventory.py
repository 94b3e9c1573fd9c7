"""Writes `inventory/instances/<slug>.yml`, and finds hosts that other files of the inventory already hold."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString as Quoted

from provision.errors import ChillError, RequestError
from provision.fleet import Contact, Fleet, Instance, Lifecycle, Responsible
from provision.names import KINDS

# What Ansible passes over in an inventory directory (ansible-core 2.19, INVENTORY_IGNORE_EXTS), beside dot
# files.
PASSED_OVER = {".pyc", ".pyo", ".swp", ".bak", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"}


def instance_file(instance: Instance) -> str:
    """The text of an instance's inventory file: valid Ansible inventory, commented.

    Text is quoted throughout: YAML 1.1 would read a customer called `no` as false.
    """
    document = CommentedMap()
    document[instance.names.group] = _group(instance)
    for kind, environment in zip(KINDS, instance.names.environments, strict=True):
        host = _map(instance=Quoted(instance.slug), server=Quoted(instance.servers[kind]))
        document[kind] = _map(hosts=CommentedMap({environment.domain: host}))
    document.yaml_set_start_comment(
        f"{instance.slug}: written by chill-provision create, may be edited by hand.\n"
        "Every key is explained in inventory.example.yml of the toolkit.\n"
    )
    stream = io.StringIO()
    writer = YAML()
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(document, stream)
    return stream.getvalue()


def _group(instance: Instance) -> CommentedMap:
    contract = _map(
        starts=instance.contract.starts, ends=instance.contract.ends, tariff=Quoted(instance.contract.tariff)
    )
    contract.yaml_add_eol_comment("the last day; empty while the contract runs", "ends")
    contract.yaml_add_eol_comment("a file in tariffs/, without .toml", "tariff")
    responsible = _person(instance.responsible)
    responsible["fingerprint"] = Quoted(instance.responsible.fingerprint)
    responsible.yaml_add_eol_comment("the OpenPGP key the passwords are encrypted to", "fingerprint")
    variables = _map(client=Quoted(instance.client), responsible=responsible, contract=contract)
    if instance.contacts:
        variables["contacts"] = CommentedMap((role, _person(person)) for role, person in instance.contacts.items())
    hosts = CommentedMap((environment.domain, CommentedMap()) for environment in instance.names.environments)
    for empty in hosts.values():
        empty.fa.set_flow_style()
    return _map(hosts=hosts, vars=variables)


def _person(person: Contact | Responsible) -> CommentedMap:
    return _map(name=Quoted(person.name), email=Quoted(person.email))


def _map(**entries: Any) -> CommentedMap:
    return CommentedMap(entries)


def write_instance(instance: Instance) -> None:
    """Write the file of a new instance, whole or not at all.

    A RequestError when it is there already or cannot be written.
    """
    directory = instance.path.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A dot file: Ansible passes it over, should this process die before it has its name.
        descriptor, name = tempfile.mkstemp(prefix=f".{instance.slug}.", suffix=".new", dir=directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(instance_file(instance))
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            # A link, unlike a rename, refuses a name that exists: of two creations at once, one wins.
            os.link(name, instance.path)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()
    except FileExistsError:
        raise RequestError(
            f"inventory/instances/{instance.path.name} appeared meanwhile: someone else creates it",
            f"see it with: chill-provision show {instance.slug}",
        ) from None
    except OSError as error:
        raise RequestError(
            f"{instance.path}: cannot be written: {error.strerror}", "make the directory writable"
        ) from error


def set_lifecycle(instance: Instance, lifecycle: Lifecycle) -> None:
    """Write into an instance's file whether it is to be in service; the rest of the file stays as it is.

    ChillError when it cannot be written.
    """
    yaml_file = YAML()
    yaml_file.preserve_quotes = True
    yaml_file.width = 4096
    try:
        text = instance.path.read_text(encoding="utf-8")
        yaml_file.indent(mapping=2, sequence=4, offset=2)
        document = yaml_file.load(text)
        variables = document[instance.names.group]["vars"]
        if variables.get("lifecycle", "running") == lifecycle:
            return
        if lifecycle == "running":
            del variables["lifecycle"]
        else:
            variables["lifecycle"] = lifecycle
        stream = io.StringIO()
        yaml_file.dump(document, stream)
        _replace(instance.path, stream.getvalue())
    except OSError as error:
        raise ChillError(f"{instance.path}: cannot be written: {error.strerror}", "make it writable") from error


def _replace(path: Path, text: str) -> None:
    """Give a file another content, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def other_places(fleet: Fleet, instance: Instance) -> Iterator[tuple[str, Path]]:
    """The domains of an instance that stand in inventory files other than its own, each with the file."""
    wanted = {environment.domain for environment in instance.names.environments}
    for path in sorted(fleet.inventory.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(fleet.inventory).parts)
        if hidden or path == instance.path or path.suffix in PASSED_OVER or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(domain in text for domain in wanted):
            yield from ((domain, path) for domain in sorted(wanted & _hosts(text)))


def _hosts(text: str) -> set[str]:
    """The host names in an inventory file.

    The keys under any `hosts`, or the first word of each line of an INI file.
    """
    try:
        document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError:
        document = None
    if isinstance(document, dict):
        return set(_yaml_hosts(document))
    return {line.split()[0] for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;["}


def _yaml_hosts(node: dict[Any, Any]) -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            if key == "hosts":
                yield from map(str, value)
            else:
                yield from _yaml_hosts(value)
