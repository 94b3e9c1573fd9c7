"""Compaction changes no answer: Parquet in place of CSV, late files beside it, and what was wrong stays wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.cli import main
from metering.cli.compaction import last_month
from metering.ledger import store
from metering.ledger.compact import compact
from metering.ledger.files import list_files
from metering.ledger.month_files import by_month
from metering.ledger.monthly import KINDS, read_month
from metering.ledger.months import SUMS, known_names, list_months
from metering.ledger.record import record
from metering.ledger.store import open_ledger
from metering.ledger.usage import Window, year_usage
from metering.samples import SAMPLES_HEADER, USERS_HEADER, FileKind
from provision.errors import InvalidFiles, PartlyDone, RequestError
from tests.unit.metering.ledger import reference
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, pseudonym, samples_of, users_of, write_run
from tests.unit.metering.ledger.test_usage import RUNS, WHOLE, random_runs, write_runs

FROM_FEBRUARY = Window(date(2026, 2, 3), date(2026, 11, 30), 2, 11)


def told(lines: Sequence[str]) -> None:
    """What compaction reports is of no interest here."""


def write_day(ledger: Path, day: str, people: str, *, at: str = "20270101T001500Z", sms: int | None = 1) -> None:
    values = {("acme", "active_users"): len(people), ("acme", "sms_sent"): sms}
    write_run(ledger / day[:4], day, at, values, {"acme": [pseudonym(person) for person in people]})


def csv_names(ledger: Path) -> set[str]:
    return {path.name for path in ledger.rglob("*.csv")}


def parquet_months(ledger: Path) -> list[str]:
    return sorted(path.parent.name for path in ledger.rglob("samples.parquet"))


def rows_of(ledger: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every settled row of samples and of users."""
    found: dict[FileKind, list[dict[str, Any]]] = {"samples": [], "users": []}
    for month in by_month(list_files(ledger)[0], list_months(ledger)[0]):
        settled = read_month(month)
        assert not settled.problems
        for kind in KINDS:
            path = month.compacted.parquet(kind) if month.compacted and not month.files else None
            found[kind] += (pyarrow.parquet.read_table(path) if path else settled.tables[kind]).to_pylist()
    return found["samples"], found["users"]


def assert_rows_count_as_in_the_csv_files(ledger: Path, plain: Path) -> None:
    """What counts in the ledger is what a plain reading of the CSV files in `plain` says, and no row is lost."""
    samples, users = rows_of(ledger)
    expected = reference.read(plain)
    values: dict[tuple[date, str, str], list[int]] = {}
    for row in samples:
        if row["addends"]:
            values.setdefault((row["day"], row["instance"], row["metric"]), []).append(row["value"])
            addends = row["addends"], len([r for r in samples if r["addends"] and same_cell(r, row)])
            assert addends[0] == addends[1]
    people = {(row["day"], row["instance"], row["user"]) for row in users if row["counts"]}
    assert {cell: sum(added) for cell, added in values.items()} == expected.values
    assert people == {(*key, user) for key, named in expected.users.items() for user in named}
    assert {without(row, "addends") for row in samples} == {without(row, "addends") for row in rows_of(plain)[0]}
    assert {without(row, "counts") for row in users} == {without(row, "counts") for row in rows_of(plain)[1]}


def same_cell(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("day", "instance", "metric"))


def without(row: dict[str, Any], key: str) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in row.items() if name != key))


