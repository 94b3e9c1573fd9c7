"""Lines that are billed once, VAT and its mentions, estimates."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.usage import Window
from provision.contract import Vat
from provision.settings import Language
from reports.estimate import estimated_usage
from reports.extras import correction_line, single_lines
from reports.lines import Line, Note, Origin, cents, money
from reports.statement import Statement, with_lines
from reports.table import words
from reports.to_csv import usage_csv
from tests.unit.reports.years import CASES, customer, statement_of


def case(name: str, **changed: Any) -> dict[str, Any]:
    return tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8")) | changed


def lines(extras: list[dict[str, Any]], year: int = 2026, until: date = date.max) -> list[Line]:
    return list(single_lines(customer(date(2020, 1, 1), extras=extras).contract, year, until))


def test_extras_are_billed_in_their_year_by_day() -> None:
    extras = [
        {"day": date(2026, 5, 1), "label": "second", "amount": "2"},
        {"day": date(2025, 12, 31), "label": "before", "amount": "1"},
        {"day": date(2026, 1, 1), "label": "first", "amount": "1"},
        {"day": date(2026, 5, 1), "label": "third", "amount": "3", "kind": "credit"},
    ]
    assert [(line.label, line.amount) for line in lines(extras)] == [
        ("first", Decimal("1.00")),
        ("second", Decimal("2.00")),
        ("third", Decimal("-3.00")),
    ]
    assert [line.label for line in lines(extras, until=date(2026, 4, 30))] == ["first"]
    assert [line.label for line in lines(extras, 2025)] == ["before"]


def test_the_advance_is_taken_off_in_the_contracts_first_year_only() -> None:
    invoiced = {"day": date(2025, 12, 28), "amount": "500.00"}
    contract = customer(date(2026, 3, 1), opening_invoiced=invoiced).contract
    assert [(line.name, line.amount) for line in single_lines(contract, 2026)] == [("advance", Decimal("-500.00"))]
    assert list(single_lines(contract, 2027)) == []
    earlier = {"starts": date(2024, 1, 1), "ends": date(2025, 6, 30), "tariff": "standard"}
    contract = customer(date(2026, 3, 1), opening_invoiced=invoiced, periods=[earlier]).contract
    assert [len(list(single_lines(contract, year))) for year in (2024, 2025, 2026)] == [1, 0, 0]


amounts = st.integers(-(10**9), 10**9).map(money)


@settings(deadline=None)
@given(st.lists(amounts, max_size=5))
def test_totals_are_the_sum_of_all_lines_also_below_zero(corrections: list[Decimal]) -> None:
    made = statement_of(case("full-year"))
    more = with_lines(made, [correction_line(Origin(2025, "sms"), amount) for amount in corrections])
    assert more.total == made.total + sum(corrections)
    assert more.total_with_vat == more.total + more.vat
    assert abs(Fraction(more.vat) - Fraction(more.total) * 21 / 100) <= Fraction(1, 200)
    assert more.amount_of("correction") == sum(corrections)
    # What is taken off is rounded as what is asked.
    taken = with_lines(replace(made, lines=()), [correction_line(Origin(2025, "sms"), -more.total)])
    assert taken.vat == -more.vat


@given(st.fractions())
def test_rounding_is_the_same_on_both_sides_of_zero(amount: Fraction) -> None:
    assert cents(-amount) == -cents(amount)
    assert abs(amount * 100 - cents(amount)) <= Fraction(1, 2)
    assert Fraction(money(cents(amount))) * 100 == cents(amount)


def test_a_correction_says_what_it_corrects() -> None:
    line = correction_line(Origin(2025, "sms"), Decimal("-7.50"), "late samples of March")
    text = usage_csv([with_lines(statement_of(case("full-year")), [line])], words("fr"))
    row = next(row for row in text.splitlines() if ",correction," in row)
    assert ",-7.50,EUR,12,,," in row
    assert "Correction 2025, SMS envoyés\u00a0: late samples of March" in row


@pytest.mark.parametrize(
    "vat,percent,amount,mention",
    [
        ({}, "21", "296.94", ""),
        ({"treatment": "percent", "percent": "6"}, "6", "84.84", ""),
        ({"treatment": "exempt"}, "0", "0.00", "Exonéré de TVA"),
        ({"treatment": "exempt", "mention": {"fr": "Article 44"}}, "0", "0.00", "Article 44"),
        ({"treatment": "exempt", "mention": {"nl": "Artikel 44"}}, "0", "0.00", "Exonéré de TVA"),
        (
            {"treatment": "reverse_charge", "customer_number": "FR12345678901"},
            "0",
            "0.00",
            "(numéro de TVA du client\u00a0: FR12345678901)",
        ),
    ],
)
def test_vat(vat: dict[str, Any], percent: str, amount: str, mention: str) -> None:
    made = statement_of(case("full-year", contract={"vat": vat}))
    assert (str(made.vat_percent), str(made.vat)) == (percent, amount)
    assert made.total_with_vat == made.total + made.vat
    row = next(row for row in usage_csv([made], words("fr")).splitlines() if ",vat," in row)
    assert row.rstrip('"').endswith(mention)
    assert (words("fr").vat_mention(made.vat_terms) == "") == (mention == "")


@pytest.mark.parametrize("language", ["fr", "en", "nl"])
def test_every_language_has_a_mention(language: Language) -> None:
    exempt, reverse = (Vat(treatment="exempt"), Vat(treatment="reverse_charge", customer_number="BE0123456789"))
    assert words(language).vat_mention(exempt)
    assert "2006/112" in words(language).vat_mention(reverse)
    assert "BE0123456789" in words(language).vat_mention(reverse)


# Estimates.


def estimated(**changed: Any) -> Statement:
    return statement_of(case("gaps", estimate=True, **changed))


def test_an_estimate_is_marked_and_only_made_on_demand() -> None:
    assert not statement_of(case("gaps")).estimated
    made = estimated()
    assert made.estimated
    assert [line.name for line in made.lines if line.estimated] == ["sms", "emails"]
    sms = next(line for line in made.lines if line.name == "sms")
    assert Note("estimated", days=31) in sms.notes
    assert (sms.days_sampled, sms.days_expected) == (334, 365)
    # A month without any sample is still missing, estimated or not.
    assert sms.incomplete


def test_nothing_is_estimated_from_nothing_or_where_nothing_is_missing() -> None:
    assert not estimated(sampled=0, sms=" ".join(["-"] * 12), emails=" ".join(["-"] * 12)).estimated
    assert not estimated(sampled=365).estimated
    # Samples of a billed month from before the contract began: of its own days, none says anything.
    before = estimated(sampled=0, starts=date(2026, 1, 30))
    assert not before.estimated
    assert next(line for line in before.lines if line.name == "sms").quantity == 110


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 365))
def test_an_estimate_is_the_mean_of_the_sampled_days(sent: int, sampled: int) -> None:
    made = statement_of(case("gaps"))
    usage = replace(made.usage, sms=sent, days_sampled={**made.usage.days_sampled, "sms_sent": sampled})
    window = Window(date(2026, 1, 1), date(2026, 12, 31), 1, 12)
    found, days = estimated_usage(usage, window)
    assert days.get("sms", 0) == 365 - sampled
    assert found.sms is not None
    assert abs(found.sms - Fraction(sent * 365, sampled)) <= Fraction(1, 2)
    assert found.sms >= sent
