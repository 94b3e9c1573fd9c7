"""Values to bill: a customer's year written as a few rows of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from metering.ledger.usage import MonthUsage, Window, YearUsage
from metering.samples import METRICS
from provision.contract import Contract
from reports.billing import YearTerms, charge, year_terms
from reports.lines import GIGABYTE
from reports.statement import Customer, Statement
from reports.tariff import Tariff, parse_tariff

CASES = Path(__file__).parents[2] / "cases" / "statement"
# Every month of a case's documents has this many sampled days.
DAYS = 30


def tariff(name: str = "standard") -> Tariff:
    """A tariff of the cases."""
    found, problems = parse_tariff((CASES / "tariffs" / f"{name}.toml").read_text(encoding="utf-8"), name)
    assert found, problems
    return found


def customer(
    starts: date, ends: date | None = None, client: str = "ASBL Acme", slug: str = "acme", **agreed: Any
) -> Customer:
    """A customer by the standard tariff, or as `agreed`: other keys of the contract."""
    contract = Contract.model_validate({"tariff": "standard", **agreed, "starts": starts, "ends": ends})
    return Customer(slug, client, f"{slug}.chill.pro", contract)


def terms_of(case: Mapping[str, Any], client: str = "ASBL Acme", slug: str = "acme") -> YearTerms:
    """By which prices a case is billed."""
    agreed = {"tariff": case["tariff"], **case.get("contract", {})}
    # TOML has no null.
    overrides = [{**one, "value": None if one["value"] == "" else one["value"]} for one in agreed.get("overrides", [])]
    whom = customer(case["starts"], case.get("ends"), client, slug, **agreed | {"overrides": overrides})
    found, problems = year_terms({slug: whom}, CASES / "tariffs", case["year"])
    assert slug in found, problems
    return found[slug]


def statement_of(case: Mapping[str, Any], client: str = "ASBL Acme", slug: str = "acme") -> Statement:
    """The statement of a case as in tests/cases/statement/README.md."""
    terms = terms_of(case, client, slug)
    usages = [usage_of(case, part.window, slug) for part in terms.parts]
    return charge(terms, usages, estimate=case.get("estimate", False))


def usage_of(case: Mapping[str, Any], window: Window, slug: str = "acme") -> YearUsage:
    users, sms, emails = (_whole(case[key]) for key in ("users", "sms", "emails"))
    volumes = _volumes(case["documents"])
    billed = [volumes[month - 1] for month in window.months]
    held = [volume for volume in billed if volume is not None]
    expected = (window.last_day - window.first_day).days + 1
    collabora = _figure(case["collabora"])
    return YearUsage(
        instance=slug,
        year=case["year"],
        months=tuple(
            MonthUsage(
                month=month,
                active_users=users[month - 1],
                sms=sms[month - 1],
                emails=emails[month - 1],
                mean_document_bytes=volumes[month - 1],
                days_sampled=DAYS if users[month - 1] is not None else 0,
            )
            for month in range(1, 13)
        ),
        distinct_users=_figure(case["distinct"]),
        sms=_sum(sms, window),
        emails=_sum(emails, window),
        document_bytes_total=int(sum(held) * DAYS) if held else None,
        document_days=len(held) * DAYS,
        document_bytes_peak=case.get("peak_bytes", int(max(held)) if held else None),
        document_bytes_last=case.get("last_bytes", int(held[-1]) if held else None),
        collabora_users=collabora,
        days_sampled={metric: case.get("sampled", expected) for metric in METRICS}
        | {"collabora_users": 0 if collabora is None else 1},
    )


def _whole(row: str) -> list[int | None]:
    return [None if cell == "-" else int(cell) for cell in row.split()]


def _volumes(row: str) -> list[Fraction | None]:
    return [None if cell == "-" else Fraction(cell) * GIGABYTE for cell in row.split()]


def _figure(value: int | str) -> int | None:
    return None if value == "-" else int(value)


def _sum(values: Sequence[int | None], window: Window) -> int | None:
    known = [value for month in window.months if (value := values[month - 1]) is not None]
    return sum(known) if known else None
