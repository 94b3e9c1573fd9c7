"""What counts, by text cases: tests/cases/ledger/<case>.txt holds the files of a ledger and what becomes of them.

`--- <path>` starts a file, `=== expected` what is said of the whole: its problems, else its samples and users.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from metering.ledger.files import list_files
from metering.ledger.store import Ledger, open_ledger
from tests.unit.metering.ledger.ledgers import SERVER, pseudonym, samples_of, users_of, write_run

CASES = sorted((Path(__file__).parents[3] / "cases/ledger").glob("*.txt"))
KNOWN = ("acme", "beta")


def unpack(text: str, directory: Path) -> str:
    """Write a case's files below `directory`; the expected text."""
    files, expected = text.split("=== expected\n")
    for part in files.split("--- ")[1:]:
        name, content = part.split("\n", 1)
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="")
    return expected


def said(directory: Path) -> str:
    ledger = open_ledger(directory)
    if problems := ledger.problems(KNOWN):
        return "".join(f"{problem.place}: {problem.message}\n" for problem in problems)
    lines = [f"{day} {instance} {metric} {value}\n" for day, instance, metric, value in samples_of(ledger)]
    return "".join(lines + [f"{day} {instance} user {user}\n" for day, instance, user in users_of(ledger)])


def test_there_are_cases() -> None:
    assert len(CASES) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(case: Path, tmp_path: Path) -> None:
    expected = unpack(case.read_text(encoding="utf-8"), tmp_path / "ledger")
    assert said(tmp_path / "ledger") == expected


@pytest.mark.parametrize("made", [True, False], ids=["empty", "absent"])
def test_a_ledger_without_files_has_no_samples_and_no_problems(made: bool, tmp_path: Path) -> None:
    if made:
        (tmp_path / "ledger").mkdir()
    ledger = open_ledger(tmp_path / "ledger")
    assert ledger.problems(KNOWN) == []
    assert samples_of(ledger) == []
    assert users_of(ledger) == []


SAMPLE = f"2026-01-01,acme,sms_sent,5,ok,{SERVER},2026-01-02T00:15:00Z,"


@pytest.mark.parametrize(
    "good, bad",
    [
        ("2026-01-01", "2026-02-30"),
        ("2026-01-01", "20260101"),
        ("acme", ""),
        ("sms_sent", "faxes_sent"),
        (",5,", ",-5,"),
        (",5,", ",5.0,"),
        (",5,", ",5 ,"),
        (",5,", ",1234567890123456789,"),
        (",5,", ",٥,"),
        ("ok", "done"),
        ("5,ok", "5,failed"),
        ("5,ok", ",ok"),
        (SERVER, "srv9"),
        ("2026-01-02T", "2026-13-02T"),
        ("2026-01-02T", "2026-1-2T"),
        ("00:15:00Z", "00:15:00"),
        (SAMPLE, f"{SAMPLE}\n{SAMPLE}"),
        (SAMPLE, f"{SAMPLE},"),
        (SAMPLE, f"{SAMPLE}\n"),
    ],
)
def test_each_fault_of_a_row_is_found_by_itself(good: str, bad: str, tmp_path: Path) -> None:
    samples, _ = write_run(tmp_path / "2026", "2026-01-01", "20260102T001500Z", {("acme", "sms_sent"): 5})
    text = samples.read_text()
    assert open_ledger(tmp_path).problems() == []
    samples.write_text(text.replace(SAMPLE, SAMPLE.replace(good, bad, 1)), encoding="utf-8")
    (problem,) = open_ledger(tmp_path).problems()
    assert re.search(r"2026-01-01\..*\.samples\.csv:[23]$", problem.place)
    assert problem.hint


@pytest.mark.parametrize(
    "users, message",
    [
        (["aa", "bb", "cc"], "active_users of acme is 2, but its users file holds 3"),
        (["aa"], "active_users of acme is 2, but its users file holds 1"),
        (["aa", "aa"], "this user of acme stands on line 2 already"),
        (["aa", "AA"], "user is not a pseudonym"),
    ],
)
def test_users_that_do_not_bear_out_their_count_are_found(users: list[str], message: str, tmp_path: Path) -> None:
    named = [user.rjust(16, "0") for user in users]
    values = {("acme", "active_users"): 2}
    write_run(tmp_path / "2026", "2026-01-01", "20260102T001500Z", values, {"acme": named})
    (problem,) = open_ledger(tmp_path).problems()
    assert message in problem.message


