"""One collection after the other: which days, which rows, what is remembered, what is never written."""

from __future__ import annotations

import csv
import json
import os
import stat
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from metering.samples import FileName
from metering.server.collectors import COLLECTORS
from metering.server.errors import MeterError
from metering.server.plan import Known, plan
from metering.server.state import State
from tests.unit.metering.server_side import NOON, TODAY, YESTERDAY, Server, sms_lines

DAY_BEFORE = YESTERDAY - timedelta(days=1)
BOTH = '[instances.acme]\nlogs = ["app/metering.log*"]\ndocuments = ["docs"]\n'


def test_a_pair_of_files_as_in_the_contract(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(3))
    outcome = server.collect()
    names = sorted(path.name for path in server.spool.iterdir())
    assert names == [
        "2026-11-22.srv1.20261123T110000Z.samples.csv",
        "2026-11-22.srv1.20261123T110000Z.users.csv",
    ]
    assert sorted(str(path) for path in outcome.files) == [str(server.spool / name) for name in names]
    samples, users = ((server.spool / name).read_bytes().decode() for name in names)
    assert samples == (
        "day,instance,metric,value,status,source,collected_at,note\n"
        "2026-11-22,acme,sms_sent,3,ok,srv1,2026-11-23T11:00:00Z,\n"
    )
    assert users == "day,instance,user\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in server.spool.iterdir()} == {0o640}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_first_run_begins_with_the_oldest_line(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2, "2026-11-19") + sms_lines(1, "2026-11-21") + sms_lines(5, TODAY))
    server.collect()
    assert server.values("sms_sent") == {"2026-11-19": 2, "2026-11-20": 0, "2026-11-21": 1, "2026-11-22": 0}


def test_a_file_has_its_name_only_when_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(3))
    named_while_written: list[str] = []
    sync = os.fsync

    def look(descriptor: int) -> None:
        written = Path(f"/proc/self/fd/{descriptor}").readlink()
        if written.suffix == ".csv" and not written.name.startswith("."):
            named_while_written.append(written.name)
        sync(descriptor)

    monkeypatch.setattr("metering.server.spool.os.fsync", look)
    assert len(server.collect().files) == 2
    assert named_while_written == []


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2))
    server.collect()
    before = sorted(server.spool.iterdir())
    assert server.collect(now=NOON + timedelta(hours=1)).files == []
    assert sorted(server.spool.iterdir()) == before


def test_silence_is_caught_up(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2))
    server.collect()
    with server.log.open("a") as log:
        log.write(sms_lines(4, "2026-12-01"))
    server.collect(now=NOON + timedelta(days=21))
    values = server.values("sms_sent")
    assert len(values) == 22
    assert values["2026-12-01"] == 4
    assert sum(values.values()) == 6


def test_lines_that_arrive_late_raise_the_days_they_belong_to(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2, DAY_BEFORE) + sms_lines(2))
    server.collect()
    with server.log.open("a") as log:
        log.write(sms_lines(1, DAY_BEFORE, first=100))
    server.collect(now=NOON + timedelta(hours=1))
    assert server.values("sms_sent") == {DAY_BEFORE.isoformat(): 3, YESTERDAY.isoformat(): 2}
    assert len(server.rows()) == 3


def test_the_day_under_way_is_written_on_demand_and_again_when_it_is_over(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2, TODAY))
    server.collect(until=TODAY)
    assert server.values("sms_sent")[TODAY.isoformat()] == 2
    with server.log.open("a") as log:
        log.write(sms_lines(3, TODAY, first=40_000))
    server.collect(now=NOON + timedelta(days=1))
    assert server.values("sms_sent")[TODAY.isoformat()] == 5


def test_days_asked_for_are_written_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(2, DAY_BEFORE))
    server.collect()
    server.collect(since=DAY_BEFORE, until=DAY_BEFORE)
    assert [row["day"] for row in server.rows()].count(DAY_BEFORE.isoformat()) == 2


