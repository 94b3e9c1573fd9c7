"""What is missing: gaps as ranges of days."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.coverage import Coverage, DayRange, coverage
from metering.ledger.digest import read_figures
from metering.ledger.status import expected_days
from tests.unit.metering.ledger.ledgers import march, write_days

MARCH = DayRange(date(2026, 3, 1), date(2026, 3, 31))
YEAR = [f"2026-{month:02d}" for month in range(1, 13)]


def covered(ledger: Path, expected: DayRange | None = MARCH, metric: str = "sms_sent") -> Coverage:
    return coverage(read_figures(ledger, YEAR), {"acme": expected})["acme", metric]


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


def test_a_gap_over_the_end_of_months_is_one(tmp_path: Path) -> None:
    write_days(tmp_path, [date(2026, 1, 30), date(2026, 3, 2)])
    found = covered(tmp_path, DayRange(date(2026, 1, 29), date(2026, 4, 1)))
    assert [str(gap) for gap in found.gaps] == ["2026-01-29", "2026-01-31..2026-03-01", "2026-03-03..2026-04-01"]


def test_nothing_expected_is_nothing_missing(tmp_path: Path) -> None:
    write_days(tmp_path, march(2))
    found = covered(tmp_path, None)
    assert (found.gaps, found.days_expected, found.days_sampled, found.last_day) == ((), 0, 0, date(2026, 3, 2))
    assert not covered(tmp_path, metric="emails_sent").collected
    assert covered(tmp_path, metric="collabora_users").gaps == ()


@given(st.sets(st.integers(-3, 12)), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_gaps_and_samples_make_up_the_expected_days(sampled: set[int], start: int, length: int) -> None:
    # Around the end of one month and the beginning of the next.
    first = date(2026, 3, 27)
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
