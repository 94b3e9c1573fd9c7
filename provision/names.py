"""From a slug to every name derived from it. Pure: no file, no clock, no network.

A customer is an *instance*, named by its slug (the "xxxx" of xxxx.chill.pro). An instance has two
*environments*, `production` and `test`. The rule keeps `chill-<slug>-test` within the 32 characters of a
Linux user name and makes the derivation injective: no two slugs share a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["production", "test"]
KINDS: tuple[Kind, Kind] = ("production", "test")

MIN_LENGTH, MAX_LENGTH = 2, 21
EXAMPLE = "maison-verte"
# The account of each environment whose first password is made when it is created.
INITIAL_ACCOUNT = "admin"
# The account that the site of a test environment asks for before it shows anything.
SITE_ACCOUNT = "test"
RESERVED = frozenset(
    """
    www mail smtp imap pop pop3 ns ns1 ns2 dns mx api admin support test root localhost ftp webmail
    autodiscover autoconfig postmaster hostmaster webmaster abuse security fleet
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)

_SLUG = re.compile(r"[a-z][a-z0-9-]{0,19}[a-z0-9]")


# Without slots, as InstanceNames and Instance: thousands of them come from a cache, and slots take twice as long there.
@dataclass(frozen=True)
class EnvironmentNames:
    """Every name of one environment. `home` is the directory of its releases and of what they share."""

    slug: str
    kind: Kind
    domain: str
    user: str
    database: str
    home: str

    @property
    def role(self) -> str:
        """The PostgreSQL role: the Unix user's name, so that peer authentication needs no map."""
        return self.user


@dataclass(frozen=True)
class InstanceNames:
    """Every name of an instance: its Ansible group, its support address, its two environments."""

    slug: str
    group: str
    support_address: str
    production: EnvironmentNames
    test: EnvironmentNames

    @property
    def environments(self) -> tuple[EnvironmentNames, EnvironmentNames]:
        return self.production, self.test

    @property
    def domains(self) -> tuple[str, str]:
        return self.production.domain, self.test.domain


def slug_fault(slug: str, reserved: Iterable[str] = ()) -> str | None:
    """Say which part of the rule a slug breaks, or None when it is a valid slug.

    `reserved` adds words to those that are always reserved.
    """
    faults = (
        (not slug, "it is empty"),
        (
            not slug.isascii() or bool(re.search(r"[^A-Za-z0-9-]", slug)),
            "only a-z, 0-9 and hyphens may stand in it",
        ),
        (slug != slug.lower(), "capital letters may not stand in it"),
        (len(slug) < MIN_LENGTH, f"it is shorter than {MIN_LENGTH} characters"),
        (len(slug) > MAX_LENGTH, f"it is {len(slug)} characters long, {MAX_LENGTH} at most are allowed"),
        (not slug[:1].isalpha(), "it must begin with a letter"),
        (slug.endswith("-"), "it must end with a letter or a digit"),
        ("--" in slug, "two hyphens in a row may not stand in it"),
        (slug.endswith("-test"), "it may not end in -test, which names the test environment"),
        (slug in RESERVED or slug in set(reserved), "it is a reserved word"),
    )
    fault = next((text for broken, text in faults if broken), None)
    # A slip in the table above, never in a slug.
    assert fault or _SLUG.fullmatch(slug), f"the rule and its explanation disagree on {slug!r}"  # noqa: S101
    return fault


def environment_names(slug: str, kind: Kind, domain: str) -> EnvironmentNames:
    """Derive the names of one environment of a valid slug, under the fleet's domain (`chill.pro`)."""
    label = slug if kind == "production" else f"{slug}-test"
    host = f"{label}.{domain}"
    return EnvironmentNames(
        slug=slug,
        kind=kind,
        domain=host,
        user=f"chill-{label}",
        database=f"chill_{label.replace('-', '_')}",
        home=f"/srv/chill/{host}",
    )


def instance_names(slug: str, domain: str, support_domain: str) -> InstanceNames:
    """Derive all names of an instance. The slug must be valid: see `slug_fault`."""
    return InstanceNames(
        slug=slug,
        group=f"chill_{slug.replace('-', '_')}",
        support_address=f"support+{slug}@{support_domain}",
        production=environment_names(slug, "production", domain),
        test=environment_names(slug, "test", domain),
    )
