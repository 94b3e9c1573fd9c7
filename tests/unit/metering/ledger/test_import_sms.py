"""A provider's export beside the logs: what is filled in, what is compared, and that nothing of it is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from metering.cli import main
from metering.ledger.import_sms import import_sms
from metering.ledger.provider_csv import Layout
from metering.ledger.record import record
from metering.ledger.store import open_ledger
from provision.fleet import Fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, march, samples_of, write_days

ZONE = ZoneInfo("Europe/Brussels")
NUMBER = "+32499123456"
COMMA = ("--map", "date=Date", "--map", "account=Service", "--account", "sms-1=acme")
WHOLE = ("--instance", "acme", "--map", "date=Date")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_ledger_fleet(tmp_path / "fleet", ("acme", "beta"))


def run(fleet: Fleet, text: str | bytes, *options: str) -> Result:
    path = fleet.directory / "export.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    command = ["import", "sms", str(path), "--fleet", str(fleet.directory), *options]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def export(*rows: str, header: str = "Date,Service,To,Text") -> str:
    return "\n".join((header, *rows)) + "\n"


def messages(*days: tuple[int, int], service: str = "sms-1") -> list[str]:
    """Rows of March 2026: (day, number of messages)."""
    stamps = (f"2026-03-{day:02}T10:{minute:02}:00" for day, number in days for minute in range(number))
    return [f"{stamp},{service},{NUMBER},see you" for stamp in stamps]


def counted(fleet: Fleet) -> dict[str, int]:
    """What the ledger says of acme's SMS, by day."""
    rows = samples_of(open_ledger(fleet.ledger))
    return {day.isoformat(): value for day, slug, metric, value in rows if (slug, metric) == ("acme", "sms_sent")}


def test_days_without_a_log_are_filled_in_and_days_with_one_are_left(fleet: Fleet) -> None:
    write_days(fleet.ledger, march(1, 3), value=2)
    done = run(fleet, export(*messages((1, 2), (2, 5), (3, 2), (5, 1))), *COMMA)
    assert done.exit_code == 0, done.output
    march_days = {"2026-03-01": 2, "2026-03-02": 5, "2026-03-03": 2, "2026-03-04": 0, "2026-03-05": 1}
    assert counted(fleet) == march_days
    again = run(fleet, export(*messages((1, 2), (2, 5), (3, 2), (5, 1))), *COMMA)
    assert (again.exit_code, again.stdout) == (0, "")
    assert counted(fleet) == march_days


def test_days_on_which_both_speak_and_disagree_are_named(fleet: Fleet) -> None:
    write_days(fleet.ledger, march(1, 2, 3), value=2)
    rows = export(*messages((1, 2), (2, 3), (3, 1)))
    done = run(fleet, rows, *COMMA)
    assert done.exit_code == 3
    assert "the two disagree on 2 days:" in done.stderr
    assert "acme 2026-03-02: 2 in the ledger, 3 at the provider" in done.stderr
    assert "acme 2026-03-03: 2 in the ledger, 1 at the provider" in done.stderr
    assert set(counted(fleet).values()) == {2}
    as_json = run(fleet, rows, *COMMA, "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["disagreements"] == [
        {"day": "2026-03-02", "instance": "acme", "provider": 3, "ledger": 2},
        {"day": "2026-03-03", "instance": "acme", "provider": 1, "ledger": 2},
    ]


def test_a_log_that_arrives_after_the_import_is_not_counted_twice(fleet: Fleet) -> None:
    rows = export(*messages((1, 4), (2, 1)))
    assert run(fleet, rows, *COMMA).exit_code == 0
    write_days(fleet.ledger, march(1, 2), value=4)
    done = run(fleet, rows, *COMMA)
    assert (done.exit_code, "acme 2026-03-02: 4 in the ledger, 1 at" in done.stderr) == (3, True)
    assert counted(fleet) == {"2026-03-01": 4, "2026-03-02": 4}
    assert run(fleet, rows, *COMMA).stdout == ""