@pytest.mark.parametrize("latest_first", [True, False])
def test_of_two_counts_in_one_file_the_latest_is_that_of_its_users(latest_first: bool, tmp_path: Path) -> None:
    values = {("acme", "active_users"): 2}
    samples, _ = write_run(
        tmp_path / "2026", "2026-01-01", "20260102T001500Z", values, {"acme": [pseudonym("a"), pseudonym("b")]}
    )
    header, latest = samples.read_text().splitlines()
    earlier = latest.replace(",2,ok", ",5,ok").replace("00:15:00Z", "00:14:00Z")
    rows = (latest, earlier) if latest_first else (earlier, latest)
    samples.write_text("\n".join([header, *rows, ""]))
    assert open_ledger(tmp_path).problems() == []
    assert [value for *_, value in samples_of(open_ledger(tmp_path))] == [2]


def test_every_month_is_checked(tmp_path: Path) -> None:
    days = ["2026-01-31", "2026-02-01", "2026-02-28", "2026-07-01", "2026-12-31"]
    for day in days:
        write_run(tmp_path / "2026", day, "20270101T001500Z", {("acme", "active_users"): 1}, {"acme": ["nobody"]})
        write_run(tmp_path / "2026", day, "20270102T001500Z", {("acme", "sms_sent"): -1})
    places = [problem.place.split("/")[-1] for problem in open_ledger(tmp_path).problems()]
    assert sorted(place[:10] for place in places) == sorted(days * 2)
    assert len({place.rsplit(".csv")[0] for place in places}) == 10


def test_only_the_years_asked_for_are_opened(tmp_path: Path) -> None:
    for year in (2025, 2026):
        write_run(tmp_path / str(year), f"{year}-12-31", f"{year + 1}0101T001500Z", {("acme", "sms_sent"): year}, {})
    assert [value for *_, value in samples_of(open_ledger(tmp_path, [2025]))] == [2025]
    assert [value for *_, value in samples_of(open_ledger(tmp_path))] == [2025, 2026]


def test_the_order_of_files_is_irrelevant(tmp_path: Path) -> None:
    for hour, value in ((1, 5), (2, None), (3, 7)):
        people = {"acme": [pseudonym(f"{hour}-{n}") for n in range(value or 0)]}
        at = f"20260102T0{hour}1500Z"
        values = {("acme", "active_users"): value, ("acme", "sms_sent"): hour}
        write_run(tmp_path / "2026", "2026-01-01", at, values, people)
        write_run(tmp_path / "2026", "2026-02-01", at, values, people, "srv2.example.net")
    files, _ = list_files(tmp_path)
    wanted = samples_of(open_ledger(tmp_path)), users_of(open_ledger(tmp_path))
    assert len(wanted[1]) == 14
    for seed in range(4):
        shuffled = random.Random(seed).sample(files, len(files))
        ledger = Ledger(tmp_path, shuffled, [])
        assert (samples_of(ledger), users_of(ledger)) == wanted


def test_sums_over_sources_stay_exact_beyond_64_bits(tmp_path: Path) -> None:
    largest = 10**18 - 1
    for number in range(12):
        write_run(
            tmp_path / "2026",
            "2026-01-01",
            "20260102T001500Z",
            {("acme", "document_bytes"): largest},
            server=f"srv{number}.example.net",
        )
    assert [value for *_, value in samples_of(open_ledger(tmp_path))] == [12 * largest]


def test_a_directory_name_that_looks_like_a_pattern_is_just_a_name(tmp_path: Path) -> None:
    directory = tmp_path / "fleet [1]*" / "led'ger"
    write_run(directory / "2026", "2026-01-01", "20260102T001500Z", {("acme", "sms_sent"): 3}, server=SERVER)
    assert [value for *_, value in samples_of(open_ledger(directory))] == [3]


def test_the_engine_s_files_go_with_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    write_run(tmp_path / "ledger/2026", "2026-01-01", "20260102T001500Z", {("acme", "sms_sent"): 3})
    ledger = open_ledger(tmp_path / "ledger")
    assert len(samples_of(ledger)) == 1
    (private,) = (tmp_path / "tmp").iterdir()
    assert private.stat().st_mode & 0o077 == 0
    del ledger
    assert list((tmp_path / "tmp").iterdir()) == []