@pytest.mark.parametrize(
    "since,until,words",
    [
        (YESTERDAY, DAY_BEFORE, "after the last day"),
        (TODAY, None, "after the last day"),
        (None, TODAY + timedelta(days=1), "is in the future"),
    ],
)
def test_impossible_days_are_refused(tmp_path: Path, since: date | None, until: date | None, words: str) -> None:
    server = Server(tmp_path)
    with pytest.raises(MeterError, match=words) as caught:
        server.collect(since, until)
    assert caught.value.status == 2
    assert not (tmp_path / "state").exists()


def test_collected_at_only_ever_rises(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.touch()
    for now in (NOON, NOON, NOON - timedelta(hours=5), NOON + timedelta(seconds=2)):
        server.collect(since=YESTERDAY, until=YESTERDAY, now=now)
    names = [FileName.parse(path.name) for path in server.spool.glob("*.samples.csv")]
    moments = [name.collected_at for name in names if name]
    assert len(set(moments)) == 4
    rows = sorted(row["collected_at"] for row in server.rows())
    assert rows == [
        "2026-11-23T11:00:00Z",
        "2026-11-23T11:00:01Z",
        "2026-11-23T11:00:02Z",
        "2026-11-23T11:00:03Z",
    ]


@pytest.mark.parametrize(
    "day,minutes",
    [("2026-03-29", 23 * 60), ("2026-10-25", 25 * 60), ("2026-12-31", 24 * 60), ("2028-02-29", 24 * 60)],
)
def test_days_are_local_days_however_long(tmp_path: Path, day: str, minutes: int) -> None:
    """One SMS a minute, logged in UTC: a day of summer time's beginning has 23 hours, one of its end 25."""
    server = Server(tmp_path)
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=6)
    stamps = ((start + timedelta(minutes=n)).isoformat() for n in range(40 * 60))
    line = r" messenger.INFO: Symfony\Component\Notifier\Message\SmsMessage was handled successfully" + (
        " (acknowledging to transport). [] []\n"
    )
    server.log.write_text("".join(f"[{stamp}]{line}" for stamp in stamps))
    server.collect(now=start + timedelta(days=3))
    assert server.values("sms_sent")[day] == minutes


def test_a_past_volume_fails_for_good_and_takes_nothing_back(tmp_path: Path) -> None:
    server = Server(tmp_path, BOTH)
    server.log.write_text(sms_lines(1, DAY_BEFORE))
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a").write_bytes(b"x" * 1000)
    outcome = server.collect()
    assert [(key.day, key.metric) for key, _ in outcome.failures] == [(DAY_BEFORE, "document_bytes")]
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 1000}
    # What cannot be had is not tried every night.
    assert not server.collect().failures
    # The volume of a day that was measured in its night stays what it was.
    (docs / "a").write_bytes(b"x" * 5000)
    assert not server.collect(since=YESTERDAY, until=YESTERDAY, now=NOON + timedelta(days=3)).failures
    assert server.values("document_bytes")[YESTERDAY.isoformat()] == 1000


def test_a_source_that_failed_is_tried_again(tmp_path: Path) -> None:
    server = Server(tmp_path, BOTH)
    server.log.write_text(sms_lines(1))
    assert [key.metric for key, _ in server.collect().failures] == ["document_bytes"]
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 1}
    (tmp_path / "docs").mkdir()
    assert not server.collect(now=NOON + timedelta(hours=1)).failures
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 0}
    assert not server.collect(now=NOON + timedelta(hours=2)).files


def test_a_source_that_fails_again_is_told_and_not_written_again(tmp_path: Path) -> None:
    server = Server(tmp_path, BOTH)
    server.log.touch()
    server.collect()
    outcome = server.collect(now=NOON + timedelta(hours=1))
    assert ([key.metric for key, _ in outcome.failures], outcome.files) == (["document_bytes"], [])


def test_a_good_value_stays_good_when_a_later_collection_fails(tmp_path: Path) -> None:
    server = Server(tmp_path, BOTH)
    server.log.touch()
    (tmp_path / "docs").mkdir()
    server.collect()
    (tmp_path / "docs").rmdir()
    assert server.collect(since=YESTERDAY).failures
    (tmp_path / "docs").mkdir()
    outcome = server.collect(now=NOON + timedelta(hours=1))
    assert (outcome.failures, outcome.files) == ([], [])


