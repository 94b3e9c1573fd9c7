"""Addresses as the rules of a test environment need them."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from playbooks.filter_plugins.chill import chill_addresses, chill_nft_set, chill_reachable


def test_what_may_be_reached_is_written_as_nft_prints_it() -> None:
    entries = ["192.0.2.10:443", "[2001:DB8:0::1]:8443", "192.0.2.0/24:80", "127.0.0.1:8888"]
    assert [tuple(one.values()) for one in chill_reachable(entries)] == [
        ("ip", "192.0.2.10", "443"),
        ("ip6", "2001:db8::1", "8443"),
        ("ip", "192.0.2.0/24", "80"),
        ("ip", "127.0.0.1", "8888"),
    ]


@pytest.mark.parametrize("entry", ["converter.example.org:443", "192.0.2.10", "192.0.2.10:0", "192.0.2.1/24:80", ""])
def test_a_name_or_an_address_without_a_port_is_refused(entry: str) -> None:
    with pytest.raises(AnsibleFilterError, match="environment_test_reaches"):
        chill_reachable([entry])


def test_sets_and_resolvers_are_written_as_nft_prints_them() -> None:
    assert chill_nft_set([587, 25, 25]) == "{ 25, 587 }"
    assert chill_nft_set([25]) == "25"
    found = chill_addresses(["127.0.0.53", "2001:DB8::0:1", "fe80::1%eth0x", "nonsense"])
    assert [one["family"] for one in found] == ["ip", "ip6"]
