"""A year's usage: exact figures, gaps that are not zero, and equality with a plain reading of the same files."""

from __future__ import annotations

import random
import tempfile
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger.store import open_ledger
from metering.ledger.usage import Window, YearUsage, year_usage
from metering.samples import METRICS
from provision.errors import InvalidFiles
from tests.unit.metering.ledger import reference
from tests.unit.metering.ledger.ledgers import line_by_line, pseudonym, samples_of, users_of, write_run

WHOLE = Window(date(2026, 1, 1), date(2026, 12, 31), 1, 12)
FROM_MARCH = Window(date(2026, 3, 16), date(2026, 12, 31), 3, 12)


def write_day(directory: Path, day: str, values: dict[str, int | None], people: str = "") -> None:
    """One day of acme: each letter of `people` is a person who was active."""
    after = (date.fromisoformat(day) + timedelta(days=1)).strftime("%Y%m%dT001500Z")
    named = {("acme", metric): value for metric, value in values.items()}
    if people:
        named["acme", "active_users"] = len(people)
    write_run(directory / day[:4], day, after, named, {"acme": [pseudonym(person) for person in people]})


def usage_of(directory: Path, window: Window = WHOLE) -> YearUsage:
    return year_usage(open_ledger(directory), 2026, {"acme": window})["acme"]


