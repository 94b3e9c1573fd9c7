"""What the DNS should say of an environment's name, what it says, and which record to add. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "missing", "elsewhere", "unknown"]
TTL_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses (A and AAAA) that a name leads to; or why it could not be asked, in `fault`."""

    addresses: frozenset[str] = frozenset()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a name leads to its server, in words that say what to do when it does not."""

    domain: str
    verdict: Verdict
    text: str

    def __str__(self) -> str:
        return f"{self.domain} {self.text}"


def judge(domain: str, expected: Answer, found: Answer, wildcard: Answer) -> Finding:
    """Compare what a name leads to with the addresses of its server.

    `wildcard` is the answer for a name beside it that nobody ever made: when there is one, a wildcard answers.
    """
    if expected.fault or found.fault:
        return Finding(domain, "unknown", f"could not be looked up: {expected.fault or found.fault}")
    if not found.addresses:
        return Finding(domain, "missing", f"leads nowhere; add: {_records(domain, expected.addresses)}")
    strange = found.addresses - expected.addresses
    if strange:
        where, wanted = _listed(strange), _records(domain, expected.addresses)
        by = f", by the wildcard {_star(domain)}" if wildcard.addresses == found.addresses else ""
        return Finding(domain, "elsewhere", f"leads to {where}{by}, which is not its server; there should be: {wanted}")
    by = f", by the wildcard {_star(domain)}" if wildcard.addresses == found.addresses else ""
    return Finding(domain, "right", f"leads to {_listed(found.addresses)}{by}, as it should")


def judge_all(expected: Mapping[str, Answer], found: Mapping[str, Answer], wildcard: Answer) -> Sequence[Finding]:
    """A finding for each domain of `expected`, in its order."""
    return [judge(domain, addresses, found[domain], wildcard) for domain, addresses in expected.items()]


def _star(domain: str) -> str:
    return f"*.{domain.partition('.')[2]}"


def _listed(addresses: frozenset[str]) -> str:
    return " and ".join(_ordered(addresses))


def _ordered(addresses: frozenset[str]) -> Sequence[str]:
    """IPv4 first, as one reads them."""
    return sorted(addresses, key=lambda text: (ipaddress.ip_address(text).version, ipaddress.ip_address(text)))


def _records(domain: str, addresses: frozenset[str]) -> str:
    """The records in the form of a zone file (RFC 1035, section 5)."""
    kinds = {4: "A", 6: "AAAA"}
    return " and ".join(
        f"{domain}. {TTL_SECONDS} IN {kinds[ipaddress.ip_address(address).version]} {address}"
        for address in _ordered(addresses)
    )
