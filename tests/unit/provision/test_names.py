"""The slug's rule, and every name derived from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.names import EXAMPLE, RESERVED, environment_names, instance_names, slug_fault

SLUGS = st.from_regex(r"[a-z][a-z0-9-]{0,19}[a-z0-9]", fullmatch=True).filter(lambda slug: slug_fault(slug) is None)


@pytest.mark.parametrize("slug", ["ab", "acme", "no", "a1", "maison-verte", "a-b-c", "a" * 21, "testing", EXAMPLE])
def test_valid_slugs(slug: str) -> None:
    assert slug_fault(slug) is None


@pytest.mark.parametrize(
    "slug,part",
    [
        ("", "empty"),
        ("a", "shorter than 2"),
        ("a" * 22, "22 characters long, 21 at most"),
        ("Acme", "capital letters"),
        ("acmé", "only a-z, 0-9 and hyphens"),
        ("ac_me", "only a-z, 0-9 and hyphens"),
        ("acme.be", "only a-z, 0-9 and hyphens"),
        ("acme\n", "only a-z, 0-9 and hyphens"),
        ("../etc", "only a-z, 0-9 and hyphens"),
        ("1acme", "begin with a letter"),
        ("-acme", "begin with a letter"),
        ("acme-", "end with a letter or a digit"),
        ("ac--me", "two hyphens in a row"),
        ("acme-test", "-test"),
        *(
            (word, "reserved")
            for word in ("www", "mail", "smtp", "imap", "ns", "api", "admin", "support", "test", "root")
        ),
    ],
)
def test_each_part_of_the_rule_is_named_when_broken(slug: str, part: str) -> None:
    assert part in (slug_fault(slug) or "valid")


def test_settings_may_reserve_more_words() -> None:
    assert slug_fault("status") is None
    assert "reserved" in (slug_fault("status", ["status"]) or "")


def test_derived_names_of_the_contract() -> None:
    names = instance_names("maison-verte", "chill.pro", "support.example.org")
    production, test = names.environments
    assert names.group == "chill_maison_verte"
    assert names.support_address == "support+maison-verte@support.example.org"
    assert (production.domain, test.domain) == ("maison-verte.chill.pro", "maison-verte-test.chill.pro")
    assert (production.user, test.user) == ("chill-maison-verte", "chill-maison-verte-test")
    assert (production.role, test.role) == (production.user, test.user)
    assert (production.database, test.database) == ("chill_maison_verte", "chill_maison_verte_test")
    assert test.home == "/srv/chill/maison-verte-test.chill.pro"


@given(slug=SLUGS)
def test_names_fit_the_systems_they_are_used_in(slug: str) -> None:
    for kind in ("production", "test"):
        names = environment_names(slug, kind, "chill.pro")
        assert len(names.user) <= 32
        assert len(names.database) <= 63
        assert len(names.domain.split(".")[0]) <= 63
    assert slug not in RESERVED


@given(first=SLUGS, second=SLUGS)
def test_no_two_slugs_share_a_name(first: str, second: str) -> None:
    def derived(slug: str) -> set[str]:
        names = instance_names(slug, "chill.pro", "support.example.org")
        both = {name for one in names.environments for name in (one.domain, one.user, one.database, one.home)}
        return both | {names.group, names.support_address}

    assert first == second or not derived(first) & derived(second)


@given(text=st.text(max_size=30))
def test_any_text_is_either_valid_or_explained(text: str) -> None:
    fault = slug_fault(text)
    assert fault is None or fault.strip()
