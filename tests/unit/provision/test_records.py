"""What the DNS says of a name, and what to do about it."""

from __future__ import annotations

import pytest

from provision.records import Answer, Finding, judge

DOMAIN = "acme.chill.pro"
SERVER = Answer(frozenset({"192.0.2.10", "2001:db8::10"}))
NOTHING = Answer()


def told(found: Answer, wildcard: Answer = NOTHING, expected: Answer = SERVER) -> Finding:
    return judge(DOMAIN, expected, found, wildcard)


def test_a_name_that_leads_to_its_server_is_right_with_some_of_its_addresses() -> None:
    assert told(SERVER).verdict == "right"
    finding = told(Answer(frozenset({"192.0.2.10"})))
    assert (finding.verdict, str(finding)) == ("right", "acme.chill.pro leads to 192.0.2.10, as it should")


def test_a_wildcard_that_answers_is_named() -> None:
    found = Answer(frozenset({"192.0.2.10"}))
    assert str(told(found, found)) == "acme.chill.pro leads to 192.0.2.10, by the wildcard *.chill.pro, as it should"


def test_the_records_to_add_are_written_out() -> None:
    finding = told(NOTHING)
    assert finding.verdict == "missing"
    assert finding.text == (
        "leads nowhere; add: acme.chill.pro. 3600 IN A 192.0.2.10 and acme.chill.pro. 3600 IN AAAA 2001:db8::10"
    )


@pytest.mark.parametrize("strange", [{"203.0.113.7"}, {"192.0.2.10", "2001:db8::bad"}])
def test_one_address_elsewhere_is_enough_to_be_wrong(strange: set[str]) -> None:
    """An authority, and half of the browsers, would ask there."""
    finding = told(Answer(frozenset(strange)))
    assert finding.verdict == "elsewhere"
    assert "which is not its server; there should be: acme.chill.pro. 3600 IN A 192.0.2.10" in finding.text


@pytest.mark.parametrize("expected,found", [(SERVER, Answer(fault="no answer")), (Answer(fault="no answer"), SERVER)])
def test_what_could_not_be_asked_is_not_known(expected: Answer, found: Answer) -> None:
    finding = told(found, expected=expected)
    assert (finding.verdict, finding.text) == ("unknown", "could not be looked up: no answer")
