"""Months in a few numbers: the same as a plain reading of the files, and never those of other files."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ledger import digesting as module
from metering.ledger.compact import compact
from metering.ledger.digest import DIRECTORY, MonthFigures, read_figures
from metering.samples import METRICS
from provision.errors import InvalidFiles
from tests.unit.metering.ledger import reference
from tests.unit.metering.ledger.ledgers import march, write_days, write_run

LARGEST = 10**18 - 1
MONTHS = ("2026-03", "2026-04")
ROWS = st.tuples(
    st.sampled_from(["2026-03-01", "2026-03-02", "2026-03-31", "2026-04-01", "2026-04-30"]),
    st.sampled_from(["srv1.example.net", "srv2.example.net", "manual"]),
    st.integers(1, 9),
    st.dictionaries(
        st.tuples(st.sampled_from(["acme", "beta"]), st.sampled_from([m for m in METRICS if m != "active_users"])),
        st.none() | st.integers(0, LARGEST // 5),
        min_size=1,
    ),
)


@given(st.lists(ROWS, max_size=8, unique_by=lambda run: run[:3]))
@settings(max_examples=25, deadline=None)
def test_a_digest_says_what_the_files_say(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[str, str, int, dict[tuple[str, str], int | None]]],
) -> None:
    ledger = tmp_path_factory.mktemp("ledger")
    for day, server, hour, values in runs:
        notes = dict.fromkeys(values, f"{server} at {hour}")
        write_run(ledger / "2026", day, f"20260501T0{hour}1500Z", values, server=server, notes=notes)
    known = reference.read(ledger)
    found = read_figures(ledger, MONTHS, MONTHS)
    assert read_figures(ledger, MONTHS, MONTHS) == found
    for (instance, metric), months in found.items():
        for month, figures in months.items():
            series = {
                day: value
                for (day, slug, name), value in sorted(known.values.items())
                if (slug, name, f"{day:%Y-%m}") == (instance, metric, month)
            }
            assert figures.values == list(series.values())
            assert [n for n in range(1, 32) if figures.days >> (n - 1) & 1] == [day.day for day in series]
            assert figures.sampled == len(series)
            assert (figures.total, figures.peak) == (sum(series.values()), max(series.values(), default=0))
            assert figures.last_value == (list(series.values())[-1] if series else 0)
    wanted = {(slug, metric) for _, _, _, values in runs for slug, metric in values}
    assert set(found) == wanted


def test_a_failure_counts_as_long_as_nothing_made_up_for_it(tmp_path: Path) -> None:
    key = ("acme", "sms_sent")
    for day, at, value, note in (
        ("2026-03-01", "20260302T001500Z", None, "first"),
        ("2026-03-02", "20260303T001500Z", None, "second"),
        ("2026-03-02", "20260303T091500Z", None, "third"),
        ("2026-03-03", "20260304T001500Z", None, "mended"),
        ("2026-03-03", "20260304T091500Z", 5, ""),
    ):
        write_run(tmp_path / "2026", day, at, {key: value}, notes={key: note})
    assert read_figures(tmp_path, MONTHS)[key] == {"2026-03": MonthFigures(0b100, 5, 5, 5, 2, "third")}


def test_sums_too_large_for_a_machine_are_the_largest_number_not_a_small_one(tmp_path: Path) -> None:
    write_days(tmp_path, march(*range(1, 32)), LARGEST)
    figures = read_figures(tmp_path, MONTHS)["acme", "sms_sent"]["2026-03"]
    assert (figures.total, figures.peak) == (2**63 - 1, LARGEST)


# --- what is kept -----------------------------------------------------------------------------------------------------


def kept(ledger: Path) -> list[Path]:
    return sorted((ledger / DIRECTORY).glob("*.parquet"))


def total(ledger: Path) -> int:
    return sum(month.total for month in read_figures(ledger, MONTHS)["acme", "sms_sent"].values())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The months whose files were read."""
    found: list[str] = []
    read = module.read_month

    def noting(month: module.MonthFiles) -> object:
        found.append(month.month)
        return read(month)

    monkeypatch.setattr(module, "read_month", noting)
    return found


def test_files_are_read_once_and_again_when_they_change(tmp_path: Path, reads: list[str]) -> None:
    write_days(tmp_path, [*march(1, 2), date(2026, 4, 1)], 5)
    assert (total(tmp_path), total(tmp_path), reads) == (15, 15, ["2026-03", "2026-04"])
    write_days(tmp_path, march(3), 7)
    assert (total(tmp_path), reads[2:]) == (22, ["2026-03"])
    # One file a month is kept, not one for each state.
    assert [path.name[:7] for path in kept(tmp_path)] == ["2026-03", "2026-04"]


def test_a_file_of_the_same_name_and_size_is_another_file(tmp_path: Path, reads: list[str]) -> None:
    write_days(tmp_path, march(1), 5)
    assert total(tmp_path) == 5
    (path,) = (tmp_path / "2026").iterdir()
    beside = path.with_name(".new")
    beside.write_text(path.read_text().replace(",5,ok", ",6,ok"))
    times = path.stat()
    os.utime(beside, ns=(times.st_atime_ns, times.st_mtime_ns))
    beside.rename(path)
    assert total(tmp_path) == 6


def test_a_compacted_month_is_read_once_and_says_the_same(tmp_path: Path, reads: list[str]) -> None:
    write_days(tmp_path, march(*range(1, 32)), 5)
    write_days(tmp_path, march(9), None, hour=9)
    before = read_figures(tmp_path, MONTHS, MONTHS)
    compact(tmp_path, "2026-03", False, lambda line: None)
    assert read_figures(tmp_path, MONTHS, MONTHS) == before
    write_days(tmp_path, march(5), 6, hour=10)
    assert total(tmp_path) == 156


@pytest.mark.parametrize("content", [b"", b"not Parquet", None])
def test_what_is_kept_may_be_damaged_or_deleted(tmp_path: Path, content: bytes | None) -> None:
    write_days(tmp_path, march(1, 2), 5)
    assert total(tmp_path) == 10
    (path,) = kept(tmp_path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert total(tmp_path) == 10
    assert pyarrow.parquet.read_table(path).num_rows == 1


def test_it_is_kept_out_of_the_fleet_s_history(tmp_path: Path) -> None:
    write_days(tmp_path, march(1))
    total(tmp_path)
    assert (tmp_path / DIRECTORY / ".gitignore").read_text().endswith("\n*\n")
    assert [path.name for path in (tmp_path / DIRECTORY).glob(".*")] == [".gitignore"]


def test_a_ledger_that_cannot_be_written_is_told_of_all_the_same(tmp_path: Path) -> None:
    write_days(tmp_path, march(1, 2), 5)
    (tmp_path / DIRECTORY).write_text("in the way")
    assert total(tmp_path) == 10


def test_a_month_that_breaks_the_format_is_never_kept(tmp_path: Path) -> None:
    write_days(tmp_path, march(1), -1)
    for _ in range(2):
        with pytest.raises(InvalidFiles, match="value is '-1'"):
            total(tmp_path)
    assert not (tmp_path / DIRECTORY).exists()