def test_a_later_export_corrects_an_earlier_one(fleet: Fleet) -> None:
    for number in (4, 6):
        done = run(fleet, export(*messages((1, number))), *COMMA)
        assert done.exit_code == 0, done.output + done.stderr
    assert counted(fleet) == {"2026-03-01": 6}


def test_what_a_person_recorded_is_left_alone(fleet: Fleet) -> None:
    now = datetime(2026, 3, 20, tzinfo=UTC)
    record(fleet, "acme", "sms_sent", 3, march(1)[0], "counted on the bill", now)
    done = run(fleet, export(*messages((1, 5))), *COMMA)
    assert (done.exit_code, counted(fleet)) == (3, {"2026-03-01": 3})


def test_comparing_alone_writes_nothing(fleet: Fleet) -> None:
    done = run(fleet, export(*messages((1, 2))), *COMMA, "--check")
    assert (done.exit_code, counted(fleet)) == (0, {})
    assert "1 to be written" in done.stderr


def test_another_encoding_separator_date_and_zone(fleet: Fleet) -> None:
    text = "Date d’envoi;Destinataire;État;Nombre;Crédits\r\n" + "\r\n".join(
        (
            # Half past eleven at night in London is the next day in Brussels.
            f"01/03/2026 23:30;{NUMBER};envoyé;2;2,5",
            f"02/03/2026 12:00;{NUMBER};envoyé;1;1",
            f"02/03/2026 12:00;{NUMBER};échec;7;0",
            f"02/03/2026 12:05;{NUMBER};livré;1;1",
        )
    )
    mapping = {"date": "Date d’envoi", "status": "État", "count": "Nombre", "credits": "Crédits"}
    options = [part for field, column in mapping.items() for part in ("--map", f"{field}={column}")]
    options += ["--encoding", "cp1252", "--date-format", "%d/%m/%Y %H:%M", "--zone", "Europe/London"]
    done = run(fleet, text.encode("cp1252"), *options, "--sent", "envoyé", "--sent", "livré", "--instance", "acme")
    assert done.exit_code == 0, done.output
    assert counted(fleet) == {"2026-03-02": 4}
    (path,) = fleet.ledger.rglob("*.samples.csv")
    assert "acme,sms_sent,4,ok,manual," in path.read_text()
    assert '"from the provider\'s export, 4.5 credits"' in path.read_text()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_what_the_header_shows(fleet: Fleet, separator: str) -> None:
    text = export(*messages((1, 1))).replace(",", separator)
    assert run(fleet, text, *COMMA).exit_code == 0
    assert counted(fleet) == {"2026-03-01": 1}


def test_dates_without_a_time_stand_for_themselves(fleet: Fleet) -> None:
    options = (*WHOLE, "--zone", "America/New_York", "--map", "count=N")
    assert run(fleet, "Date,N\n2026-03-01,3\n", *options).exit_code == 0
    assert counted(fleet) == {"2026-03-01": 3}


def test_the_period_says_which_days_had_none(fleet: Fleet) -> None:
    days = ("--since", "2026-03-01", "--until", "2026-03-03")
    done = run(fleet, export(*messages((2, 1), (4, 9))), *COMMA, *days)
    assert counted(fleet) == {"2026-03-01": 0, "2026-03-02": 1, "2026-03-03": 0}
    assert "9 messages of today or outside the period left out" in done.stderr


def test_the_day_under_way_is_not_imported(fleet: Fleet) -> None:
    path = fleet.directory / "export.csv"
    path.write_text(export(*messages((1, 1), (2, 2))))
    layout = Layout({"date": "Date"}, zone=ZONE, instance="acme")
    done = import_sms(fleet, path, layout, (None, None), datetime(2026, 3, 2, 12, tzinfo=UTC))
    assert (done.left_out, counted(fleet)) == (2, {"2026-03-01": 1})


