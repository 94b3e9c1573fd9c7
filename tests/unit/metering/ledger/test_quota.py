"""What is included, what is used of it, and which letters are due."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from metering.ledger.digest import MonthFigures
from metering.ledger.quota import MARKS, Quota, billed_months, fleet_quotas, quotas, read_terms, running
from metering.ledger.quota_letters import crossings
from provision.contract import Contract
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet

TARIFF = """\
currency = "EUR"
vat_percent = "21"
[[version]]
valid_from = 2026-01-01
  [version.base]
  price = "600.00"
  [version.emails]
  included = {emails}
  per = 1000
  price = "0.50"
  [version.documents]
  measure = "{measure}"
  included_gb = {gigabytes}
  price = "2.00"
"""


def fleet_with(tmp_path: Path, emails: int = 12000, measure: str = "mean_daily", gigabytes: int = 20) -> Fleet:
    """One instance, acme, from 1 March 2026 on."""
    fleet = make_ledger_fleet(tmp_path / "fleet")
    text = TARIFF.format(emails=emails, measure=measure, gigabytes=gigabytes)
    (fleet.tariffs / "standard.toml").write_text(text)
    return fleet


def month(total: int, peak: int = 0, last: int = 0, days: int = 0b1) -> MonthFigures:
    return MonthFigures(days, total, peak, last, 0, "")


def quota_of(fleet: Fleet, metric: str, months: Mapping[str, MonthFigures], year: int = 2026) -> Quota | None:
    found, problems = quotas(fleet, date(year, 12, 31), {("acme", metric): months})
    assert problems == []
    return found.get(("acme", metric))


def test_emails_are_a_share_of_the_year_and_summed_over_billed_months(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path)
    months = {"2026-02": month(9999), "2026-03": month(700), "2026-05": month(300)}
    assert quota_of(fleet, "emails_sent", months) == Quota("acme", "emails_sent", 2026, 10000, 1000)
    found = quota_of(fleet, "emails_sent", {"2027-01": month(1)}, 2027)
    assert found
    assert (found.included, found.used) == (12000, 1)


def test_a_share_is_rounded_half_up_to_a_whole_email(tmp_path: Path) -> None:
    for emails, included in ((3, 3), (9, 8), (10, 8), (15, 13)):
        (tmp_path / str(emails)).mkdir()
        found = quota_of(fleet_with(tmp_path / str(emails), emails), "emails_sent", {})
        assert found
        assert found.included == included


@pytest.mark.parametrize("measure, used", [("mean_daily", 40 // 3), ("peak_daily", 19), ("last", 7)])
def test_documents_are_measured_as_the_tariff_says(tmp_path: Path, measure: str, used: int) -> None:
    fleet = fleet_with(tmp_path, measure=measure)
    months = {"2026-03": month(33, 19, 14, 0b11), "2026-04": month(7, 7, 7), "2026-05": month(0, 0, 0, 0)}
    found = quota_of(fleet, "document_bytes", months)
    assert found == Quota("acme", "document_bytes", 2026, 20 * 10**9, used)


def test_nothing_known_is_not_nothing_used(tmp_path: Path) -> None:
    found = quota_of(fleet_with(tmp_path), "emails_sent", {"2026-04": month(0, days=0)})
    assert found
    assert (found.used, found.percent, found.marks) == (None, None, ())


def test_what_includes_nothing_is_no_quota(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path, emails=0, gigabytes=0)
    assert fleet_quotas(fleet, date(2026, 12, 31)) == ({}, [])
    (fleet.tariffs / "standard.toml").write_text("[[version]]\nvalid_from = 2026-01-01\n")
    assert fleet_quotas(fleet, date(2026, 12, 31)) == ({}, [])
    # Nor has a year before the contract, or before the tariff, one.
    assert fleet_quotas(fleet_with(tmp_path / "2"), date(2025, 12, 31)) == ({}, [])


@pytest.mark.parametrize(
    "used, percent, marks",
    [(0, 0, ()), (799, 79, ()), (800, 80, (80,)), (999, 99, (80,)), (1000, 100, (80, 100)), (5000, 500, (80, 100))],
)
def test_marks_are_reached_exactly(used: int, percent: int, marks: tuple[int, ...]) -> None:
    quota = Quota("acme", "emails_sent", 2026, 1000, used)
    assert (quota.percent, quota.marks) == (percent, marks)


@pytest.mark.parametrize(
    "text, message",
    [
        ("version = [", "is not TOML"),
        ("[[version]]\nvalid_from = 2026-01-01\n[version.emails]\nincluded = -1", "emails.included is -1"),
        (
            "[[version]]\nvalid_from = 2026-01-01\n[version.documents]\nincluded_gb = '2'",
            "documents.included_gb is '2'",
        ),
        ("[[version]]\nvalid_from = '2026-01-01'", "valid_from is '2026-01-01'"),
        ("[[version]]\n[version.emails]\nincluded = 1", "a version cannot be read: 'valid_from'"),
        ("version = 3", "a version cannot be read"),
        ("[[version]]\nvalid_from = 2026-01-01\n[version.documents]\nmeasure = 'best'", "documents.measure is 'best'"),
    ],
)
def test_a_tariff_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.toml").write_text(text)
    terms, (problem,) = read_terms(tmp_path / "odd.toml")
    assert terms == ()
    assert problem.place == "tariffs/odd.toml"
    assert message in problem.message
    assert problem.hint or "TOML" in problem.message


def test_a_tariff_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    fleet = make_ledger_fleet(tmp_path / "fleet", ("acme", "beta"))
    (fleet.tariffs / "standard.toml").unlink()
    found, problems = fleet_quotas(fleet, date(2026, 12, 31))
    assert (found, [problem.place for problem in problems]) == ({}, ["tariffs/standard.toml"])


def test_billed_months_touch_the_contract() -> None:
    contract = Contract(starts=date(2026, 3, 31), ends=date(2026, 9, 1), tariff="standard")
    assert list(billed_months(contract, 2026)) == [3, 4, 5, 6, 7, 8, 9]
    assert list(billed_months(contract, 2025)) == []
    assert list(billed_months(contract, 2027)) == []


def test_a_contract_s_particular_conditions_hold(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path)
    path = fleet.directory / "inventory/instances/acme.yml"
    text = path.read_text()

    def included(*overrides: str) -> dict[str, int]:
        listed = ", ".join(f"{{{one}, reason: agreed}}" for one in overrides)
        path.write_text(text.replace('tariff: "standard"', f'tariff: "standard", overrides: [{listed}]'))
        found, problems = fleet_quotas(load_fleet(fleet.directory), date(2026, 12, 31))
        assert problems == []
        return {metric: quota.included for (_, metric), quota in found.items()}

    standard = {"emails_sent": 10000, "document_bytes": 20 * 10**9}
    assert included("key: emails.included, value: 24000") == {**standard, "emails_sent": 20000}
    assert included("key: documents.included_gb, value: 50, since: 2026") == {**standard, "document_bytes": 50 * 10**9}
    assert included("key: documents.included_gb, value: 50, since: 2027") == standard
    assert included("key: emails.included, value: 1, until: 2025", "key: sms.price, value: '1'") == standard
    assert included("key: documents, value: null") == {"emails_sent": 10000}
    assert included("key: emails, value: {included: 12, per: 1, price: '1'}") == {**standard, "emails_sent": 10}


def test_a_condition_that_cannot_be_is_named(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path)
    path = fleet.directory / "inventory/instances/acme.yml"
    overrides = "overrides: [{key: emails.included, value: many, reason: agreed}]"
    path.write_text(path.read_text().replace('tariff: "standard"', f'tariff: "standard", {overrides}'))
    found, (problem,) = fleet_quotas(load_fleet(fleet.directory), date(2026, 12, 31))
    assert found == {}
    assert problem.place == "inventory/instances/acme.yml: contract.overrides"
    assert "emails.included is 'many'" in problem.message


def test_of_several_periods_the_latest_that_has_begun_counts() -> None:
    contract = Contract.model_validate(
        {
            "starts": date(2026, 9, 1),
            "tariff": "new",
            "periods": [{"starts": date(2026, 2, 10), "ends": date(2026, 6, 30), "tariff": "old"}],
        }
    )
    seen = {until: running(contract, until) for until in (date(2026, 2, 9), date(2026, 8, 31), date(2026, 9, 1))}
    assert [period and period.tariff for period in seen.values()] == [None, "old", "new"]
    assert [list(billed_months(period, 2026)) for period in seen.values() if period] == [
        [2, 3, 4, 5, 6],
        [9, 10, 11, 12],
    ]
    # Nor does a period count that ended before the year.
    assert running(Contract(starts=date(2025, 1, 1), ends=date(2025, 12, 31), tariff="old"), date(2026, 1, 1)) is None


# --- which letters are due --------------------------------------------------------------------------------------------


def due(used: int, *told: int) -> list[tuple[int, list[int]]]:
    quota = Quota("acme", "emails_sent", 2026, 1000, used)
    found = crossings([quota], [("acme", "emails_sent", 2026, mark) for mark in told])
    return [(one.mark, list(one.marks)) for one in found]


def test_each_mark_is_due_once() -> None:
    assert due(799) == []
    assert due(800) == [(80, [80])]
    assert due(900, 80) == []
    assert due(1000, 80) == [(100, [100])]
    assert due(1000, 80, 100) == []


def test_two_marks_at_once_are_one_letter() -> None:
    assert due(1500) == [(100, [80, 100])]


def test_a_mark_below_one_that_was_told_is_not_due() -> None:
    assert due(1500, 100) == []


def test_what_was_told_is_told_of_that_year_metric_and_instance() -> None:
    quota = Quota("acme", "emails_sent", 2026, 1000, 800)
    for other in (("beta", "emails_sent", 2026), ("acme", "document_bytes", 2026), ("acme", "emails_sent", 2025)):
        assert [one.mark for one in crossings([quota], [(*other, mark) for mark in MARKS])] == [80]
