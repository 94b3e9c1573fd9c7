"""A year as it stood: the same proof from CSV and from Parquet, and an answer without what came later."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from metering.ledger.compact import compact
from metering.ledger.frozen import open_as_of, rows_digests, year_files, year_names
from metering.samples import FileKind
from provision.errors import InvalidFiles
from tests.unit.metering.ledger.ledgers import pseudonym, samples_of, users_of, write_run

AT, LATER = "20260401T001500Z", "20260501T001500Z"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Two days of two months, with people, a failure, and a note that CSV has to quote."""
    directory = tmp_path / "ledger"
    note = {("beta", "sms_sent"): 'no "metering.log", says srv1'}
    for day, people in (("2026-03-31", "abc"), ("2026-02-27", "b")):
        values = {("acme", "active_users"): len(people), ("acme", "sms_sent"): 7, ("beta", "sms_sent"): None}
        write_run(directory / "2026", day, AT, values, {"acme": [pseudonym(person) for person in people]})
        samples = directory / "2026" / f"{day}.srv1.example.net.{AT}.samples.csv"
        quoted = note["beta", "sms_sent"].replace('"', '""')
        samples.write_text(samples.read_text().replace(f"{AT[11:13]}:15:00Z,\n", f'{AT[11:13]}:15:00Z,"{quoted}"\n'))
    return directory


def canonical(paths: Iterable[Path], kind: FileKind) -> tuple[int, str]:
    """The digest of docs/closing.md, worked out with the standard library alone."""
    lines = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            run = path.name.removesuffix(f".{kind}.csv")
            lines += ["\t".join([run, *row]) + "\n" for row in list(csv.reader(stream))[1:]]
    return len(lines), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def test_the_digest_is_that_of_the_rows_whether_they_are_compacted_or_not(ledger: Path) -> None:
    names = year_names(ledger, 2026)
    kinds: tuple[FileKind, ...] = ("samples", "users")
    expected = {
        month: {kind: canonical((ledger / "2026").glob(f"{month}-*.{kind}.csv"), kind) for kind in kinds}
        for month in ("2026-02", "2026-03")
    }
    for _ in range(2):
        found = rows_digests(ledger, 2026, names)
        assert {
            month: {kind: (one.rows, one.sha256) for kind, one in digests.items()} for month, digests in found.items()
        } == expected
        compact(ledger, "2026-12", False, lambda line: None)


def test_what_came_later_changes_neither_digest_nor_answer(ledger: Path) -> None:
    names = year_names(ledger, 2026)
    digests, answers = rows_digests(ledger, 2026, names), answers_as_of(ledger, names)
    values = {("acme", "active_users"): 1, ("acme", "sms_sent"): 99, ("acme", "emails_sent"): 5}
    write_run(ledger / "2026", "2026-03-31", LATER, values, {"acme": [pseudonym("z")]})
    write_run(ledger / "2026", "2026-04-01", LATER, {("acme", "sms_sent"): 3})
    for _ in range(2):
        assert rows_digests(ledger, 2026, names) == digests
        assert answers_as_of(ledger, names) == answers
        assert answers_as_of(ledger, year_names(ledger, 2026)) != answers
        compact(ledger, "2026-12", False, lambda line: None)


def answers_as_of(ledger: Path, names: set[str]) -> tuple[object, object]:
    opened = open_as_of(ledger, 2026, names)
    return samples_of(opened), users_of(opened)


def test_files_are_told_with_their_digests_there_or_compacted(ledger: Path) -> None:
    before = year_files(ledger, 2026)
    assert before.folded == {}
    for name, digest in before.files.items():
        assert digest == hashlib.sha256((ledger / "2026" / name).read_bytes()).hexdigest()
    compact(ledger, "2026-02", False, lambda line: None)
    after = year_files(ledger, 2026)
    assert {*after.files, *after.folded} == set(before.files) == year_names(ledger, 2026)
    assert {name: after.digest(name) for name in after.names} == before.files
    assert all(name.startswith("2026-02-") for name in after.folded)


def test_a_fault_in_the_ledger_is_told_and_nothing_is_computed(ledger: Path) -> None:
    names = year_names(ledger, 2026)
    sample = next((ledger / "2026").glob("2026-03-*.samples.csv"))
    sample.write_text(sample.read_text().replace("acme,sms_sent,", "acme,sms_sent,-"))
    opened = open_as_of(ledger, 2026, names)
    assert sample.name in str(opened.problems()[0])
    with pytest.raises(InvalidFiles):
        _ = opened.samples
