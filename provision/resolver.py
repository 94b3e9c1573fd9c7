"""Asks the DNS: the only importer of dnspython. No answer is an answer, never an exception."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import dns.exception
import dns.nameserver
import dns.resolver

from provision.fleet import Fleet, Instance, Server
from provision.names import KINDS
from provision.records import Answer, Finding, judge_all
from provision.tls_settings import split_resolver

PATIENCE_SECONDS = 4.0


def look_up_names(fleet: Fleet, instance: Instance) -> Sequence[Finding]:
    """Whether the names of both environments lead to their servers; nothing when `chill.toml` says not to ask."""
    if not fleet.settings.dns.check:
        return ()
    resolvers = fleet.settings.dns.resolvers
    servers = {
        environment.domain: fleet.server(instance.servers[kind])
        for kind, environment in zip(KINDS, instance.names.environments, strict=True)
    }
    # A label that nobody made: what answers for it is a wildcard.
    nobody = f"chill-{secrets.token_hex(6)}.{fleet.settings.domain}"
    with ThreadPoolExecutor(max_workers=8) as pool:
        expected = dict(
            zip(servers, pool.map(lambda one: server_addresses(one, resolvers), servers.values()), strict=True)
        )
        names = [*servers, nobody]
        found = dict(zip(names, pool.map(lambda name: addresses(name, resolvers), names), strict=True))
    return judge_all(expected, found, found[nobody])


def server_addresses(server: Server, resolvers: Sequence[str]) -> Answer:
    """Where the world finds a server: as the inventory says, else the address that it is managed by."""
    if server.public_addresses:
        return Answer(frozenset(server.public_addresses))
    try:
        return Answer(frozenset([str(ipaddress.ip_address(server.address))]))
    except ValueError:
        answer = addresses(server.address, resolvers)
    if answer.fault or answer.addresses:
        return answer
    return Answer(fault=f"{server.address} leads nowhere; give {server.name} public_addresses in inventory/servers.yml")


def addresses(name: str, resolvers: Sequence[str] = ()) -> Answer:
    """The addresses that a name leads to, aliases followed. `resolvers` as in `chill.toml`; none: this machine's."""
    try:
        resolver = _resolver(resolvers)
        found: set[str] = set()
        for kind in ("A", "AAAA"):
            answer = resolver.resolve(f"{name}.", kind, raise_on_no_answer=False, search=False)
            found |= {record.address for record in answer.rrset or ()}
    except dns.resolver.NXDOMAIN:
        return Answer()
    except dns.resolver.NoNameservers as error:
        return Answer(fault=f"the resolver refuses: {_short(error)}")
    except dns.exception.Timeout:
        return Answer(fault=f"no answer within {PATIENCE_SECONDS:.0f} seconds")
    except dns.exception.DNSException as error:
        return Answer(fault=_short(error))
    return Answer(frozenset(found))


def _resolver(resolvers: Sequence[str]) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*split_resolver(text)) for text in resolvers]
    resolver.lifetime = PATIENCE_SECONDS
    return resolver


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