@given(RUNS, st.integers(0, 14), st.sampled_from(["2026-01", "2026-07", "2026-12"]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_answer_changes_whatever_is_compacted_when(runs, early, until, keep_csv) -> None:  # type: ignore[no-untyped-def]
    """Corrections, failures, several sources and records by hand; some files arrive after their month was compacted."""
    with tempfile.TemporaryDirectory() as directory:
        plain, ledger = Path(directory) / "plain", Path(directory) / "ledger"
        write_runs(plain, runs)
        write_runs(ledger, runs[:early])
        compact(ledger, until, keep_csv, told)
        write_runs(ledger, runs[early:])
        assert_rows_count_as_in_the_csv_files(ledger, plain)
        compact(ledger, "2026-12", False, told)
        assert_rows_count_as_in_the_csv_files(ledger, plain)
        assert not csv_names(ledger)
        assert {str(name) for name in known_names(ledger)} == csv_names(plain)


def test_the_usage_of_a_year_is_that_of_the_csv_files(tmp_path: Path) -> None:
    """Half of the files before a compaction, a quarter late, a quarter in an open month."""
    plain, ledger = tmp_path / "plain", tmp_path / "ledger"
    runs = random_runs(120)
    write_runs(plain, runs)
    write_runs(ledger, [run for run in runs[:60] if run[0].month < 12])
    compact(ledger, "2026-11", False, told)
    write_runs(ledger, [*runs[60:], *(run for run in runs[:60] if run[0].month == 12)])
    opened, csv_only = open_ledger(ledger), open_ledger(plain)
    assert opened.problems({"acme", "beta"}) == []
    assert parquet_months(ledger)
    assert csv_names(ledger)
    windows = {"acme": WHOLE, "beta": FROM_FEBRUARY}
    assert year_usage(opened, 2026, windows) == reference.usage(reference.read(plain), 2026, windows)
    for of in (lambda ledger: ledger.samples, lambda ledger: ledger.users, lambda ledger: ledger.failures):
        found, expected = (one.fetch(of(one).order_by(of(one).columns)) for one in (opened, csv_only))
        assert found == expected


def test_the_rows_stay_as_they_were_with_the_columns_they_had(tmp_path: Path) -> None:
    notes = {("acme", "sms_sent"): '"gone, ""twice"""'}
    values = {("acme", "active_users"): 1, ("acme", "sms_sent"): None, ("acme", "emails_sent"): 7}
    write_run(tmp_path / "2026", "2026-03-01", "20260302T001500Z", values, {"acme": [pseudonym("a")]}, notes=notes)
    compact(tmp_path, "2026-03", False, told)
    (month,) = list_months(tmp_path)[0]
    samples, users = (pyarrow.parquet.read_table(month.parquet(kind)) for kind in ("samples", "users"))
    assert tuple(name for name in samples.column_names if name not in ("addends", "run")) == SAMPLES_HEADER
    assert tuple(name for name in users.column_names if name not in ("counts", "run")) == USERS_HEADER
    failed = samples.filter(pyarrow.compute.equal(samples["status"], "failed")).to_pylist()
    assert failed == [
        {
            "addends": 0,
            "run": "2026-03-01.srv1.example.net.20260302T001500Z",
            "day": date(2026, 3, 1),
            "instance": "acme",
            "metric": "sms_sent",
            "value": None,
            "status": "failed",
            "source": "srv1.example.net",
            "collected_at": "2026-03-02T00:15:00Z",
            "note": 'gone, "twice"',
        }
    ]


def test_only_months_up_to_the_one_asked_for_are_compacted(tmp_path: Path) -> None:
    for day in ("2025-12-31", "2026-01-31", "2026-02-01"):
        write_day(tmp_path, day, "a")
    lines: list[str] = []
    compact(tmp_path, "2026-01", False, lines.append)
    assert parquet_months(tmp_path) == ["2025-12.1", "2026-01.1"]
    assert {name[:7] for name in csv_names(tmp_path)} == {"2026-02"}
    assert [line.split(":")[0] for line in lines] == ["2025-12", "2026-01"]
    assert compact(tmp_path, "2026-01", False, lines.append) == []


def test_a_run_that_has_not_arrived_whole_waits_outside(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    samples, users = write_run(
        tmp_path / "2026", "2026-01-30", "20270101T001500Z", {("acme", "active_users"): 1}, {"acme": [pseudonym("c")]}
    )
    assert users is not None
    aside = shutil.move(samples, tmp_path / ".aside")
    compact(tmp_path, "2026-01", False, told)
    assert csv_names(tmp_path) == {users.name}
    shutil.move(aside, samples)
    assert len(users_of(open_ledger(tmp_path))) == 3
    compact(tmp_path, "2026-01", False, told)
    assert len(users_of(open_ledger(tmp_path))) == 3
    assert parquet_months(tmp_path) == ["2026-01.2"]


def test_a_month_with_a_fault_stays_and_is_told_the_others_are_compacted(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "a")
    write_day(tmp_path, "2026-02-01", "a", sms=-1)
    with pytest.raises(PartlyDone, match=r"2026-02-01.*:3: value is '-1'"):
        compact(tmp_path, "2026-02", False, told)
    assert parquet_months(tmp_path) == ["2026-01.1"]
    with pytest.raises(InvalidFiles, match="value is '-1'"):
        compact(tmp_path, "2026-02", False, told)
    assert {name[:10] for name in csv_names(tmp_path)} == {"2026-02-01"}


def test_nothing_is_compacted_beside_a_file_that_does_not_belong_there(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "a")
    (tmp_path / "2026/notes.txt").touch()
    with pytest.raises(InvalidFiles, match=r"notes\.txt"):
        compact(tmp_path, "2026-01", False, told)
    assert parquet_months(tmp_path) == []


def test_csv_files_that_are_kept_no_longer_count_and_can_be_removed_later(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    before = csv_names(tmp_path)
    compact(tmp_path, "2026-01", True, told)
    assert csv_names(tmp_path) == before
    for path in tmp_path.rglob("*.csv"):
        path.write_text("day,instance\n")
    assert len(users_of(open_ledger(tmp_path))) == 2
    with pytest.raises(InvalidFiles, match=r"samples\.csv: differs from the one whose rows are in .*/2026/2026-01\.1"):
        compact(tmp_path, "2026-01", False, told)
    assert csv_names(tmp_path) == before


def test_kept_csv_files_are_removed_by_a_compaction_that_does_not_keep_them(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    compact(tmp_path, "2026-01", True, told)
    compact(tmp_path, "2026-01", False, told)
    assert csv_names(tmp_path) == set()
    assert len(users_of(open_ledger(tmp_path))) == 2


@pytest.mark.parametrize("damage", ["samples.parquet", "users.parquet", "folded.sha256", SUMS])
@pytest.mark.parametrize("how", ["cut", "gone", "changed"])
def test_nothing_is_computed_from_a_compacted_month_that_is_damaged(damage: str, how: str, tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    compact(tmp_path, "2026-01", False, told)
    path = tmp_path / "2026/2026-01.1" / damage
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-9] + b"x" + data[-8:])
    ledger = open_ledger(tmp_path)
    problems = ledger.problems()
    assert problems
    assert all(f"{tmp_path.name}/2026/2026-01.1/" in problem.place and problem.hint for problem in problems)
    with pytest.raises(InvalidFiles):
        samples_of(ledger)
    with pytest.raises(InvalidFiles):
        compact(tmp_path, "2026-01", False, told)


def test_a_late_file_may_not_leave_open_which_sample_counts(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    compact(tmp_path, "2026-01", False, told)
    late, _ = write_run(tmp_path / "2026", "2026-01-31", "20270101T001501Z", {("acme", "sms_sent"): 4})
    late.write_text(late.read_text().replace("00:15:01Z", "00:15:00Z"))
    (problem,) = open_ledger(tmp_path).problems()
    assert problem.place.endswith(late.name)
    assert "acme sms_sent was collected at 2027-01-01T00:15:00Z, as in" in problem.message


def test_unknown_instances_of_compacted_months_are_named(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    compact(tmp_path, "2026-01", False, told)
    (problem,) = open_ledger(tmp_path).problems({"beta"})
    assert "2026-01-31.srv1.example.net.20270101T001500Z" in problem.place
    assert "'acme' is not an instance of this fleet" in problem.message


def test_a_ledger_that_is_being_read_is_not_taken_away(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    compact(tmp_path, "2026-01", False, told)
    reading = open_ledger(tmp_path)
    write_day(tmp_path, "2026-01-30", "abc")
    compact(tmp_path, "2026-01", False, told)
    assert len(users_of(reading)) == 2
    assert parquet_months(tmp_path) == ["2026-01.1", "2026-01.2"]
    assert len(users_of(open_ledger(tmp_path))) == 5
    del reading
    compact(tmp_path, "2026-01", False, told)
    assert parquet_months(tmp_path) == ["2026-01.2"]


@pytest.mark.parametrize("before", [0, 1])
def test_a_ledger_that_is_compacted_while_it_is_listed_is_listed_again(
    before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed is gone when it is to be read: CSV files, or a generation that was displaced."""
    write_day(tmp_path, "2026-01-31", "ab")
    if before:
        compact(tmp_path, "2026-01", False, told)
        write_day(tmp_path, "2026-01-30", "abc")
    listed = list_files(tmp_path), list_months(tmp_path)
    stale = [True]

    def list_months_late(ledger: Path, years: object) -> object:
        if stale:
            stale.clear()
            compact(tmp_path, "2026-01", False, told)
            return listed[1]
        return list_months(ledger)

    monkeypatch.setattr(store, "list_months", list_months_late)
    assert len(users_of(open_ledger(tmp_path))) == 2 + 3 * before
    assert not stale


def test_a_record_by_hand_is_newer_than_one_that_was_compacted(tmp_path: Path) -> None:
    fleet = make_ledger_fleet(tmp_path)
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    record(fleet, "acme", "collabora_users", 3, date(2026, 1, 31), "", now)
    compact(fleet.ledger, "2026-05", False, told)
    path = record(fleet, "acme", "collabora_users", 4, date(2026, 1, 31), "", now)
    assert path.name == "2026-01-31.manual.20260601T120001Z.samples.csv"
    assert [value for *_, value in samples_of(open_ledger(fleet.ledger))] == [4]


def test_known_names_are_the_checksums_of_what_was_taken_in(tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-31", "ab")
    digests = {file.name: sha256(file.path.read_bytes()).hexdigest() for file in list_files(tmp_path)[0]}
    compact(tmp_path, "2026-01", False, told)
    assert known_names(tmp_path) == digests
    assert known_names(tmp_path, [2025]) == {}


@pytest.mark.parametrize(
    "until, today, expected",
    [
        (None, date(2026, 11, 25), "2026-09"),
        (None, date(2026, 1, 1), "2025-11"),
        (None, date(2026, 2, 28), "2025-12"),
        ("2026-10", date(2026, 11, 1), "2026-10"),
    ],
)
def test_the_month_before_the_last_closed_one_is_the_last_to_compact(
    until: str | None, today: date, expected: str
) -> None:
    assert last_month(until, today) == expected


@pytest.mark.parametrize("until", ["2026-11", "2027-01", "2026-13", "2026-1", "october", "2026-10-01"])
def test_a_month_that_is_not_over_or_none_is_refused(until: str) -> None:
    with pytest.raises(RequestError, match="--until: ") as caught:
        last_month(until, date(2026, 11, 25))
    assert caught.value.hint


def test_the_command_compacts_and_says_so(tmp_path: Path) -> None:
    fleet = make_ledger_fleet(tmp_path)
    write_day(fleet.ledger, "2026-03-31", "ab")
    arguments = ["compact", "--fleet", str(tmp_path), "--until", "2026-03"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2026-03: 2 files of" in result.stderr
    again = CliRunner().invoke(main, [*arguments, "--json"])
    assert (again.exit_code, again.stdout) == (0, "[]\n")