def test_a_silent_log_is_zero_as_long_as_it_was_never_rotated(tmp_path: Path) -> None:
    server = Server(tmp_path, '[instances.acme]\nlogs = ["acme.log*"]\n[instances.beta]\nlogs = ["beta.log*"]\n')
    (tmp_path / "acme.log").write_text(sms_lines(1, DAY_BEFORE))
    (tmp_path / "beta.log").write_text(sms_lines(1, YESTERDAY))
    assert not server.collect().failures
    assert server.values("sms_sent", "beta") == {DAY_BEFORE.isoformat(): 0, YESTERDAY.isoformat(): 1}
    # Rotated, its older lines may have been thrown away: it vouches for nothing before its oldest line.
    (tmp_path / "beta.log").rename(tmp_path / "beta.log.1")
    (tmp_path / "beta.log").write_text(sms_lines(1, YESTERDAY, first=100))
    outcome = server.collect(since=DAY_BEFORE)
    assert [(key.instance, key.day) for key, _ in outcome.failures] == [("beta", DAY_BEFORE)]


def test_rotated_logs_do_not_vouch_for_the_days_before_them(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1))
    server.log.with_name("metering.log.1").write_text(sms_lines(2, DAY_BEFORE))
    outcome = server.collect(since=DAY_BEFORE - timedelta(days=1))
    assert [(key.day, reason) for key, reason in outcome.failures] == [
        (DAY_BEFORE - timedelta(days=1), "the logs of this day are gone: they go back to 2026-11-21")
    ]
    assert server.values("sms_sent") == {DAY_BEFORE.isoformat(): 2, YESTERDAY.isoformat(): 1}


def test_two_collections_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.touch()
    with (
        State(tmp_path / "state"),
        pytest.raises(MeterError, match=f"another collection is running .process {os.getpid()}") as caught,
    ):
        server.collect()
    assert caught.value.status == 1
    assert not server.collect().failures


def test_a_spool_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(3))
    server.spool.write_text("not a directory")
    with pytest.raises(MeterError) as caught:
        server.collect()
    assert caught.value.status == 1
    server.spool.unlink()
    server.collect()
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 3}


def test_a_line_from_before_the_clock_was_set_does_not_write_decades() -> None:
    known = Known(date(1970, 1, 1), ())
    plans = plan([("acme", "sms_sent")], known, TODAY, None, None)
    assert [plans[0].day, plans[-1].day, len(plans)] == [TODAY - timedelta(days=400), YESTERDAY, 400]


def test_an_instance_that_is_added_later_begins_with_the_next_day(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1, "2026-11-18"))
    server.collect()
    (tmp_path / "beta.log").touch()
    Server(tmp_path, server.text + '[instances.beta]\nlogs = ["beta.log"]\n')
    assert not server.collect(now=NOON + timedelta(days=1)).failures
    assert server.values("sms_sent", "beta") == {TODAY.isoformat(): 0}


def test_documents_are_measured_as_they_are(tmp_path: Path) -> None:
    server = Server(tmp_path, '[instances.acme]\ndocuments = ["docs", "docs/inside", "more"]\n')
    inside = tmp_path / "docs" / "inside"
    inside.mkdir(parents=True)
    (inside / "a").write_bytes(b"x" * 100)
    os.link(inside / "a", tmp_path / "docs" / "hard link")
    (tmp_path / "big").write_bytes(b"x" * 9999)
    (inside / "symbolic link").symlink_to(tmp_path / "big")
    (inside / "loop").symlink_to(tmp_path / "docs")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b").write_bytes(b"x" * 20)
    (tmp_path / "more").symlink_to(tmp_path / "elsewhere")
    server.collect()
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 120}


