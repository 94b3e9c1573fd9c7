"""Filters of the playbooks: a fleet's settings, and the names derived from a slug."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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


def chill_reachable(entries: Iterable[str]) -> list[dict[str, str]]:
    """Addresses that a test environment may reach, as rules need them: family (ip, ip6), address, port.

    `192.0.2.10:443`, `192.0.2.0/24:443`, `[2001:db8::1]:443`. Names are refused: an answer of the DNS must not open a
    way.
    """
    found = []
    for entry in entries:
        address, _, port = str(entry).rpartition(":")
        try:
            network = ipaddress.ip_network(address.strip("[]"))
            number = int(port)
        except ValueError:
            number = 0
        if not 0 < number < 65536:
            raise AnsibleFilterError(
                f"environment_test_reaches: {entry!r} is no address with a port,"
                " such as 192.0.2.10:443 or [2001:db8::1]:443"
            )
        written = str(network if network.prefixlen < network.max_prefixlen else network.network_address)
        found.append({"family": "ip" if network.version == 4 else "ip6", "address": written, "port": str(number)})
    return found


def chill_addresses(addresses: Iterable[str]) -> list[dict[str, str]]:
    """Addresses as rules need them: family (ip, ip6) and address, as nft prints it. What is none, or is bound to an
    interface, is left out.
    """
    found = []
    for text in addresses:
        with suppress(ValueError):
            address = ipaddress.ip_address(text)
            if "%" in text:
                continue
            found.append({"family": "ip" if address.version == 4 else "ip6", "address": str(address)})
    return found


def chill_nft_set(numbers: Iterable[int]) -> str:
    """Numbers as nft prints a set of them: in order, and without braces when there is but one."""
    words = [str(number) for number in sorted({int(number) for number in numbers})]
    return words[0] if len(words) == 1 else f"{{ {', '.join(words)} }}"


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
            "chill_reachable": chill_reachable,
            "chill_addresses": chill_addresses,
            "chill_nft_set": chill_nft_set,
            "chill_copies_release": chill_copies_release,
        }
