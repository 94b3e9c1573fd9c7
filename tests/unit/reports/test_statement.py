"""Statements: cases worked out by hand, and what must hold of any."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.usage import MonthUsage, Window, YearUsage
from metering.samples import METRICS
from provision.contract import Contract
from reports.formulas import graduated
from reports.lines import Line
from reports.statement import Part, Statement, billing_window
from reports.statement import statement_of as statement_of_parts
from reports.table import words
from reports.tariff import Tariff, Tier, parse_tariff
from reports.to_csv import usage_csv
from tests.unit.reports.years import CASES, customer, statement_of, tariff

NAMES = sorted(path.stem for path in CASES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    case = tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))
    assert usage_csv([statement_of(case)], words("en")) == (CASES / f"{name}.csv").read_text(encoding="utf-8")


def test_the_decimal_context_of_the_caller_changes_no_cent() -> None:
    case = tomllib.loads((CASES / "first-year.toml").read_text(encoding="utf-8"))
    expected = statement_of(case)
    with localcontext(prec=3):
        assert statement_of(case) == expected


@pytest.mark.parametrize(
    "starts,ends,window",
    [
        ("2020-01-01", None, ("2026-01-01", "2026-12-31", 1, 12)),
        ("2026-03-12", None, ("2026-03-12", "2026-12-31", 3, 12)),
        ("2020-01-01", "2026-01-01", ("2026-01-01", "2026-01-01", 1, 1)),
        ("2026-12-31", None, ("2026-12-31", "2026-12-31", 12, 12)),
        ("2026-05-05", "2026-07-07", ("2026-05-05", "2026-07-07", 5, 7)),
        ("2027-01-01", None, None),
        ("2020-01-01", "2025-12-31", None),
    ],
)
def test_billing_window(starts: str, ends: str | None, window: tuple[str, str, int, int] | None) -> None:
    last = date.fromisoformat(ends) if ends else None
    contract = Contract(starts=date.fromisoformat(starts), ends=last, tariff="standard")
    found = billing_window(contract, 2026)
    expected = window and Window(date.fromisoformat(window[0]), date.fromisoformat(window[1]), *window[2:])
    assert found == expected


def test_a_gap_is_incomplete_only_where_it_is_billed() -> None:
    case = tomllib.loads((CASES / "nothing-sampled.toml").read_text(encoding="utf-8"))
    names = ["active_users", "sms", "emails", "documents", "collabora_users"]
    assert [line.name for line in statement_of(case).incomplete] == names
    assert statement_of({**case, "tariff": "base-only"}).incomplete == ()


def test_a_quota_in_gigabytes_is_crossed_by_one_byte_of_the_mean() -> None:
    """Two days of 20 GB and one byte more on one of them: the mean is half a byte above, so one GB has started."""
    usage = year(documents=(2 * 20 * 10**9 + 1, 2))
    assert line(bill(usage), "documents").billable == 1
    assert line(bill(year(documents=(2 * 20 * 10**9, 2))), "documents").billable == 0


# What any statement must keep to.

counts = st.integers(min_value=0, max_value=10**7)
people = st.integers(min_value=0, max_value=5000)
volumes = st.integers(min_value=0, max_value=10**14)
prices = st.decimals(min_value=0, max_value=10**6, places=3).map(lambda price: f"{price:.3f}")
spans = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    bounds = sorted(draw(st.sets(st.integers(1, 1000), max_size=3)))
    tiers = [f'{{up_to = {bound}, price = "{draw(prices)}"}}' for bound in bounds] + [f'{{price = "{draw(prices)}"}}']
    text = f"""
        currency = "EUR"
        vat_percent = "{draw(st.sampled_from(["0", "6", "21", "5.5", "100"]))}"
        [[version]]
        valid_from = 2000-01-01
        base = {{price = "{draw(prices)}"}}
        sms = {{price = "{draw(prices)}"}}
        emails = {{included = {draw(counts)}, per = {draw(st.integers(1, 5000))}, price = "{draw(prices)}"}}
        collabora_users = {{included = {draw(st.integers(0, 50))}, price = "{draw(prices)}"}}
        [version.active_users]
        measure = "{draw(st.sampled_from(["mean_monthly", "peak_monthly", "distinct_year"]))}"
        included = {draw(st.integers(0, 50))}
        tiers = [{", ".join(tiers)}]
        [version.documents]
        measure = "{draw(st.sampled_from(["mean_daily", "peak_daily", "last"]))}"
        included_gb = {draw(st.integers(0, 100))}
        price = "{draw(prices)}"
    """
    found, problems = parse_tariff(text, "drawn")
    assert found, problems
    return found


@st.composite
def years(draw: st.DrawFn) -> YearUsage:
    days = draw(st.integers(1, 366))
    users = draw(st.lists(people, min_size=12, max_size=12))
    return year(users, draw(counts), draw(counts), (draw(volumes), days), draw(people), draw(st.integers(0, 500)))


def year(
    users: list[int] | None = None,
    sms: int = 0,
    emails: int = 0,
    documents: tuple[int, int] = (0, 1),
    distinct: int = 0,
    collabora: int = 0,
) -> YearUsage:
    """A year without gaps. `documents`: sum of the daily bytes and number of days."""
    total, days = documents
    months = tuple(
        MonthUsage(month, active_users=(users or [0] * 12)[month - 1], sms=0, emails=0, mean_document_bytes=Fraction(0))
        for month in range(1, 13)
    )
    sampled = dict.fromkeys(METRICS, 365)
    return YearUsage("acme", 2026, months, distinct, sms, emails, total, days, total, total, collabora, sampled)


def bill(usage: YearUsage, prices: Tariff | None = None, span: list[int] | None = None) -> Statement:
    prices = prices or tariff()
    first, last = span or [1, 12]
    window = Window(date(2026, first, 1), date(2026, last, 28), first, last)
    part = Part(window, "standard", prices.versions[0], usage)
    return statement_of_parts(customer(date(2020, 1, 1)), prices, [part])


def line(statement: Statement, name: str) -> Line:
    return next(line for line in statement.lines if line.name == name)


@settings(deadline=None)
@given(years(), tariffs(), spans)
def test_totals_are_the_sum_of_the_lines_and_vat_is_rounded_once(
    usage: YearUsage, prices: Tariff, span: list[int]
) -> None:
    made = bill(usage, prices, span)
    assert made.total == sum(line.amount for line in made.lines)
    assert made.total_with_vat == made.total + made.vat
    exact = Fraction(made.total) * Fraction(prices.vat_percent) / 100
    assert -Fraction(1, 200) < Fraction(made.vat) - exact <= Fraction(1, 200)
    assert all(line.amount.as_tuple().exponent == -2 for line in made.lines)


@settings(deadline=None)
@given(years(), tariffs(), spans, st.integers(0, 11), st.integers(0, 1000), volumes)
def test_more_usage_never_costs_less(
    usage: YearUsage, prices: Tariff, span: list[int], month: int, more: int, bytes_more: int
) -> None:
    months = list(usage.months)
    months[month] = replace(months[month], active_users=(months[month].active_users or 0) + more)
    heavier = replace(
        usage,
        months=tuple(months),
        distinct_users=(usage.distinct_users or 0) + more,
        sms=(usage.sms or 0) + more,
        emails=(usage.emails or 0) + more,
        document_bytes_total=(usage.document_bytes_total or 0) + bytes_more,
        document_bytes_peak=(usage.document_bytes_peak or 0) + bytes_more,
        document_bytes_last=(usage.document_bytes_last or 0) + bytes_more,
        collabora_users=(usage.collabora_users or 0) + more,
    )
    lighter, greater = bill(usage, prices, span), bill(heavier, prices, span)
    for before, after in zip(lighter.lines, greater.lines, strict=True):
        assert after.amount >= before.amount


@settings(deadline=None)
@given(tariffs(), st.integers(1, 11))
def test_the_base_split_at_any_month_adds_up_within_a_cent(prices: Tariff, month: int) -> None:
    whole = line(bill(year(), prices), "base").amount
    parts = [line(bill(year(), prices, span), "base").amount for span in ([1, month], [month + 1, 12])]
    assert abs(whole - sum(parts)) <= Decimal("0.01")


@settings(deadline=None)
@given(years(), tariffs(), spans)
def test_amounts_follow_the_published_formulas(usage: YearUsage, prices: Tariff, span: list[int]) -> None:
    """The formulas of docs/reports.md, written once more in decimals of 60 digits, user by user for the tiers."""
    made = bill(usage, prices, span)
    version = prices.versions[0]
    months = span[1] - span[0] + 1
    section, emails, documents = version.active_users, version.emails, version.documents
    sms, collabora = version.sms, version.collabora_users
    assert section
    assert emails
    assert documents
    assert sms
    assert collabora
    with localcontext(prec=60):
        share = Decimal(months) / 12
        users = line(made, "active_users").billable or 0
        by_tier = sum((_price_of_user(number, section.tiers) for number in range(users)), Decimal(0))
        quota = int(Decimal(emails.included * months) / 12 + Decimal("0.5"))
        blocks = -(-max(0, (usage.emails or 0) - quota) // emails.per)
        started = line(made, "documents").billable or 0
        above = max(0, (usage.collabora_users or 0) - collabora.included)
        expected = {
            "base": version.base.price * share,
            "active_users": by_tier * share,
            "sms": sms.price * (usage.sms or 0),
            "emails": emails.price * blocks,
            "documents": documents.price * started * share,
            "collabora_users": collabora.price * above * share,
        }
        for name, amount in expected.items():
            # A third cannot be written in decimals: an exact half may be missed by the last of 60 digits.
            assert abs(line(made, name).amount - amount) <= Decimal("0.00500000000000000000000001")


def _price_of_user(number: int, tiers: Sequence[Tier]) -> Decimal:
    return next(tier.price for tier in tiers if tier.up_to is None or number < tier.up_to)


@settings(deadline=None)
@given(tariffs(), st.integers(0, 5000))
def test_every_billable_user_falls_into_one_tier(prices: Tariff, users: int) -> None:
    section = prices.versions[0].active_users
    assert section
    assert sum(step.count for step in graduated(users, section.tiers)) == users