@pytest.mark.parametrize(
    "text, options, words",
    [
        (export(f"{NUMBER},sms-1,x,x"), COMMA, "export.csv: line 2, column 'Date': is no date of ISO 8601"),
        (export(f"2026-03-01,{NUMBER},x,x"), COMMA, "line 2, column 'Service': is neither an instance nor an account"),
        (export(f"2026-03-01,sms-1,{NUMBER},x,x"), COMMA, "line 2: has 5 cells, the first line 4"),
        (export(*messages((1, 1)), f'2026-03-01,sms-1,"{NUMBER},x'), COMMA, "is not CSV"),
        (f"{NUMBER},secret\n", COMMA, "line 1: has no column 'Date'"),
        (f"Date,N\n2026-03-01,{NUMBER}\n", (*WHOLE, "--map", "count=N"), "line 2, column 'N': is not a whole number"),
        (export(f"0001-01-01T00:00+14:00,sms-1,{NUMBER},x"), COMMA, "line 2, column 'Date': is no date"),
        (f"Date,C\n2026-03-01,{NUMBER}\n", (*WHOLE, "--map", "credits=C"), "line 2, column 'C': is not a number"),
        (f"Date,C\n2026-03-01,1e{NUMBER[1:]}\n", (*WHOLE, "--map", "credits=C"), "column 'C': is not a number"),
        (export(*messages((1, 1))), (*COMMA, "--since", "2999-01-01"), "no day that is over is left"),
        (f"Date,C\n2026-03-01,x{NUMBER}\n", (*WHOLE, "--map", "credits=C"), "line 2, column 'C': is not a number"),
        (f"Date,To\n2999-01-01,{NUMBER}\n", WHOLE, "has days in the future, 2999-01-01 first"),
        (f"Date,É{NUMBER}\n".encode("cp1252"), WHOLE, "is not utf-8-sig text near byte 5"),
        (export(), (*COMMA, "--instance", "acme"), "whose messages these are must be said once"),
        (export(), WHOLE, "no day that is over is left"),
        (export(), (*WHOLE, "--map", "dates=Date"), "there is no field 'dates'"),
        (export(), (*WHOLE, "--sent", "ok"), "--sent: no column holds the status"),
        (export(), (*WHOLE, "--zone", "Mars/Phobos"), "--zone: is not a time zone"),
        (export(), (*WHOLE, "--encoding", "klingon"), "--encoding: there is no such encoding"),
        (export(), ("--map", "date=Date", "--instance", "ghost"), "--instance: there is no such instance"),
    ],
)
def test_mistakes_are_named_by_line_and_column_and_never_show_a_cell(
    fleet: Fleet, text: str | bytes, options: tuple[str, ...], words: str
) -> None:
    done = run(fleet, text, *options)
    assert done.exit_code == 2
    assert words in done.stderr
    assert NUMBER[1:] not in done.output
    assert list(fleet.ledger.rglob("*.csv")) == []


def test_all_problems_at_once_and_not_ten_thousand_of_them(fleet: Fleet) -> None:
    done = run(fleet, export(*(f"{NUMBER},sms-1,x,x" for _ in range(500))), *COMMA)
    assert done.stderr.count("is no date of ISO 8601") == 20
    assert "and 480 more problems" in done.stderr


def test_of_a_wrong_mapping_only_what_is_wrong_is_told(fleet: Fleet) -> None:
    done = run(fleet, "Date;Service\n2026-03-01;acme\n", "--map", "date=Day", "--map", "account=Service")
    assert "has no column 'Day'" in done.stderr
    assert "'Service'" not in done.stderr


def test_accounts_that_are_numbers_come_from_a_file(fleet: Fleet) -> None:
    accounts = fleet.directory / "accounts"
    accounts.write_text(f"{NUMBER}=acme\n")
    rows = export(*messages((1, 2), service=NUMBER))
    done = run(fleet, rows, "--map", "date=Date", "--map", "account=Service", "--accounts", str(accounts))
    assert (done.exit_code, counted(fleet)) == (0, {"2026-03-01": 2})
    written = b"".join(path.read_bytes() for path in fleet.ledger.rglob("*") if path.is_file())
    assert NUMBER[1:].encode() not in written + done.output.encode()