def test_names_and_numbers_of_people_are_never_written(tmp_path: Path) -> None:
    """Marked names, addresses, telephone numbers and tokens in everything that is read; then every byte is
    searched.
    """
    marks = ("Zebulon", "zebulon@marked.example", "+32499123456", "203.0.113.99", "eyJhbGciOiJIUzI1NiJ9")
    text = '[postfix]\nlogs = ["mail.log"]\ninternal_relays = ["127.0.0.1:10024"]\n[instances.acme]\n'
    text += 'dsn = "postgresql:///nowhere?host=/nowhere"\nlogs = ["app/metering.log*"]\ndocuments = ["docs"]\n'
    server = Server(tmp_path, text + 'mail = {uids = [998], senders = ["@acme.chill.pro"]}\n')
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "Zebulon +32499123456.odt").write_bytes(b"eyJhbGciOiJIUzI1NiJ9")
    (tmp_path / "docs" / "Zebulon").mkdir()
    token = '{"token":{"X":"PostAuthenticationToken(user=\\"Zebulon\\", roles=\\"ROLE_USER\\")"}}'
    records = [
        f"[{YESTERDAY}T08:00:00+01:00] security.INFO: Authenticator successful! {token} []",
        sms_lines(1).replace('{"class"', '{"message":"Zebulon +32499123456","class"').strip(),
        json.dumps({"message": "x was handled successfully", "level_name": "INFO", "x": "Zebulon"}),
        "[Zebulon +32499123456 was handled successfully",
    ]
    server.log.write_text("\n".join(records) + "\n")
    stamp = f"{YESTERDAY}T09:00:00+01:00 srv1 postfix"
    server.root.joinpath("mail.log").write_text(
        f"{stamp}/smtpd[1]: AAAAA1: client=zebulon[203.0.113.99]\n"
        f"{stamp}/qmgr[1]: AAAAA1: from=<zebulon@marked.example>, size=1, nrcpt=1 (queue active)\n"
        f"{stamp}/smtp[1]: AAAAA1: to=<zebulon@marked.example>, relay=x[203.0.113.99]:25, status=sent (ok)\n"
    )
    outcome = server.collect()
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 1}
    assert [key.metric for key, _ in outcome.failures] == ["active_users"]
    told = repr((outcome.failures, outcome.notices)).encode()
    with State(tmp_path / "state") as state:
        assert len(state.logins(YESTERDAY, "acme")) == 1
    everything = (server.everything_written() + told).lower()
    for mark in marks:
        assert mark.lower().encode() not in everything


def test_a_mistake_in_one_collector_takes_no_other_down_and_quotes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mistaken:
        def measure(self, day: date) -> None:
            int("zebulon@marked.example")

        def close(self) -> None:
            pass

    monkeypatch.setitem(COLLECTORS, "document_bytes", lambda run, instance: Mistaken())
    server = Server(tmp_path, BOTH)
    server.log.write_text(sms_lines(3))
    ((key, reason),) = server.collect().failures
    assert (key.metric, reason.partition(" in ")[0]) == ("document_bytes", "a mistake of chill-meter: ValueError")
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 3}
    assert b"zebulon" not in server.everything_written()


def test_a_mistake_in_reading_a_log_fails_that_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path, BOTH)
    (tmp_path / "docs").mkdir()
    server.log.write_text(sms_lines(3))

    def mistaken(*arguments: object) -> None:
        raise ValueError("zebulon@marked.example")

    with monkeypatch.context() as patched:
        patched.setattr("metering.server.application_log.ApplicationLog.feed", mistaken)
        ((key, reason),) = server.collect().failures
    assert (key.metric, reason.partition(" in ")[0]) == ("sms_sent", "a mistake of chill-meter: ValueError")
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 0}
    assert not server.collect(now=NOON + timedelta(hours=1)).failures
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 3}
    assert b"zebulon" not in server.everything_written()


def test_notes_are_valid_csv(tmp_path: Path) -> None:
    server = Server(tmp_path, '[instances.acme]\ndocuments = ["no, such \\"place\\""]\n')
    server.collect()
    path = next(server.spool.glob("*.samples.csv"))
    with path.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["status"], row["value"]) == ("failed", "")
    assert 'no, such "place" is not there' in row["note"]
