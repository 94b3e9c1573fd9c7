"""The integrity of a ledger: each thing that may be wrong, found with its file and line, all at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.cli import main
from metering.ledger.check import check
from metering.ledger.compact import compact
from metering.ledger.months import file_digest
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from tests.unit.metering.ledger.ledgers import SERVER, make_ledger_fleet, march, pseudonym, write_days, write_run

NOW = datetime(2026, 5, 10, 6, 0, tzinfo=UTC)
YEAR = "ledger/2026"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_ledger_fleet(tmp_path / "fleet", ("acme", "beta"))


def found(fleet: Fleet, level: str = "") -> list[str]:
    """The findings as `place: message`."""
    wanted = [one.problem for one in check(fleet, NOW) if level in ("", one.level)]
    return [f"{problem.place}: {problem.message}" for problem in wanted]


def write(fleet: Fleet, day: str, at: str, value: int, metric: str = "sms_sent", slug: str = "acme") -> Path:
    return write_run(fleet.ledger / day[:4], day, at, {(slug, metric): value})[0]


def name(day: str, at: str, kind: str = "samples") -> str:
    return f"{YEAR}/{day}.{SERVER}.{at}.{kind}.csv"


def test_a_ledger_in_order_has_no_findings(fleet: Fleet) -> None:
    write_days(fleet.ledger, march(*range(1, 32)), 3)
    people = [pseudonym("a"), pseudonym("b")]
    values = {("beta", "active_users"): 2, ("beta", "document_bytes"): 5}
    write_run(fleet.ledger / "2026", "2026-03-01", "20260302T041500Z", values, {"beta": people})
    write_run(fleet.ledger / "2026", "2026-03-02", "20260510T041500Z", {("beta", "sms_sent"): None}, server="manual")
    assert found(fleet) == []


def test_an_absent_ledger_has_no_findings(fleet: Fleet) -> None:
    fleet.ledger.rmdir()
    assert found(fleet) == []


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "day, at, message",
    [
        ("2026-05-11", "20260510T041500Z", "is of 2026-05-11, a day that has not begun"),
        ("2026-05-09", "20260510T070001Z", "was collected at 2026-05-10T07:00:01Z, which is yet to come"),
        ("2026-05-09", "20260508T205959Z", "was collected at 2026-05-08T20:59:59Z, before its day began"),
    ],
)
def test_what_time_forbids(fleet: Fleet, day: str, at: str, message: str) -> None:
    write(fleet, day, at, 1)
    assert found(fleet) == [f"{name(day, at)}: {message}"]


@pytest.mark.parametrize(
    "day, at",
    [
        # Today as far as it goes, a clock that is a little fast, and midnight in Brussels.
        ("2026-05-10", "20260510T055500Z"),
        ("2026-05-09", "20260510T065500Z"),
        ("2026-05-10", "20260509T220000Z"),
    ],
)
def test_what_time_allows(fleet: Fleet, day: str, at: str) -> None:
    write(fleet, day, at, 1)
    assert found(fleet) == []


def test_instances_that_the_fleet_does_not_have(fleet: Fleet) -> None:
    for day in ("2026-03-01", "2026-03-02"):
        at = f"{day.replace('-', '')}T221500Z"
        values = {(slug, "sms_sent"): 1 for slug in ("acme", "ghost", "beta-test")}
        write_run(fleet.ledger / "2026", day, at, values)
    first = name("2026-03-01", "20260301T221500Z")
    assert found(fleet) == [
        f"{first}:4: 'beta-test' is the test environment of beta: only production is counted (and in 1 more file of "
        "the month)",
        f"{first}:3: 'ghost' is not an instance of this fleet (and in 1 more file of the month)",
    ]


def test_rows_of_another_moment_than_their_file_s(fleet: Fleet) -> None:
    path = write(fleet, "2026-03-01", "20260302T001500Z", 1)
    path.write_text(path.read_text().replace("00:15:00Z", "00:16:00Z"))
    message = "collected_at is 2026-03-02T00:16:00Z, the file's name says 20260302T001500Z"
    assert found(fleet) == [f"{name('2026-03-01', '20260302T001500Z')}:2: {message}"]


def test_everything_wrong_is_told_at_once(fleet: Fleet) -> None:
    write(fleet, "2026-03-01", "20260302T001500Z", -5)
    write(fleet, "2026-04-01", "20260402T001500Z", 1, "faxes_sent")
    write(fleet, "2026-05-11", "20260510T001500Z", 1)
    people = {"acme": [pseudonym("a")]}
    write_run(fleet.ledger / "2026", "2026-03-05", "20260306T001500Z", {("acme", "active_users"): 2}, people)
    write_run(fleet.ledger / "2026", "2026-02-05", "20260206T001500Z", {("acme", "active_users"): 2}, people)
    (fleet.ledger / "2026/notes.txt").touch()
    assert {line.split(": ")[0].removeprefix(f"{YEAR}/")[:10] for line in found(fleet)} == {
        "2026-02-05", "2026-03-01", "2026-04-01", "2026-05-11", "notes.txt"
    }  # fmt: skip
    assert all(one.problem.hint for one in check(fleet, NOW))


# --- compacted months -------------------------------------------------------------------------------------------------


def compacted(fleet: Fleet, keep_csv: bool = False) -> Path:
    write_days(fleet.ledger, march(*range(1, 32)), 3)
    compact(fleet.ledger, "2026-03", keep_csv, lambda line: None)
    (month,) = (path for path in (fleet.ledger / "2026").iterdir() if path.is_dir())
    return month


def test_a_compacted_month_is_in_order_too(fleet: Fleet) -> None:
    compacted(fleet)
    assert found(fleet) == []


@pytest.mark.parametrize("file", ["samples.parquet", "users.parquet", "folded.sha256", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"?", lambda data: data[: len(data) // 2]])
def test_every_byte_of_a_compacted_month_counts(fleet: Fleet, file: str, damage: Callable[[bytes], bytes]) -> None:
    month = compacted(fleet)
    (month / file).write_bytes(damage((month / file).read_bytes()))
    assert any(line.startswith(f"{YEAR}/{month.name}/") for line in found(fleet, "error"))


def test_a_file_that_is_gone_from_a_compacted_month_is_told(fleet: Fleet) -> None:
    month = compacted(fleet)
    (month / "users.parquet").unlink()
    assert [line.split(": ")[0] for line in found(fleet)] == [f"{YEAR}/{month.name}/users.parquet"]


def test_a_file_beside_its_compacted_month_is_what_was_compacted(fleet: Fleet) -> None:
    month = compacted(fleet, keep_csv=True)
    assert found(fleet) == []
    path = fleet.ledger / "2026" / f"2026-03-05.{SERVER}.20260306T001500Z.samples.csv"
    path.write_text(path.read_text().replace(",3,ok", ",4,ok"))
    message = f"differs from what {YEAR}/{month.name} was made of, which is what counts"
    assert found(fleet) == [f"{YEAR}/{path.name}: {message}"]


def test_rows_in_a_compacted_month_are_looked_at(fleet: Fleet) -> None:
    month = compacted(fleet)
    (fleet.inventory / "instances/acme.yml").unlink()
    (line,) = found(load_fleet(fleet.directory))
    assert line.startswith(f"{YEAR}/{month.name}/samples.parquet: 2026-03-01.{SERVER}.")
    assert line.endswith("'acme' is not an instance of this fleet (and in 30 more files of the month)")


# --- closed years -----------------------------------------------------------------------------------------------------


def close(fleet: Fleet) -> list[Path]:
    """A manifest of 2026 as `chill-report close` writes it, as far as the ledger is concerned."""
    files = sorted((fleet.ledger / "2026").iterdir())
    directory = fleet.directory / "closed/2026"
    directory.mkdir(parents=True)
    names = {path.name: file_digest(path) for path in files}
    (directory / "manifest.json").write_text(json.dumps({"year": 2026, "ledger": {"files": names, "rows": {}}}))
    return files


def test_a_closed_year_s_files_are_what_they_were(fleet: Fleet) -> None:
    write_days(fleet.ledger, march(1, 2, 3), 3)
    first, second, _ = close(fleet)
    write_days(fleet.ledger, march(4))
    assert found(fleet) == []
    compact(fleet.ledger, "2026-03", True, lambda line: None)
    assert found(fleet) == []
    compact(fleet.ledger, "2026-03", False, lambda line: None)
    assert found(fleet) == []
    shutil.rmtree(next(path for path in (fleet.ledger / "2026").iterdir() if path.is_dir()))
    assert len(found(fleet)) == 3
    write_days(fleet.ledger, march(1), 4)
    assert found(fleet)[:2] == [
        f"{YEAR}/{first.name}: has other content than when 2026 was closed",
        f"{YEAR}/{second.name}: is gone: it was there when 2026 was closed",
    ]


def test_a_closed_year_that_was_forgotten_misses_nothing(fleet: Fleet) -> None:
    write_days(fleet.ledger, march(1, 2, 3), 3)
    close(fleet)
    shutil.rmtree(fleet.ledger / "2026")
    assert len(found(fleet)) == 3
    (fleet.directory / "forgotten").mkdir()
    (fleet.directory / "forgotten/2026.20260501T000000Z.counts.csv").touch()
    assert found(fleet) == []


@pytest.mark.parametrize("text", ["", "{}", '{"ledger": 3}', '{"ledger": {"files": []}}'])
def test_a_manifest_that_is_none_is_told(fleet: Fleet, text: str) -> None:
    write_days(fleet.ledger, march(1))
    close(fleet)
    (fleet.directory / "closed/2026/manifest.json").write_text(text)
    assert found(fleet) == ["closed/2026/manifest.json: is not the manifest of a closed year"]


# --- suspicions -------------------------------------------------------------------------------------------------------


def days(fleet: Fleet, metric: str, values: Sequence[int], server: str = SERVER) -> None:
    """A value a day from 1 March on."""
    for number, value in enumerate(values):
        day = date(2026, 3, 1) + timedelta(days=number)
        people = {"acme": [f"{n:016x}" for n in range(value)]} if metric == "active_users" else None
        at = f"{day + timedelta(days=1):%Y%m%d}T001500Z"
        write_run(fleet.ledger / "2026", day.isoformat(), at, {("acme", metric): value}, people, server)


@pytest.mark.parametrize(
    "metric, usual, last, suspicious",
    [
        ("document_bytes", 10**9, 10**11 + 1, True),
        ("document_bytes", 10**9, 10**11, False),
        ("document_bytes", 10**6, 10**9, False),
        ("active_users", 10, 101, True),
        ("active_users", 10, 100, False),
        ("active_users", 3, 99, False),
        ("emails_sent", 100, 10_001, True),
        ("sms_sent", 1, 999, False),
        ("sms_sent", 0, 1000, True),
        ("collabora_users", 1, 10**6, False),
    ],
)
def test_a_value_far_above_all_before_is_suspicious(
    fleet: Fleet, metric: str, usual: int, last: int, suspicious: bool
) -> None:
    days(fleet, metric, [usual] * 7 + [last])
    message = f"{metric} of acme is {last} on 2026-03-08, and was never more than {usual} before"
    expected = [f"{name('2026-03-08', '20260309T001500Z')}:2: {message}"]
    assert found(fleet) == (expected if suspicious else [])
    assert found(fleet, "error") == []


def test_a_beginning_is_not_suspicious(fleet: Fleet) -> None:
    days(fleet, "document_bytes", [0] * 6 + [10**12, 10**12])
    assert found(fleet) == []


def test_what_a_person_recorded_is_not_suspicious(fleet: Fleet) -> None:
    days(fleet, "sms_sent", [1] * 7 + [10**6], "manual")
    assert found(fleet) == []


def test_all_months_before_are_remembered(fleet: Fleet) -> None:
    days(fleet, "emails_sent", [500] + [1] * 30 + [40_000])
    assert found(fleet) == []
    write(fleet, "2026-04-02", "20260403T001500Z", 10**7, "emails_sent")
    assert len(found(fleet)) == 1


def test_counts_that_fell_when_collected_again_are_suspicious(fleet: Fleet) -> None:
    for hour, value in ((1, 10), (2, 12), (3, 11), (4, 12)):
        write(fleet, "2026-03-01", f"20260302T0{hour}1500Z", value)
    # A level may fall, and so may what a person corrects.
    write(fleet, "2026-03-01", "20260302T051500Z", 9, "document_bytes")
    write(fleet, "2026-03-01", "20260302T061500Z", 8, "document_bytes")
    for hour, value in ((1, 10), (2, 9)):
        values = {("acme", "emails_sent"): value}
        write_run(fleet.ledger / "2026", "2026-03-01", f"20260302T0{hour}1500Z", values, server="manual")
    message = "sms_sent of acme fell from 12 to 11 when collected again"
    assert found(fleet, "suspicion") == [f"{name('2026-03-01', '20260302T031500Z')}:2: {message}"]
    assert found(fleet, "error") == []


def test_users_whose_samples_never_came_are_suspicious(fleet: Fleet) -> None:
    samples, users = write_run(fleet.ledger / "2026", "2026-03-01", "20260302T001500Z", {}, {"acme": [pseudonym("a")]})
    samples.unlink()
    assert users
    (line,) = found(fleet, "suspicion")
    assert line.startswith(f"{YEAR}/{users.name}: has no samples file beside it")


# --- the command ------------------------------------------------------------------------------------------------------


def run(fleet: Fleet, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["check", "--fleet", str(fleet.directory), *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_exit_status_tells_order_errors_and_suspicions(fleet: Fleet) -> None:
    assert run(fleet) == (0, "", "the ledger is in order\n")
    days(fleet, "emails_sent", [1] * 7 + [10**6])
    status, output, message = run(fleet)
    assert (status, output.count("suspicion: ")) == (3, 1)
    assert "0 errors and 1 suspicion in " in message
    write(fleet, "2026-03-20", "20260321T001500Z", -5)
    status, output, message = run(fleet)
    assert (status, output.count("error: "), output.count("suspicion: ")) == (2, 1, 1)
    assert "1 error and 1 suspicion in " in message
    status, output, _ = run(fleet, "--json")
    objects = json.loads(output)
    assert (status, sorted(one["level"] for one in objects)) == (2, ["error", "suspicion"])
    assert set(objects[0]) == {"level", "place", "message", "hint"}
