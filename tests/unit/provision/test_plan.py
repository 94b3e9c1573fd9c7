"""A request becomes an instance and a plan, or all its faults at once, in the words of the command line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from provision.errors import RequestError
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from provision.plan import Delivery, Request, make_plan, planned_instance
from provision.plan_text import plan_text
from provision.records import Finding
from tests.unit.provision.fleets import FINGERPRINT, add_instance, make_fleet

REQUEST = Request(
    slug="acme",
    client="ASBL Acme",
    server="srv1.example.net",
    responsible_name="Camille Dubois",
    responsible_email="camille@example.org",
    fingerprint=FINGERPRINT,
    starts=date(2026, 3, 1),
    tariff="standard",
)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return load_fleet(make_fleet(tmp_path / "fleet"))


def refusal(request: Request, fleet: Fleet) -> str:
    with pytest.raises(RequestError) as caught:
        planned_instance(request, fleet)
    assert caught.value.status == 2
    return caught.value.message


def test_both_environments_share_a_server_unless_told_otherwise(fleet: Fleet) -> None:
    instance, new = planned_instance(REQUEST, fleet)
    assert new
    assert instance.servers == {"production": "srv1.example.net", "test": "srv1.example.net"}
    instance, _ = planned_instance(replace(REQUEST, test_server="srv2.example.net"), fleet)
    assert instance.servers["test"] == "srv2.example.net"


def test_fingerprints_may_be_given_as_key_tools_print_them(fleet: Fleet) -> None:
    printed = "0123 4567 89ab cdef 0123  4567 89ab cdef 0123 4567"
    instance, _ = planned_instance(replace(REQUEST, fingerprint=printed), fleet)
    assert instance.responsible.fingerprint == FINGERPRINT


def test_the_technical_contact_is_taken_apart(fleet: Fleet) -> None:
    instance, _ = planned_instance(replace(REQUEST, technical_contact="Alix Martin <alix@example.org>"), fleet)
    assert instance.contacts["technical"].name == "Alix Martin"
    assert instance.contacts["technical"].email == "alix@example.org"


@pytest.mark.parametrize(
    "change,place",
    [
        ({"client": ""}, "--client: "),
        ({"server": "srv9"}, "--server: 'srv9' is not in inventory/servers.yml"),
        ({"test_server": "srv9"}, "--test-server: 'srv9'"),
        ({"responsible_email": "camille"}, "--responsible-email: expected an e-mail address"),
        ({"fingerprint": "camille@example.org"}, "--fingerprint: an e-mail address may match several keys"),
        ({"fingerprint": "89ABCDEF"}, "--fingerprint: expected the 40 hex digits"),
        ({"ends": date(2025, 1, 1)}, "--ends: ends 2025-01-01 is before starts 2026-03-01"),
        ({"tariff": "../standard"}, "--tariff: "),
        (
            {"technical_contact": "alix@example.org"},
            "--technical-contact: expected a name and an e-mail address",
        ),
        ({"technical_contact": "Alix <alix>"}, "--technical-contact: expected an e-mail address"),
    ],
)
def test_each_fault_names_its_option(fleet: Fleet, change: dict[str, object], place: str) -> None:
    assert place in refusal(replace(REQUEST, **change), fleet)  # type: ignore[arg-type]


def test_everything_missing_is_told_at_once_with_an_example(fleet: Fleet) -> None:
    told = refusal(Request("acme"), fleet)
    for option in (
        "--client",
        "--server",
        "--responsible-name",
        "--responsible-email",
        "--fingerprint",
        "--starts",
        "--tariff",
    ):
        assert f"{option}: is missing" in told
        assert f"for example: {option}" in told or option == "--fingerprint"


def test_an_instance_that_exists_needs_only_its_slug(fleet: Fleet) -> None:
    add_instance(fleet.directory, "acme")
    existing = load_fleet(fleet.directory)
    assert planned_instance(Request("acme"), existing) == (existing.instance("acme"), False)
    same = replace(REQUEST, fingerprint=FINGERPRINT.lower(), test_server="srv2.example.net")
    assert planned_instance(same, existing) == (existing.instance("acme"), False)


def test_other_values_for_an_instance_that_exists_are_refused_one_by_one(fleet: Fleet) -> None:
    add_instance(fleet.directory, "acme")
    other = replace(REQUEST, client="Acme SA", starts=date(2026, 4, 1), technical_contact="Alix <alix@example.org>")
    told = refusal(other, load_fleet(fleet.directory))
    assert "exists already" in told
    assert "--client: asked for 'Acme SA', but acme has 'ASBL Acme'" in told
    assert "--starts: asked for '2026-04-01', but acme has '2026-03-01'" in told
    assert "--technical-contact: asked for 'Alix', but acme has none" in told
    assert "--tariff" not in told
    assert "--server" not in told


def test_the_plan_says_where_what_and_to_whom(fleet: Fleet) -> None:
    instance, new = planned_instance(REQUEST, fleet)
    delivery = Delivery("nl", by_mail=True, file=Path("letter.asc"))
    plan = make_plan(instance, fleet, new=new, letter=delivery.text(fleet, instance))
    text = plan_text(plan)
    for expected in (
        "https://acme.chill.pro on srv1.example.net",
        "https://acme-test.chill.pro on srv1.example.net",
        "1.0.0 (releases/chill.tar.gz)",
        "from 2026-03-01, by the tariff standard",
        "Camille Dubois <camille@example.org>",
        FINGERPRINT,
        "support+acme@support.example.org",
        "encrypted, in nl, by mail to camille@example.org through localhost:25 and into letter.asc",
        "1. write inventory/instances/acme.yml",
    ):
        assert expected in text


def test_the_plan_says_what_one_would_expect_and_is_not_there(fleet: Fleet) -> None:
    instance, _ = planned_instance(replace(REQUEST, technical_contact=None, ends=date(2026, 4, 1)), fleet)
    text = plan_text(make_plan(instance, fleet, new=True, letter="by mail", today=date(2026, 5, 1)))
    for expected in ("no technical contact", "will not be signed", "the contract ended on 2026-04-01"):
        assert expected in text


def test_the_plan_tells_where_names_lead_and_what_that_means(fleet: Fleet) -> None:
    instance, _ = planned_instance(REQUEST, fleet)
    right, missing = (
        Finding("acme.chill.pro", "right", "leads here"),
        Finding("acme-test.chill.pro", "missing", "add: …"),
    )
    text = plan_text(make_plan(instance, fleet, new=True, letter="by mail", names=[right, missing]))
    assert "    acme-test.chill.pro add: …" in text
    assert "chill-provision apply acme" in text
    assert "degraded" not in plan_text(make_plan(instance, fleet, new=True, letter="by mail", names=[right]))
    assert "Certificates: signed by tls/ca.crt." in text


def test_the_plan_of_an_instance_that_exists_writes_and_sends_nothing(fleet: Fleet) -> None:
    instance, _ = planned_instance(REQUEST, fleet)
    text = plan_text(make_plan(instance, fleet, new=False, letter=""))
    assert "write" not in text
    assert "was given the passwords before" in text
    assert "3." not in text
