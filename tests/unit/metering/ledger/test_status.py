"""What `chill-meter status` shows: a table, JSON, Prometheus' text. Contracts here start on 1 March 2026."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from metering.ledger.prometheus import metrics_text, write_metrics
from metering.ledger.status import FleetStatus, MetricStatus, status, to_plain
from metering.ledger.status_table import render, sparkline
from metering.samples import METRICS
from provision.errors import ChillError, InvalidFiles
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, march, write_days, write_run

TARIFF = """\
[[version]]
valid_from = 2026-01-01
  [version.emails]
  included = 12000
  [version.documents]
  measure = "last"
  included_gb = 20
"""


def fleet_of(tmp_path: Path, slugs: Iterable[str] = ("acme",)) -> Fleet:
    directory = make_ledger_fleet(tmp_path / "fleet", slugs).directory
    settings = directory / "chill.toml"
    settings.write_text('ledger = "../ledger"\n' + settings.read_text())
    (directory / "tariffs/standard.toml").write_text(TARIFF)
    return load_fleet(directory)


def status_of(tmp_path: Path, today: date, slugs: Iterable[str] = ("acme",)) -> FleetStatus:
    return status(fleet_of(tmp_path, slugs), today)


def by_key(found: FleetStatus) -> dict[tuple[str, str], MetricStatus]:
    return {(row.coverage.instance, row.coverage.metric): row for row in found.rows}


def shown(found: FleetStatus, width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    render(found, Console(file=stream, width=width))
    stream.seek(0)
    return stream.read()


def test_all_is_well_when_every_day_until_yesterday_has_a_sample(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1, 2, 3), 1234567)
    found = status_of(tmp_path, date(2026, 3, 4))
    assert list(by_key(found)) == [("acme", metric) for metric in METRICS]
    assert not found.missing
    text = shown(found, 120)
    assert re.search(r"sms_sent +2026-03-03 +1 234 567 +███ +3/3", text)
    # What the server is not configured to collect is said, and is no fault.
    assert text.count("not collected") == 3


def test_a_gap_is_missing_with_the_last_failure_that_nothing_made_up_for(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(1, 2, 5, 6))
    write_days(ledger, march(3, 4), None)
    write_days(ledger, march(4), 7, hour=9)
    found = status_of(tmp_path, date(2026, 3, 7))
    row = by_key(found)["acme", "sms_sent"]
    assert row.missing
    assert found.missing
    assert row.failure
    assert (row.failure.day, row.failure.note) == (date(2026, 3, 3), "the database did not answer")
    assert "missing 1 of 6 days: 2026-03-03; failed on 2026-03-03: the database did not answer" in shown(found)


def test_a_failure_stays_told_in_later_months(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1), None)
    write_days(tmp_path / "ledger", [date(2026, 4, 1)])
    row = by_key(status_of(tmp_path, date(2026, 4, 2)))["acme", "sms_sent"]
    assert row.failure
    assert row.failure.day == date(2026, 3, 1)


def test_many_gaps_are_shown_compactly(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(2, 4, 6, 9, 11))
    text = shown(status_of(tmp_path, date(2026, 3, 12)))
    assert "missing 6 of 11 days: 2 before 2026-03-05, 2026-03-05, 2026-03-07..2026-03-08, 2026-03-10" in text


def test_an_instance_of_which_nothing_is_collected_is_missing(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1))
    found = status_of(tmp_path, date(2026, 3, 2), ("acme", "beta"))
    rows = by_key(found)
    assert not any(row.missing for key, row in rows.items() if key[0] == "acme")
    assert rows["beta", "sms_sent"].missing
    assert not rows["beta", "collabora_users"].missing
    assert "nothing is collected" in shown(found)


def test_before_a_contract_starts_nothing_is_missing(tmp_path: Path) -> None:
    assert not status_of(tmp_path, date(2026, 3, 1)).missing


def test_on_new_year_s_day_the_year_before_is_shown(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", [date(2026, 12, 31)], 4)
    row = by_key(status_of(tmp_path, date(2027, 1, 1)))["acme", "sms_sent"]
    assert (row.coverage.days_sampled, row.coverage.days_expected) == (1, 306)


# --- the last days ----------------------------------------------------------------------------------------------------


def test_zero_is_a_bar_and_a_gap_is_none(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    for number, value in ((1, 0), (2, 70), (4, 1), (5, 35)):
        write_days(ledger, march(number), value)
    found = status_of(tmp_path, date(2026, 3, 7))
    row = by_key(found)["acme", "sms_sent"]
    # The days before the contract are blank; the last day of the thirty is yesterday.
    assert sparkline(row) == " " * 24 + "▁█·▂▅·"
    assert "▁█·▂▅·" in shown(found)


def test_where_bars_cannot_be_shown_there_are_digits(tmp_path: Path) -> None:
    for number, value in ((1, 0), (2, 70), (4, 1)):
        write_days(tmp_path / "ledger", march(number), value)
    assert "07?1" in shown(status_of(tmp_path, date(2026, 3, 5)), encoding="ascii")


def test_a_metric_that_is_not_collected_by_choice_has_no_gaps(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1))
    assert sparkline(by_key(status_of(tmp_path, date(2026, 3, 2)))["acme", "emails_sent"]).strip() == ""


def test_the_last_days_go_back_into_the_year_before(tmp_path: Path) -> None:
    days = [date(2026, 12, 7) + timedelta(days=n) for n in range(30)]
    for number, day in enumerate(days):
        write_days(tmp_path / "ledger", [day], number)
    found = status_of(tmp_path, date(2027, 1, 6))
    assert list(by_key(found)["acme", "sms_sent"].recent) == list(range(30))
    assert by_key(found)["acme", "sms_sent"].coverage.days_sampled == 5


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_a_terminal(tmp_path: Path, width: int) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(*range(1, 32)), 123_456_789)
    write_days(ledger, march(*range(1, 31)), 46_972_121_428, "document_bytes", hour=1)
    write_days(ledger, march(*range(1, 32)), 987, "emails_sent", hour=2)
    found = status_of(tmp_path, date(2026, 4, 1))
    stream = io.StringIO()
    render(found, Console(file=stream, width=width, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("█" in line for line in lines) == 3
    assert any("46.97 GB" in line and line.rstrip().endswith("234%!!") for line in lines)


# --- quotas (test_quota.py has their rules) ---------------------------------------------------------------------------


def test_what_is_used_of_a_quota_is_shown_with_its_marks(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    # Ten of twelve months are billed: 10 000 e-mails are included.
    write_days(ledger, march(1), 7_999, "emails_sent")
    write_days(ledger, march(1), 16 * 10**9, "document_bytes", hour=1)
    found = status_of(tmp_path, date(2026, 3, 2))
    assert re.search(r"emails_sent .*  79%$", shown(found), re.MULTILINE)
    assert re.search(r"document_bytes .*  80%!$", shown(found), re.MULTILINE)
    write_days(ledger, march(2), 2_001, "emails_sent")
    assert re.search(r"emails_sent .* 100%!!$", shown(status(load_fleet(tmp_path / "fleet"), date(2026, 3, 3))), re.M)


def test_a_tariff_that_cannot_be_read_hides_no_sample(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1))
    fleet = fleet_of(tmp_path)
    (fleet.tariffs / "standard.toml").write_text("version = [")
    found = status(fleet, date(2026, 3, 2))
    assert by_key(found)["acme", "sms_sent"].coverage.last_value == 1
    assert [problem.place for problem in found.problems] == ["tariffs/standard.toml"]


# --- for programs -----------------------------------------------------------------------------------------------------


def test_json_holds_every_figure(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(1), 6000, "emails_sent")
    write_days(ledger, march(2), None, "emails_sent")
    objects = json.loads(json.dumps(to_plain(status_of(tmp_path, date(2026, 3, 3)))))
    assert len(objects) == len(METRICS)
    assert objects[2] == {
        "instance": "acme",
        "metric": "emails_sent",
        "unit": "recipients",
        "collected": True,
        "last_day": "2026-03-01",
        "last_value": 6000,
        "days_sampled": 1,
        "days_expected": 2,
        "gaps": [{"first": "2026-03-02", "last": "2026-03-02"}],
        "failure": {"day": "2026-03-02", "note": "the database did not answer"},
        "missing": True,
        "recent": {"until": "2026-03-02", "values": [None] * 28 + [6000, None]},
        "quota": {"year": 2026, "included": 10000, "used": 6000, "percent": 60, "marks": []},
    }
    assert objects[1]["last_day"] is None


NOW = datetime(2026, 3, 3, 5, 0, tzinfo=UTC)


def test_prometheus_gets_a_line_for_each_thing_that_is_known(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    write_days(ledger, march(1), 6000, "emails_sent")
    write_days(ledger, march(2), None, "emails_sent")
    text = metrics_text(status_of(tmp_path, date(2026, 3, 3)), NOW)
    emails = sorted(line for line in text.splitlines() if 'metric="emails_sent"' in line)
    labels = '{slug="acme",metric="emails_sent"}'
    assert emails == [
        f"chill_meter_last_failure_timestamp_seconds{labels} 1772409600",
        f"chill_meter_last_sample_timestamp_seconds{labels} 1772323200",
        f"chill_meter_last_sample_value{labels} 6000",
        f"chill_meter_quota_included{labels} 10000",
        f"chill_meter_quota_used_ratio{labels} 0.6",
        f"chill_meter_samples_expected{labels} 2",
        f"chill_meter_samples_missing{labels} 1",
    ]
    # A metric that is not collected by choice misses nothing, and has no value: not even 0.
    sms = [line for line in text.splitlines() if 'metric="sms_sent"' in line]
    assert [line.split("{")[0] for line in sms] == ["chill_meter_samples_expected", "chill_meter_samples_missing"]
    assert sms[1].endswith(" 0")
    assert "chill_meter_status_timestamp_seconds 1772514000\n" in text


def test_the_metrics_file_is_replaced_whole(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1))
    found = status_of(tmp_path, date(2026, 3, 2))
    target = tmp_path / "prom/chill.prom"
    target.parent.mkdir()
    target.write_text("the one before")
    before = target.open()
    write_metrics(target, found, NOW)
    # Whoever had opened the old file reads it to its end.
    assert before.read() == "the one before"
    assert target.read_text() == metrics_text(found, NOW)
    assert [path.name for path in target.parent.iterdir()] == ["chill.prom"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_metrics_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    found = status_of(tmp_path, date(2026, 3, 2))
    with pytest.raises(ChillError, match=r"--prometheus: .* cannot be written: No such file or directory"):
        write_metrics(tmp_path / "nowhere/chill.prom", found, NOW)


def test_a_note_from_a_server_cannot_drive_the_terminal(tmp_path: Path) -> None:
    day = "2026-03-01"
    notes = {("acme", "sms_sent"): "[bold]\x1b[31mred"}
    ledger = tmp_path / "ledger"
    write_run(ledger / "2026", day, "20260302T001500Z", {("acme", "sms_sent"): None}, notes=notes)
    text = shown(status_of(tmp_path, date(2026, 3, 2)))
    assert "\x1b" not in text
    assert "[bold] [31mred" in text


def test_a_ledger_that_breaks_the_format_has_no_status(tmp_path: Path) -> None:
    write_days(tmp_path / "ledger", march(1), -1)
    with pytest.raises(InvalidFiles):
        status_of(tmp_path, date(2026, 3, 2))
