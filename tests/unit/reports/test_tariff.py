"""Price lists: the version that holds, and every fault named with its key."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from reports.tariff import parse_tariff, read_tariff
from tests.unit.reports.years import CASES

STANDARD = (CASES / "tariffs" / "standard.toml").read_text(encoding="utf-8")
TIERS = 'tiers = [{up_to = 20, price = "40.00"}, {price = "30.00"}]'


def changed(old: str, new: str) -> list[str]:
    """The problems of the standard tariff with one thing changed, as text."""
    assert STANDARD.count(old), old
    tariff, problems = parse_tariff(STANDARD.replace(old, new, 1), "tariffs/x.toml")
    assert tariff is None
    return [f"{problem.place}: {problem.message}" for problem in problems]


def test_the_standard_tariff_is_read_exactly() -> None:
    tariff, problems = parse_tariff(STANDARD, "tariffs/x.toml")
    assert not problems
    assert tariff
    version = tariff.versions[0]
    assert (tariff.currency, tariff.vat_percent) == ("EUR", Decimal(21))
    assert version.sms
    assert version.active_users
    assert version.sms.price == Decimal("0.075")
    assert [(tier.up_to, tier.price) for tier in version.active_users.tiers] == [(20, Decimal(40)), (None, Decimal(30))]


@pytest.mark.parametrize(
    "old,new,problem",
    [
        ('"600.00"', "600.00", "version[1].base.price: is a bare number, which is not exact"),
        ('"600.00"', "600", "version[1].base.price: is a bare number"),
        ('"600.00"', '"-600.00"', 'version[1].base.price: is negative: "-600.00"'),
        ('"600.00"', '"600,00"', 'version[1].base.price: "600,00" is not a decimal number'),
        ('"600.00"', '"6e2"', "is not a decimal number"),
        ('"600.00"', '"NaN"', "is not a decimal number"),
        ('"600.00"', '""', "is not a decimal number"),
        ('"600.00"', "true", "expected a decimal number between quotes"),
        ('"0.075"', "0.075", "version[1].sms.price: is a bare number"),
        ('vat_percent = "21"', "vat_percent = 21", "vat_percent: is a bare number"),
        ('vat_percent = "21"', 'vat_percent = "121"', 'vat_percent: "121" is more than 100'),
        ('vat_percent = "21"', "", "vat_percent: is missing"),
        ('"EUR"', '"euro"', "currency: is 'euro', expected the three capitals"),
        ("included = 5", "included = -5", "version[1].active_users.included: is -5, expected 0 or more"),
        ("included = 5", "included = 5.5", "version[1].active_users.included: is 5.5, expected a whole number"),
        (
            "included_gb = 20",
            'included_gb = "20"',
            "version[1].documents.included_gb: is '20', expected a whole number",
        ),
        ("per = 1000", "per = 0", "version[1].emails.per: is 0, expected 1 or more"),
        ("per = 1000", "", "version[1].emails.per: is missing"),
        ('"mean_monthly"', '"median"', "version[1].active_users.measure: is 'median', expected one of 'mean_monthly'"),
        ('"mean_daily"', '"mean_monthly"', "version[1].documents.measure: is 'mean_monthly'"),
        (TIERS, "tiers = []", "version[1].active_users.tiers: is empty"),
        ('{price = "30.00"}]', '{up_to = 30, price = "30.00"}]', "tiers: the last tier must have no up_to"),
        ("{up_to = 20, ", "{", "tiers: only the last tier may do without up_to"),
        ("{up_to = 20", '{up_to = 20, price = "1"}, {up_to = 20', "up_to must increase from tier to tier, not 20, 20"),
        ('{price = "30.00"}', '{up_to = 9, price = "1"}, {price = "30.00"}', "up_to must increase"),
        ('up_to = 20, price = "40.00"', "up_to = 20, price = 40.00", "tiers[1].price: is a bare number"),
        ("[version.sms]", "[version.smss]", "version[1].smss: is not a key that is known here"),
        ("currency =", 'name = "x"\ncurrency =', "name: is not a key that is known here"),
        ("2026-01-01", '"2026-01-01"', "version[1].valid_from: is '2026-01-01', expected a date without quotes"),
        ("2026-01-01", "2026-01-01T00:00:00", "version[1].valid_from: is '2026-01-01T00:00:00', expected a date"),
        ("[[version]]", "[version]", "version: expected a list of tables"),
        ('vat_percent = "21"', 'vat_percent = "21', "is not TOML"),
    ],
)
def test_a_fault_is_named_with_its_key(old: str, new: str, problem: str) -> None:
    found = changed(old, new)
    assert any(problem in text for text in found), found
    assert all(text.startswith("tariffs/x.toml") for text in found)


def test_two_versions_from_the_same_day_overlap() -> None:
    second = '[[version]]\nvalid_from = 2026-01-01\nbase = {price = "1.00"}\n\n[[version]]'
    assert changed("[[version]]", second) == [
        "tariffs/x.toml: version[2].valid_from: 2026-01-01 is also the start of version[1]: the two overlap"
    ]


def test_no_version_at_all() -> None:
    tariff, problems = parse_tariff('currency = "EUR"\nvat_percent = "21"\nversion = []\n', "tariffs/x.toml")
    assert tariff is None
    assert [str(problem) for problem in problems] == ["tariffs/x.toml: version: is empty, expected one or more"]


def test_all_faults_are_reported_at_once() -> None:
    text = STANDARD.replace('"600.00"', "600.0").replace("included = 5", "included = -5").replace('"EUR"', '"E"')
    overlapping = '\n[[version]]\nvalid_from = 2026-01-01\nbase = {price = "-1"}\n'
    _, problems = parse_tariff(text + overlapping, "tariffs/x.toml")
    assert [problem.place.removeprefix("tariffs/x.toml: ") for problem in problems] == [
        "currency",
        "version[1].active_users.included",
        "version[1].base.price",
        "version[2].base.price",
        "version[2].valid_from",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    tariff, problems = read_tariff(tmp_path / "gold.toml")
    assert tariff is None
    assert [(problem.place, problem.message) for problem in problems] == [
        ("tariffs/gold.toml", "there is no such tariff")
    ]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "gold.toml").write_bytes(b"\xff\xfe")
    _, problems = read_tariff(tmp_path / "gold.toml")
    assert [problem.message for problem in problems] == ["is not UTF-8 text"]


@pytest.mark.parametrize(
    "year,starts,expected",
    [
        (2025, "2020-01-01", None),
        (2026, "2020-01-01", "2026-01-01"),
        # A change during the year waits for the next 1 January …
        (2026, "2026-06-30", "2026-01-01"),
        # … but for a contract that starts after it.
        (2026, "2026-07-01", "2026-07-01"),
        (2027, "2020-01-01", "2026-07-01"),
        (2028, "2026-02-01", "2028-01-01"),
        (2029, "2028-11-01", "2028-01-01"),
    ],
)
def test_the_version_in_force(year: int, starts: str, expected: str | None) -> None:
    days = ("2028-01-01", "2026-01-01", "2026-07-01")
    versions = "".join(f'[[version]]\nvalid_from = {day}\nbase = {{price = "1"}}\n' for day in days)
    tariff, _ = parse_tariff(f'currency = "EUR"\nvat_percent = "0"\n{versions}', "tariffs/x.toml")
    assert tariff
    version = tariff.in_force(year, date.fromisoformat(starts))
    assert (version and version.valid_from.isoformat()) == expected