def test_a_user_counts_once_a_month_and_once_a_year(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-03-30", {}, "ab")
    write_day(tmp_path, "2026-03-31", {}, "bcd")
    write_day(tmp_path, "2026-04-01", {}, "a")
    write_day(tmp_path, "2026-05-01", {"sms_sent": 1})
    found = usage_of(tmp_path)
    march, april, may = found.months[2:5]
    assert (march.active_users, april.active_users, may.active_users) == (4, 1, None)
    assert (march.mean_daily_active, march.peak_daily_active, march.days_sampled) == (Fraction(5, 2), 3, 2)
    assert found.distinct_users == 4


def test_figures_are_over_billed_months_and_days_over_the_contract(tmp_path: Path) -> None:
    """The first month counts from its first day, although the contract starts in its middle; earlier months do not."""
    write_day(tmp_path, "2026-02-28", {"sms_sent": 1000, "document_bytes": 9000}, "z")
    write_day(tmp_path, "2026-03-15", {"sms_sent": 10, "document_bytes": 30}, "a")
    write_day(tmp_path, "2026-03-16", {"sms_sent": 1, "emails_sent": 5, "document_bytes": 10}, "b")
    write_day(tmp_path, "2026-12-31", {"document_bytes": 20})
    found = usage_of(tmp_path, FROM_MARCH)
    assert (found.sms, found.emails, found.distinct_users) == (11, 5, 2)
    assert (found.document_bytes_total, found.document_days) == (60, 3)
    assert (found.document_bytes_peak, found.document_bytes_last) == (30, 20)
    assert found.days_sampled == {
        "active_users": 1, "sms_sent": 1, "emails_sent": 1, "document_bytes": 2, "collabora_users": 0
    }  # fmt: skip
    # What was measured before the contract is still shown.
    assert found.months[1].sms == 1000


def test_a_gap_is_none_and_a_zero_is_zero(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-05-01", {"sms_sent": 0, "emails_sent": None, "active_users": 0})
    found = usage_of(tmp_path)
    may = found.months[4]
    assert (may.sms, may.emails, may.mean_document_bytes) == (0, None, None)
    assert (may.active_users, may.peak_daily_active, may.mean_daily_active) == (0, 0, Fraction(0))
    assert may.days_sampled == 1
    assert (found.sms, found.emails, found.distinct_users, found.document_bytes_last) == (0, None, 0, None)


def test_an_instance_without_samples_has_gaps_only(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-05-01", {"sms_sent": 3}, "ab")
    found = year_usage(open_ledger(tmp_path), 2026, {"beta": WHOLE, "acme": WHOLE})
    assert list(found) == ["beta", "acme"]
    beta = found["beta"]
    assert [month.month for month in beta.months] == list(range(1, 13))
    assert all(month.active_users is None and month.days_sampled == 0 for month in beta.months)
    assert (beta.distinct_users, beta.sms, beta.emails, beta.document_bytes_total) == (None,) * 4
    assert (beta.document_days, beta.collabora_users) == (0, None)
    assert beta.days_sampled == dict.fromkeys(METRICS, 0)
    assert found["acme"].sms == 3


def test_collabora_is_the_last_value_of_the_calendar_year(tmp_path: Path) -> None:
    """The last by day, not by when it was recorded, and also outside the billed months."""
    for day, at, value in (
        ("2026-12-31", "20270105T100000Z", 7),
        ("2026-12-30", "20270106T100000Z", 9),
        ("2027-01-10", "20270110T100000Z", 11),
    ):
        write_run(tmp_path / day[:4], day, at, {("acme", "collabora_users"): value}, server="manual")
    ended = Window(date(2026, 1, 1), date(2026, 5, 2), 1, 5)
    assert usage_of(tmp_path, ended).collabora_users == 7


def test_sums_of_the_largest_values_are_exact(tmp_path: Path) -> None:
    largest = 10**18 - 1
    for day in range(1, 29):
        write_day(tmp_path, f"2026-02-{day:02d}", {"document_bytes": largest - day % 2})
    found = usage_of(tmp_path)
    assert found.document_bytes_total == 28 * largest - 14
    assert found.months[1].mean_document_bytes == Fraction(28 * largest - 14, 28)


def test_no_number_comes_from_a_ledger_that_breaks_the_format(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-05-01", {"sms_sent": 3})
    write_day(tmp_path, "2026-05-02", {"sms_sent": -3})
    with pytest.raises(InvalidFiles, match=r"05-02\.srv1.*:2: value is '-3'") as caught:
        usage_of(tmp_path)
    assert caught.value.status == 2


def test_no_window_needs_no_ledger(tmp_path: Path) -> None:
    assert year_usage(open_ledger(tmp_path), 2026, {}) == {}


# --- equality with the plain reading ---------------------------------------------------------------------------------

DAYS = st.sampled_from([date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1), date(2026, 7, 9), date(2026, 12, 31)])
CELLS = st.fixed_dictionaries(
    {},
    optional={
        (instance, metric): st.none() | st.integers(0, 10**18 - 1)
        for instance in ("acme", "beta")
        for metric in METRICS
        if metric != "active_users"
    },
)
PEOPLE = st.dictionaries(st.sampled_from(["acme", "beta"]), st.none() | st.sets(st.sampled_from("abcdefgh")))
RUNS = st.lists(
    st.tuples(DAYS, st.sampled_from(["srv1", "srv2", "manual"]), st.integers(0, 86399), CELLS, PEOPLE),
    max_size=14,
    unique_by=lambda run: run[:3],
)
MONTHS = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted)


def write_runs(
    directory: Path, runs: list[tuple[date, str, int, dict[tuple[str, str], int | None], dict[str, set[str] | None]]]
) -> None:
    for day, server, second, cells, people in runs:
        at = f"20270101T{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}Z"
        values = dict(cells)
        for instance, users in people.items():
            values[instance, "active_users"] = None if users is None else len(users)
        listed = {instance: sorted(map(pseudonym, users)) for instance, users in people.items() if users}
        write_run(directory / "2026", day.isoformat(), at, values, listed, server)


def random_runs(number: int) -> list[Any]:
    """So many runs of a year, as RUNS has a few: the same at every call."""
    drawn = random.Random(number)
    found: dict[tuple[date, str, int], Any] = {}
    while len(found) < number:
        day = date(2026, drawn.randint(1, 12), drawn.randint(1, 28))
        key = (day, drawn.choice(["srv1", "srv2", "manual"]), drawn.randrange(86400))
        cells = {
            (instance, metric): None if drawn.random() < 0.2 else drawn.randrange(10**18)
            for instance in ("acme", "beta")
            for metric in METRICS
            if metric != "active_users" and drawn.random() < 0.7
        }
        people = {
            instance: None if drawn.random() < 0.2 else set(drawn.sample("abcdefgh", drawn.randrange(8)))
            for instance in ("acme", "beta")
            if drawn.random() < 0.8
        }
        found[key] = (*key, cells, people)
    return list(found.values())


@given(RUNS, MONTHS)
@settings(max_examples=20, deadline=None)
def test_the_engine_says_what_a_plain_reading_says(runs, months) -> None:  # type: ignore[no-untyped-def]
    window = Window(
        date(2026, months[0], 9),
        date(2026, months[1], 20) if months[0] < months[1] else date(2026, months[1], 28),
        *months,
    )
    with tempfile.TemporaryDirectory() as directory:
        write_runs(Path(directory), runs)
        ledger = open_ledger(Path(directory))
        assert ledger.problems({"acme", "beta"}) == []
        plain = reference.read(Path(directory))
        assert {row[:3]: row[3] for row in samples_of(ledger)} == plain.values
        assert set(users_of(ledger)) == {(*key, user) for key, users in plain.users.items() for user in users}
        windows = {"acme": window, "beta": WHOLE}
        assert year_usage(ledger, 2026, windows) == reference.usage(plain, 2026, windows)


@given(
    st.sampled_from(["samples", "users"]),
    st.integers(0, 7),
    st.text(st.sampled_from('0123456789abcf-.:TZ ,"\n\r\x00é\u0663'), max_size=20)
    | st.sampled_from(["ok", "failed", "sms_sent", "0", "acme"]),
)
@settings(max_examples=50, deadline=None)
def test_a_year_at_once_and_a_file_line_by_line_find_the_same_files_at_fault(kind, column, cell) -> None:  # type: ignore[no-untyped-def]
    """The quick check of whole years never lets pass what the slow one, used for each new file, would refuse."""
    with tempfile.TemporaryDirectory() as directory:
        paths = write_run(
            Path(directory) / "2026",
            "2026-01-01",
            "20260102T001500Z",
            {("acme", "active_users"): 2, ("acme", "sms_sent"): None},
            {"acme": [pseudonym("a"), pseudonym("b")]},
        )
        path = paths[0] if kind == "samples" else paths[1]
        assert path is not None
        lines = path.read_text().split("\n")
        cells = lines[2].split(",")
        cells[column % len(cells)] = cell
        lines[2] = ",".join(cells)
        path.write_text("\n".join(lines), newline="", encoding="utf-8")
        ledger = open_ledger(Path(directory))
        assert bool(ledger.problems()) == bool(line_by_line(Path(directory)))
