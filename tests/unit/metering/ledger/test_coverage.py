"""What is missing: gaps as ranges of days, failures, and what `chill-meter status` makes of them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from metering.ledger.coverage import Coverage, DayRange, coverage
from metering.ledger.status import MetricStatus, expected_days, missing, render, status, to_json
from metering.ledger.store import open_ledger
from metering.samples import METRICS
from provision.errors import InvalidFiles
from provision.fleet import load_fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, write_run

MARCH = DayRange(date(2026, 3, 1), date(2026, 3, 31))


def write_days(
    ledger: Path, days: Iterable[date], value: int | None = 1, metric: str = "sms_sent", hour: int = 0
) -> None:
    for day in days:
        at = (day + timedelta(days=1)).strftime(f"%Y%m%dT{hour:02d}1500Z")
        note = {("acme", metric): "the database did not answer"} if value is None else None
        write_run(ledger / str(day.year), day.isoformat(), at, {("acme", metric): value}, notes=note)


def march(*days: int) -> list[date]:
    return [date(2026, 3, day) for day in days]


def covered(ledger: Path, expected: DayRange | None = MARCH, metric: str = "sms_sent") -> Coverage:
    return coverage(open_ledger(ledger), {"acme": expected})["acme", metric]


def test_gaps_are_ranges_at_the_start_between_and_at_the_end(tmp_path: Path) -> None:
    write_days(tmp_path, march(3, 4, 6, 10, 29, 30))
    found = covered(tmp_path)
    assert [str(gap) for gap in found.gaps] == [
        "2026-03-01..2026-03-02", "2026-03-05", "2026-03-07..2026-03-09", "2026-03-11..2026-03-28", "2026-03-31"
    ]  # fmt: skip
    assert (found.days_sampled, found.days_expected) == (6, 31)
    assert (found.last_day, found.last_value) == (date(2026, 3, 30), 1)


def test_days_outside_the_expected_ones_close_no_gap(tmp_path: Path) -> None:
    write_days(tmp_path, [date(2026, 2, 28), date(2026, 4, 2)], 8)
    found = covered(tmp_path)
    assert (found.gaps, found.days_sampled) == ((MARCH,), 0)
    assert (found.last_day, found.last_value, found.collected) == (date(2026, 4, 2), 8, True)


def test_a_failed_sample_is_a_gap_and_zero_is_none(tmp_path: Path) -> None:
    write_days(tmp_path, march(*range(1, 31)), 0)
    write_days(tmp_path, march(31), None)
    assert [str(gap) for gap in covered(tmp_path).gaps] == ["2026-03-31"]


def test_nothing_expected_is_nothing_missing(tmp_path: Path) -> None:
    write_days(tmp_path, march(2))
    found = covered(tmp_path, None)
    assert (found.gaps, found.days_expected, found.days_sampled, found.last_day) == ((), 0, 0, date(2026, 3, 2))
    assert not covered(tmp_path, metric="emails_sent").collected
    assert covered(tmp_path, metric="collabora_users").gaps == ()


@given(st.sets(st.integers(-3, 12)), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_gaps_and_samples_make_up_the_expected_days(sampled: set[int], start: int, length: int) -> None:
    first = date(2026, 3, 1)
    expected = DayRange(first + timedelta(start), first + timedelta(start + length))
    with tempfile.TemporaryDirectory() as directory:
        write_days(Path(directory), (first + timedelta(offset) for offset in sampled))
        found = covered(Path(directory), expected)
    gaps = [gap.first + timedelta(n) for gap in found.gaps for n in range(len(gap))]
    there = [first + timedelta(offset) for offset in sampled if start <= offset <= start + length]
    assert sorted(gaps + there) == [expected.first + timedelta(n) for n in range(length + 1)]
    assert found.days_sampled == len(there)


@pytest.mark.parametrize(
    "starts, ends, until, days",
    [
        (date(2025, 5, 1), None, date(2026, 3, 2), DayRange(date(2026, 1, 1), date(2026, 3, 2))),
        (date(2026, 2, 9), None, date(2026, 3, 2), DayRange(date(2026, 2, 9), date(2026, 3, 2))),
        (date(2026, 2, 9), date(2026, 2, 20), date(2026, 3, 2), DayRange(date(2026, 2, 9), date(2026, 2, 20))),
        (date(2026, 3, 3), None, date(2026, 3, 2), None),
        (date(2024, 3, 3), date(2025, 12, 31), date(2026, 3, 2), None),
    ],
)
def test_expected_are_the_contract_s_days_of_the_year_so_far(
    starts: date, ends: date | None, until: date, days: DayRange | None
) -> None:
    assert expected_days(starts, ends, until) == days


# --- status: contracts of these fleets start on 1 March ---------------------------------------------------------------


def rows_of(tmp_path: Path, today: date, slugs: Iterable[str] = ("acme",)) -> dict[tuple[str, str], MetricStatus]:
    directory = make_ledger_fleet(tmp_path / "fleet", slugs).directory
    settings = directory / "chill.toml"
    settings.write_text('ledger = "../ledger"\n' + settings.read_text())
    rows = status(load_fleet(directory), today)
    return {(row.coverage.instance, row.coverage.metric): row for row in rows}


def shown(rows: Iterable[MetricStatus]) -> str:
    stream = io.StringIO()
    render(list(rows), Console(file=stream, width=160))
    return stream.getvalue()


def test_all_is_well_when_every_day_until_yesterday_has_a_sample(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1, 2, 3), 1234567)
    rows = rows_of(tmp_path, date(2026, 3, 4))
    assert list(rows) == [("acme", metric) for metric in METRICS]
    assert not missing(list(rows.values()))
    text = shown(rows.values())
    assert "2026-03-03" in text
    assert "1 234 567" in text
    assert "3/3" in text
    # What the server is not configured to collect is said, and is no fault.
    assert text.count("not collected") == 3
    assert text.count("not recorded") == 1


def test_a_gap_is_missing_with_the_last_failure_that_nothing_made_up_for(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(1, 2, 5, 6))
    write_days(ledger, march(3, 4), None)
    write_days(ledger, march(4), 7, hour=9)
    rows = rows_of(tmp_path, date(2026, 3, 7))
    row = rows["acme", "sms_sent"]
    assert row.missing
    assert missing(list(rows.values()))
    assert row.failure
    assert (row.failure.day, row.failure.note) == (date(2026, 3, 3), "the database did not answer")
    assert "2026-03-03 (failed on 2026-03-03: the database did not answer)" in shown(rows.values())


def test_many_gaps_are_shown_compactly(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(2, 4, 6, 9, 11))
    rows = rows_of(tmp_path, date(2026, 3, 12))
    assert "2 days before 2026-03-05, 2026-03-05 2026-03-07..2026-03-08 2026-03-10" in shown(rows.values())


def test_an_instance_of_which_nothing_is_collected_is_missing(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1))
    rows = rows_of(tmp_path, date(2026, 3, 2), ("acme", "beta"))
    assert not any(row.missing for key, row in rows.items() if key[0] == "acme")
    assert rows["beta", "sms_sent"].missing
    assert not rows["beta", "collabora_users"].missing


def test_before_a_contract_starts_nothing_is_missing(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, date(2026, 3, 1))
    assert not missing(list(rows.values()))


def test_on_new_year_s_day_the_year_before_is_shown(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", [date(2026, 12, 31)], 4)
    row = rows_of(tmp_path, date(2027, 1, 1))["acme", "sms_sent"]
    assert (row.coverage.days_sampled, row.coverage.days_expected) == (1, 306)


def test_json_holds_every_figure(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(1))
    write_days(ledger, march(2), None)
    rows = rows_of(tmp_path, date(2026, 3, 3))
    objects = json.loads(to_json(list(rows.values())))
    assert len(objects) == len(METRICS)
    assert objects[1] == {
        "instance": "acme",
        "metric": "sms_sent",
        "unit": "messages",
        "collected": True,
        "last_day": "2026-03-01",
        "last_value": 1,
        "days_sampled": 1,
        "days_expected": 2,
        "gaps": [{"first": "2026-03-02", "last": "2026-03-02"}],
        "failure": {"day": "2026-03-02", "note": "the database did not answer"},
        "missing": True,
    }
    assert objects[2]["last_day"] is None


def test_a_note_from_a_server_cannot_drive_the_terminal(tmp_path: Path) -> None:
    day = "2026-03-01"
    notes = {("acme", "sms_sent"): "[bold]\x1b[31mred"}
    ledger = tmp_path / "ledger"
    write_run(ledger / "2026", day, "20260302T001500Z", {("acme", "sms_sent"): None}, notes=notes)
    text = shown(rows_of(tmp_path, date(2026, 3, 2)).values())
    assert "\x1b" not in text
    assert "[bold] [31mred" in text


def test_a_ledger_that_breaks_the_format_has_no_status(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1), -1)
    with pytest.raises(InvalidFiles):
        rows_of(tmp_path, date(2026, 3, 2))
