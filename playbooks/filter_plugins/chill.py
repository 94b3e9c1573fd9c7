"""Filters of the playbooks: a fleet's settings, and the names derived from a slug."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

from provision.names import KINDS, environment_names, slug_fault


def from_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AnsibleFilterError(f"chill.toml is not TOML: {error}") from error


def chill_names(slug: str, kind: str, domain: str) -> dict[str, str]:
    """Every name of one environment (`provision.names`): slug, kind, domain, user, database, home, role."""
    fault = slug_fault(str(slug))
    if fault or kind not in KINDS:
        raise AnsibleFilterError(f"no environment is called {slug!r} ({kind!r}): {fault or 'unknown kind'}")
    names = environment_names(str(slug), "production" if kind == "production" else "test", str(domain))
    return {**asdict(names), "role": names.role}


def chill_path(path: str, directory: str) -> str:
    """A path of chill.toml: `~` expanded, relative ones taken from the fleet directory."""
    return str(Path(directory) / Path(path).expanduser())


def chill_copies_release(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]], host: str) -> bool:
    """Whether `host` is the first, of the environments of its server that lack the release."""
    release, server = variables[host]["fleet"]["release"], variables[host]["server"]
    lacking = (
        other
        for other in hosts
        if variables[other]["server"] == server
        and variables[other]["environment_found"]["release_sha256"] != release["sha256"]
    )
    return next(lacking, None) == host


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "from_toml": from_toml,
            "chill_names": chill_names,
            "chill_path": chill_path,
            "chill_copies_release": chill_copies_release,
        }
