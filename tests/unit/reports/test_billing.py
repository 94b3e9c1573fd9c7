"""Periods, particular conditions, price versions, currencies: which prices hold for whom, and what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.store import open_ledger
from metering.samples import SAMPLES_HEADER, USERS_HEADER
from provision.errors import InvalidFiles
from reports.billing import YearTerms, bill, year_terms
from reports.statement import Customer, below, by_coverage
from reports.table import words
from reports.to_csv import monthly_csv, usage_csv
from tests.unit.reports.years import CASES, customer, statement_of, terms_of

YEAR = 2026
TARIFF = """currency = "{currency}"
vat_percent = "{vat}"
{versions}
"""
VERSION = """[[version]]
valid_from = {day}
base = {{price = "{price}"}}
sms = {{price = "0.10"}}
"""


@pytest.fixture
def tariffs(tmp_path: Path) -> Path:
    """Price lists: `yearly` with a version for each year and one of July, `francs`, `reduced`."""
    directory = tmp_path / "tariffs"
    directory.mkdir()
    days = {"2024-01-01": "240.00", "2025-01-01": "252.00", "2026-01-01": "264.00", "2026-07-01": "300.00"}
    versions = "".join(VERSION.format(day=day, price=price) for day, price in days.items())
    one = VERSION.format(day="2020-01-01", price="120.00")
    (directory / "yearly.toml").write_text(TARIFF.format(currency="EUR", vat="21", versions=versions))
    (directory / "francs.toml").write_text(TARIFF.format(currency="CHF", vat="21", versions=one))
    (directory / "reduced.toml").write_text(TARIFF.format(currency="EUR", vat="6", versions=one))
    return directory


def agreed(starts: str, ends: str | None = None, **more: Any) -> Customer:
    last = date.fromisoformat(ends) if ends else None
    return customer(date.fromisoformat(starts), last, **{"tariff": "yearly", **more})


def prices(tariffs: Path, whom: Customer, year: int = YEAR) -> list[Decimal]:
    return [part.version.base.price for part in terms(tariffs, whom, year).parts]


def terms(tariffs: Path, whom: Customer, year: int = YEAR) -> YearTerms:
    found, problems = year_terms({"acme": whom}, tariffs, year)
    assert not problems, problems
    return found["acme"]


def faults(tariffs: Path, whom: Customer) -> list[str]:
    found, problems = year_terms({"acme": whom}, tariffs, YEAR)
    assert not found
    return [f"{problem.place}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    "starts,price",
    [("2020-03-01", "264.00"), ("2026-01-01", "264.00"), ("2026-06-30", "264.00"), ("2026-07-01", "300.00")],
)
def test_the_version_of_1_january_or_of_the_start_holds_all_year(tariffs: Path, starts: str, price: str) -> None:
    assert prices(tariffs, agreed(starts)) == [Decimal(price)]


def test_each_period_is_priced_as_a_contract_of_its_own(tariffs: Path) -> None:
    earlier = {"starts": date(2025, 3, 1), "ends": date(2026, 7, 31), "tariff": "yearly"}
    whom = agreed("2026-08-01", periods=[earlier])
    assert prices(tariffs, whom) == [Decimal("264.00"), Decimal("300.00")]
    assert [part.window.months for part in terms(tariffs, whom).parts] == [range(1, 8), range(8, 13)]
    assert prices(tariffs, whom, 2025) == [Decimal("252.00")]
    assert prices(tariffs, whom, 2027) == [Decimal("300.00")]


def test_a_period_of_other_years_is_not_billed(tariffs: Path) -> None:
    earlier = {"starts": date(2020, 3, 1), "ends": date(2025, 12, 31), "tariff": "gone"}
    assert prices(tariffs, agreed("2026-08-01", periods=[earlier])) == [Decimal("300.00")]


def test_one_statement_has_one_currency_and_one_rate(tariffs: Path) -> None:
    earlier = {"starts": date(2020, 3, 1), "ends": date(2026, 3, 31), "tariff": "francs"}
    (fault,) = faults(tariffs, agreed("2026-08-01", periods=[earlier]))
    assert fault.startswith("inventory/instances/acme.yml: chill_acme.vars.contract.periods: ")
    assert "CHF and EUR: a statement has one currency" in fault
    earlier["tariff"] = "reduced"
    (fault,) = faults(tariffs, agreed("2026-08-01", periods=[earlier]))
    assert "VAT of 6 and 21 %: a statement has one rate" in fault
    # The contract may say which.
    assert prices(tariffs, agreed("2026-08-01", periods=[earlier], vat={"treatment": "exempt"}))


def test_a_particular_condition_holds_in_its_years_only(tariffs: Path) -> None:
    override = {"key": "base.price", "value": "100.00", "reason": "pilot", "since": 2025, "until": 2026}
    whom = agreed("2024-01-01", overrides=[override])
    assert [prices(tariffs, whom, year)[0] for year in (2024, 2025, 2026, 2027)] == [
        Decimal("240.00"),
        Decimal("100.00"),
        Decimal("100.00"),
        Decimal("300.00"),
    ]
    assert terms(tariffs, whom).parts[0].conditions == (("base", "pilot"),)
    assert terms(tariffs, whom, 2027).parts[0].conditions == ()


def test_a_condition_may_replace_a_section_or_take_it_away(tariffs: Path) -> None:
    new = {"included": 3, "price": "12.00"}
    overrides = [
        {"key": "collabora_users", "value": new, "reason": "asked for it"},
        {"key": "sms", "value": None, "reason": "sends them itself"},
    ]
    (part,) = terms(tariffs, agreed("2024-01-01", overrides=overrides)).parts
    assert part.version.sms is None
    assert part.version.collabora_users
    assert part.version.collabora_users.price == Decimal("12.00")


@pytest.mark.parametrize(
    "key,value,message",
    [
        ("sms.price", 0.05, "sms.price is a bare number, which is not exact"),
        ("sms.prize", "0.05", "sms.prize is not a key that is known here"),
        ("emails.included", 500, "emails.per is missing"),
        ("base", None, "base is missing"),
        ("base.price", "-1", "base.price is negative"),
    ],
)
def test_a_condition_that_no_tariff_could_have_is_named(tariffs: Path, key: str, value: object, message: str) -> None:
    file = tariffs.parent / "inventory" / "instances" / "acme.yml"
    file.parent.mkdir(parents=True)
    file.write_text("chill_acme:\n vars:\n  contract:\n   overrides:\n   - key: x\n   - key: y\n     value: z\n")
    good = {"key": "collabora_users", "value": {"price": "1"}, "reason": "good"}
    found = faults(tariffs, agreed("2024-01-01", overrides=[good, {"key": key, "value": value, "reason": "bad"}]))
    place = "inventory/instances/acme.yml:7: chill_acme.vars.contract.overrides.1.value"
    assert any(fault.startswith(f"{place}: {message}") for fault in found), found


def test_every_fault_of_every_contract_is_told_at_once(tariffs: Path) -> None:
    bad = {"key": "sms.price", "value": 1, "reason": "bad"}
    whom = {"acme": agreed("2024-01-01", overrides=[bad]), "beta": agreed("2024-01-01", tariff="gone", slug="beta")}
    with pytest.raises(InvalidFiles) as caught:
        bill(whom, tariffs, open_ledger(tariffs.parent / "ledger"), YEAR)
    assert "tariffs/gone.toml: there is no such tariff" in caught.value.message
    assert "chill_acme.vars.contract.overrides.0.value" in caught.value.message


def test_a_month_of_no_period_is_in_no_file() -> None:
    case = {
        "year": YEAR,
        "tariff": "standard",
        "starts": date(2026, 7, 1),
        "contract": {"periods": [{"starts": date(2020, 1, 1), "ends": date(2026, 5, 31), "tariff": "solidarity"}]},
        **{name: " ".join(["1"] * 12) for name in ("users", "sms", "emails", "documents")},
        "distinct": 1,
        "collabora": 0,
    }
    made = statement_of(case)
    months = [row.split(",")[1] for row in monthly_csv([made]).splitlines()[1:]]
    assert months == [str(month) for month in range(1, 13) if month != 6]
    assert made.months == 11
    assert (made.window.first_day, made.window.last_day) == (date(2026, 1, 1), date(2026, 12, 31))


def test_least_covered_customers_come_first() -> None:
    case = {
        "year": YEAR,
        "tariff": "standard",
        "starts": date(2020, 1, 1),
        "distinct": 1,
        "collabora": 0,
        **{name: " ".join(["1"] * 12) for name in ("users", "sms", "emails", "documents")},
    }
    sampled = {"alpha": 365, "beta": 300, "gamma": 347, "delta": 10, "epsilon": 346}
    made = [statement_of({**case, "sampled": days}, slug=slug) for slug, days in sampled.items()]
    order = [statement.customer.instance for statement in by_coverage(made, 95)]
    # 347 of 365 days are 95.07 %, 346 are 94.8 %.
    assert order == ["delta", "beta", "epsilon", "alpha", "gamma"]
    assert [below(statement, 95) for statement in made] == [False, True, False, True, True]


def test_what_is_not_billed_needs_no_samples() -> None:
    assert statement_of({**NOTHING, "tariff": "base-only"}).coverage is None
    assert not below(statement_of({**NOTHING, "tariff": "base-only"}), 95)


NOTHING = {
    "year": YEAR,
    "starts": date(2020, 1, 1),
    "distinct": "-",
    "collabora": "-",
    "sampled": 0,
    **{name: " ".join(["-"] * 12) for name in ("users", "sms", "emails", "documents")},
}


def test_terms_of_a_case_name_their_tariff() -> None:
    assert terms_of({**NOTHING, "tariff": "standard"}).parts[0].tariff == "standard"


# The order in which files came makes no difference.

DAYS = [date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1), date(2026, 12, 31)]
ROWS = [
    (day, instance, metric, value)
    for day in DAYS
    for instance in ("acme", "beta")
    for metric, value in (("sms_sent", day.day), ("emails_sent", 7000), ("document_bytes", day.day * 10**9))
]


@settings(deadline=None, max_examples=8)
@given(order=st.permutations(range(len(ROWS))), where=st.lists(st.integers(0, 5), min_size=24, max_size=24))
def test_the_order_of_the_ledgers_files_and_rows_is_irrelevant(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], where: list[int]
) -> None:
    """The same samples, spread over files in any way, by runs in any order, make the same papers."""
    directory = tmp_path_factory.mktemp("ledger")
    files: dict[str, list[str]] = {}
    for number in order:
        day, instance, metric, value = ROWS[number]
        run = f"20270101T0000{where[number]:02d}Z"
        at = f"2027-01-01T00:00:{where[number]:02d}Z"
        name = f"{day}.srv1.{run}.samples.csv"
        files.setdefault(name, []).append(f"{day},{instance},{metric},{value},ok,srv1,{at},")
    (directory / "2026").mkdir()
    for name, rows in files.items():
        text = "\n".join([",".join(SAMPLES_HEADER), *rows]) + "\n"
        (directory / "2026" / name).write_text(text, newline="")
        users = ",".join(USERS_HEADER) + "\n"
        (directory / "2026" / name.replace("samples", "users")).write_text(users, newline="")
    whom = {slug: customer(date(2020, 1, 1), slug=slug) for slug in ("acme", "beta")}
    made = bill(whom, CASES / "tariffs", open_ledger(directory), YEAR)
    text = usage_csv(made, words("en"))
    # 30 + 31 + 1 + 31 SMS; four days of 7000 e-mails, 18000 above the quota: 18 blocks; a mean of 23.25 GB.
    expected = {"sms": ("93", "6.98"), "emails": ("28000", "9.00"), "documents": ("23250000000", "8.00")}
    for row in text.splitlines():
        cells = row.split(",")
        if cells[3] in expected:
            assert (cells[4], cells[9]) == expected[cells[3]]
    assert text.count(",sms,93,") == 2
