"""The meter and the papers read the same tariffs, each by itself: they say the same."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.quota import fleet_quotas, in_force, read_terms
from provision.fleet_reader import load_fleet
from reports.billing import bill, fleet_customers, year_ledger
from reports.tariff import read_tariff
from tests.generated import generate
from tests.unit.metering.ledger.test_quota import TARIFF

DAYS = st.dates(date(2023, 1, 1), date(2028, 12, 31))


@given(st.sets(DAYS, min_size=1, max_size=4), DAYS, st.integers(2023, 2028))
@settings(max_examples=50, deadline=None)
def test_the_version_in_force_is_the_one_of_the_statements(
    tmp_path_factory: pytest.TempPathFactory, versions: set[date], starts: date, year: int
) -> None:
    path = tmp_path_factory.mktemp("tariffs") / "standard.toml"
    head, version = TARIFF.split("[[version]]")
    texts = [f"[[version]]{version}".format(emails=n, measure="last", gigabytes=n) for n in range(1, len(versions) + 1)]
    dated = [text.replace("2026-01-01", day.isoformat()) for text, day in zip(texts, versions, strict=True)]
    path.write_text(head + "".join(dated))
    tariff, problems = read_tariff(path)
    assert tariff, problems
    theirs, ours = tariff.in_force(year, starts), in_force(read_terms(path)[0], year, starts)
    if theirs is None or theirs.emails is None or theirs.documents is None:
        assert ours is None
    else:
        assert ours
        assert (ours.valid_from, ours.emails) == (theirs.valid_from, theirs.emails.included)
        assert ours.document_bytes == theirs.documents.included_gb * 10**9
        assert ours.document_measure == theirs.documents.measure


def test_a_year_s_quotas_are_those_of_its_statements(tmp_path: Path) -> None:
    generate(tmp_path / "fleet", 2025)
    agreed = (
        "overrides: [{key: emails.included, value: 7, reason: small}, {key: documents.measure, value: last, reason: r}]"
    )
    acme = tmp_path / "fleet/inventory/instances/acme.yml"
    acme.write_text(acme.read_text().replace("tariff: standard", f"tariff: standard, {agreed}"))
    fleet = load_fleet(tmp_path / "fleet")
    found, _ = fleet_quotas(fleet, date(2025, 12, 31))
    statements = bill(fleet_customers(fleet), fleet.tariffs, year_ledger(fleet, 2025), 2025)
    assert len(statements) > 5
    assert found["acme", "emails_sent"].included == 7
    for statement in statements:
        for line in statement.lines:
            if line.name == "emails":
                quota = found[statement.customer.instance, "emails_sent"]
                assert (quota.included, quota.used) == (line.included, line.quantity)
            if line.name == "documents":
                quota = found[statement.customer.instance, "document_bytes"]
                assert line.included is not None
                assert line.quantity is not None
                assert quota.included == line.included * 10**9
                assert quota.used == int(line.quantity)
