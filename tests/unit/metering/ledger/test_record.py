"""What a person counted enters the ledger as a file like any other."""

from __future__ import annotations

import fcntl
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from metering.ledger.compact import compact
from metering.ledger.record import record
from metering.ledger.store import open_ledger
from provision.errors import ChillError, RequestError
from provision.fleet import Fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, samples_of, write_run

NOW = datetime(2027, 1, 10, 9, 30, 15, 999, tzinfo=UTC)
DAY = date(2026, 12, 31)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_ledger_fleet(tmp_path / "fleet")


def visible(fleet: Fleet) -> list[str]:
    return sorted(path.name for path in fleet.ledger.rglob("*") if path.is_file() and path.name != ".lock")


def test_a_sample_is_written_as_the_format_says(fleet: Fleet) -> None:
    path = record(fleet, "acme", "collabora_users", 12, DAY, 'the "January" list, checked', NOW)
    assert path == fleet.ledger / "2026" / "2026-12-31.manual.20270110T093015Z.samples.csv"
    assert path.read_text() == (
        "day,instance,metric,value,status,source,collected_at,note\n"
        '2026-12-31,acme,collabora_users,12,ok,manual,2027-01-10T09:30:15Z,"the ""January"" list, checked"\n'
    )
    assert visible(fleet) == [path.name]


def test_recorded_again_replaces_also_when_the_clock_stands_or_goes_back(fleet: Fleet) -> None:
    for value, now in ((12, NOW), (11, NOW), (10, NOW.replace(year=2025))):
        # A day that is past for every one of these clocks.
        record(fleet, "acme", "collabora_users", value, date(2024, 12, 31), "", now)
    record(fleet, "acme", "sms_sent", 5, date(2025, 1, 1), "", NOW.replace(year=2025))
    ledger = open_ledger(fleet.ledger)
    assert ledger.problems({"acme"}) == []
    assert [value for *_, value in samples_of(ledger)] == [10, 5]
    assert len({name.split(".")[2] for name in visible(fleet)}) == 4


def test_recorded_again_replaces_what_was_compacted(fleet: Fleet) -> None:
    day = date(2024, 12, 31)
    record(fleet, "acme", "collabora_users", 12, day, "", NOW)
    compact(fleet.ledger, "2024-12", False, lambda line: None)
    assert not list(fleet.ledger.glob("2024/*.csv"))
    record(fleet, "acme", "collabora_users", 11, day, "", NOW.replace(year=2025))
    assert [value for *_, value in samples_of(open_ledger(fleet.ledger))] == [11]


def test_it_adds_to_what_servers_count(fleet: Fleet) -> None:
    write_run(fleet.ledger / "2026", "2026-12-31", "20270101T001500Z", {("acme", "sms_sent"): 5})
    record(fleet, "acme", "sms_sent", 100, DAY, "sent by hand", NOW)
    assert [value for *_, value in samples_of(open_ledger(fleet.ledger))] == [105]


@pytest.mark.parametrize(
    "slug, metric, value, day, note, message",
    [
        ("ghost", "collabora_users", 1, DAY, "", "SLUG: there is no instance 'ghost'"),
        ("acme", "faxes", 1, DAY, "", "METRIC: there is no metric 'faxes'"),
        ("acme", "active_users", 1, DAY, "", "METRIC: active_users"),
        ("acme", "collabora_users", -1, DAY, "", "VALUE: -1"),
        ("acme", "collabora_users", 10**18, DAY, "", "VALUE: 1000"),
        ("acme", "collabora_users", 1, date(2027, 1, 11), "", "--day: 2027-01-11 is in the future"),
        ("acme", "collabora_users", 1, DAY, "two\nlines", "--note"),
    ],
)
def test_a_wrong_request_writes_nothing(
    fleet: Fleet, slug: str, metric: str, value: int, day: date, note: str, message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        record(fleet, slug, metric, value, day, note, NOW)
    assert caught.value.message.startswith(message)
    assert caught.value.hint
    assert visible(fleet) == []


def test_today_is_today_in_the_fleet_s_time_zone(fleet: Fleet) -> None:
    """At 23:30 UTC on New Year's Eve it is the next year in Brussels."""
    now = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert record(fleet, "acme", "collabora_users", 1, date(2027, 1, 1), "", now).parent.name == "2027"


def test_it_waits_for_no_one_who_is_writing(fleet: Fleet) -> None:
    with (fleet.ledger / ".lock").open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ChillError, match="another command is adding samples"):
            record(fleet, "acme", "collabora_users", 1, DAY, "", NOW)
    assert visible(fleet) == []


def test_a_ledger_that_cannot_be_written_is_said(fleet: Fleet) -> None:
    # A file where a directory should be stops root as well.
    (fleet.ledger / "2026").touch()
    with pytest.raises(ChillError, match="cannot be written"):
        record(fleet, "acme", "collabora_users", 1, DAY, "", NOW)
    assert visible(fleet) == ["2026"]
