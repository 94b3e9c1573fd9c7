"""People who open documents with Collabora: which lines count, what a day's value is, and what is kept."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from metering.server.wopi import WopiParser
from tests.unit.metering.json_web_tokens import SECRET, hs_token, part
from tests.unit.metering.server_side import NOON, TODAY, YESTERDAY, Server

ZONE = ZoneInfo("Europe/Brussels")
DAY_BEFORE = YESTERDAY - timedelta(days=1)


def token(user: str, secret: bytes = SECRET, lasts: int = 10**10) -> str:
    return hs_token({"username": user, "exp": lasts}, secret)


def line(user: str, day: date = YESTERDAY, time: str = "10:00:00 +0100", **changes: str) -> str:
    """A line of nginx' combined log."""
    parts = {"method": "GET", "path": "/wopi/files/7b2c", "status": "200", "token": token(user), **changes}
    request = f"{parts['method']} {parts['path']}?access_token={parts['token']}&access_token_ttl=0 HTTP/1.1"
    stamp = day.strftime("%d/%b/%Y") + f":{time}"
    return f'192.0.2.7 - - [{stamp}] "{request}" {parts["status"]} 612 "-" "COOLWSD HTTP Agent 23.05"\n'


def openings(*lines: str) -> list[tuple[str, str]]:
    """Day and token of what is found."""
    found = WopiParser(ZONE).openings("".join(lines).encode())
    return [(one.moment.day, one.token) for one in found]


@pytest.mark.parametrize(
    "changes,counts",
    [
        ({}, True),
        ({"path": "/fr/wopi/files/7b2c"}, True),
        ({"path": "/wopi/files/7b2c/"}, True),
        ({"status": "206"}, True),
        ({"path": "/wopi/files/7b2c/contents"}, False),
        ({"path": "/wopi/files/"}, False),
        ({"path": "/other/wopi/filesystem/x"}, False),
        ({"method": "POST"}, False),
        ({"method": "HEAD"}, False),
        ({"status": "401"}, False),
        ({"status": "304"}, False),
        ({"status": "500"}, False),
        ({"token": ""}, False),
    ],
)
def test_an_opening_is_a_get_of_a_file_that_was_answered(changes: dict[str, str], counts: bool) -> None:
    assert bool(openings(line("anna", **changes))) is counts


WHEN = datetime(2026, 11, 21, 23, 30)  # noqa: DTZ001 (in UTC; the day after in Brussels)
TARGET = f"/wopi/files/1?access_token={token('anna')}"


@pytest.mark.parametrize(
    "record",
    [
        {"time_iso8601": "2026-11-22T00:30:00+01:00", "request": f"GET {TARGET} HTTP/2.0", "status": 200},
        {"time": "2026-11-21T23:30:00Z", "request_method": "GET", "request_uri": TARGET, "status": "200"},
        {
            "@timestamp": "2026-11-21T23:30:00.123Z",
            "method": "GET",
            "uri": "/wopi/files/1",
            "args": TARGET.partition("?")[2],
            "status": 200,
        },
        {"time_local": "22/Nov/2026:00:30:00 +0100", "request": f"GET {TARGET} HTTP/1.1", "status": "200"},
        {"msec": "1795303800.123", "request": f"GET {TARGET} HTTP/1.1", "status": "200"},
        {"ts": 1795303800.123, "request": {"method": "GET", "uri": TARGET}, "status": 200},
    ],
)
def test_json_of_several_forms(record: dict[str, object]) -> None:
    assert openings(json.dumps(record) + "\n") == [("2026-11-22", token("anna"))]


def test_lines_of_combined_in_several_forms() -> None:
    assert openings(line("anna", DAY_BEFORE, "23:30:00 +0000")) == [("2026-11-22", token("anna"))]
    assert openings("acme.chill.pro:443 " + line("anna")) == [("2026-11-22", token("anna"))]
    quoted = token("anna").replace(".", "%2E")
    assert openings(line("anna", token=quoted)) == [("2026-11-22", token("anna"))]


@pytest.mark.parametrize(
    "text",
    [
        "/wopi/files/\n",
        '[22/Xyz/2026:10:00:00 +0100] "GET /wopi/files/1?access_token=a HTTP/1.1" 200\n',
        '[99/Nov/2026:10:00:00 +0100] "GET /wopi/files/1?access_token=a HTTP/1.1" 200\n',
        '[22/Nov/2026:10:00:00 +0100] "GET http://[/wopi/files/1?access_token=a HTTP/1.1" 200\n',
        '{"request": "GET /wopi/files/1?access_token=a", "status": 200\n',
        '{"request": "GET /wopi/files/1?access_token=a", "status": 200}\n',
        '{"request": "nonsense /wopi/files/1", "status": 200, "time": "2026-11-22T00:30:00Z"}\n',
        '{"request": "GET /wopi/files/1?access_token=a", "status": "²", "time": "2026-11-22T00:30:00Z"}\n',
        '{"request": "GET /wopi/files/1?access_token=a", "status": 200, "ts": 1e300}\n',
        '{"request": {"method": 1, "uri": "/wopi/files/1"}, "status": 200, "ts": 1795303800}\n',
        "\x00/wopi/files/\x00\n",
    ],
)
def test_damaged_lines_are_passed_over(text: str) -> None:
    good = line("anna")
    assert openings(text, good) == [("2026-11-22", token("anna"))]


def machine(tmp_path: Path, text: str = "") -> Server:
    return Server(tmp_path, f'[instances.acme]\nwopi_logs = ["wopi.log*"]\n{text}')


def test_the_value_of_a_day_is_the_people_of_the_year_so_far(tmp_path: Path) -> None:
    server = machine(tmp_path, 'service_accounts = ["Support"]\n')
    days = [YESTERDAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    users = (("anna", "bilal"), ("ANNA", "chloé"), (), ("chloé", "Support", "dora"))
    log = tmp_path / "wopi.log"
    log.write_text("".join(line(user, day) for day, names in zip(days, users, strict=True) for user in names))
    assert not server.collect().failures
    expected = {day.isoformat(): number for day, number in zip(days, (2, 3, 3, 4), strict=True)}
    assert server.values("collabora_users") == expected


def test_a_year_begins_with_nobody(tmp_path: Path) -> None:
    server = machine(tmp_path)
    new_year = date(2027, 1, 1)
    users = {"2026-12-30": ["anna", "bilal"], "2026-12-31": ["chloé"], "2027-01-02": ["anna"]}
    lines = [line(user, date.fromisoformat(day)) for day, names in users.items() for user in names]
    (tmp_path / "wopi.log").write_text("".join(lines))
    server.collect(since=date(2026, 12, 30), now=NOON.replace(year=2027, month=1, day=3))
    assert server.values("collabora_users") == {
        "2026-12-30": 2,
        "2026-12-31": 3,
        new_year.isoformat(): 0,
        "2027-01-02": 1,
    }


def test_a_late_line_raises_every_day_after_it(tmp_path: Path) -> None:
    server = machine(tmp_path)
    log = tmp_path / "wopi.log"
    log.write_text(line("anna", DAY_BEFORE) + line("bilal", YESTERDAY))
    server.collect(since=DAY_BEFORE)
    assert server.values("collabora_users") == {DAY_BEFORE.isoformat(): 1, YESTERDAY.isoformat(): 2}
    with log.open("a") as stream:
        # One who was not known, and one who was known from the day after.
        stream.write(line("chloé", DAY_BEFORE) + line("bilal", DAY_BEFORE))
    server.collect(now=NOON + timedelta(hours=1))
    assert server.values("collabora_users") == {DAY_BEFORE.isoformat(): 3, YESTERDAY.isoformat(): 3}
    files = sorted(server.spool.iterdir())
    server.collect(now=NOON + timedelta(hours=2))
    assert sorted(server.spool.iterdir()) == files


def test_forged_and_expired_tokens_do_not_count_where_there_is_a_key(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    server = machine(tmp_path, 'wopi_key = "secret"\n')
    forged = line("eve", token=token("eve", b"another"))
    expired = line("frank", token=token("frank", lasts=int(NOON.timestamp()) - 3 * 86400))
    (tmp_path / "wopi.log").write_text(line("anna") + forged + expired)
    (notice,) = server.collect().notices
    assert server.values("collabora_users") == {YESTERDAY.isoformat(): 1}
    # They were answered with success: perhaps the key is the wrong one.
    assert notice.endswith("secret does not bear out the tokens of 2 calls of Collabora: they are not counted")
    assert server.collect(now=NOON + timedelta(hours=1)).notices == []


def test_a_key_that_cannot_be_read_loses_no_line(tmp_path: Path) -> None:
    server = machine(tmp_path, 'wopi_key = "secret"\n')
    (tmp_path / "wopi.log").write_text(line("anna"))
    ((key, reason),) = server.collect().failures
    assert (key.metric, reason.partition(" ")[0]) == ("collabora_users", "wopi_key:")
    assert server.values("collabora_users") == {}
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    assert not server.collect(now=NOON + timedelta(hours=1)).failures
    assert server.values("collabora_users") == {YESTERDAY.isoformat(): 1}


def test_logs_that_rotate_are_read_once(tmp_path: Path) -> None:
    server = machine(tmp_path)
    log = tmp_path / "wopi.log"
    log.write_text(line("anna"))
    server.collect()
    log.rename(tmp_path / "wopi.log.1")
    log.write_text(line("bilal", TODAY, "01:00:00 +0100"))
    server.collect(now=NOON + timedelta(days=1))
    assert server.values("collabora_users") == {YESTERDAY.isoformat(): 1, TODAY.isoformat(): 2}


def test_no_log_is_a_failure_and_an_old_day_too(tmp_path: Path) -> None:
    server = machine(tmp_path)
    assert "there is no log" in server.collect().failures[0][1]
    (tmp_path / "wopi.log.1").write_text(line("anna", DAY_BEFORE))
    (tmp_path / "wopi.log").write_text(line("anna"))
    outcome = server.collect(since=DAY_BEFORE - timedelta(days=1), now=NOON + timedelta(hours=1))
    assert [(key.day, reason.partition(":")[0]) for key, reason in outcome.failures] == [
        (DAY_BEFORE - timedelta(days=1), "the logs of this day are gone")
    ]


def test_what_is_kept_names_nobody(tmp_path: Path) -> None:
    server = machine(tmp_path)
    secret = token("marked-name")
    (tmp_path / "wopi.log").write_text(line("marked-name", token=secret) + line("x", token=secret[:-3] + "xyz.q"))
    server.collect()
    written = server.everything_written()
    for mark in ("marked-name", secret, *secret.split("."), part(b"marked-name"), "192.0.2.7"):
        assert mark.encode() not in written


def test_a_state_of_before_goes_on(tmp_path: Path) -> None:
    """An earlier version kept no table of those who open documents."""
    import sqlite3

    server = machine(tmp_path, 'logs = ["app/metering.log"]\n')
    server.log.touch()
    server.collect()
    with sqlite3.connect(tmp_path / "state" / "state.sqlite") as db:
        db.execute("DROP TABLE editors")
    db.close()
    (tmp_path / "wopi.log").write_text(line("anna"))
    assert not server.collect(now=NOON + timedelta(hours=1)).failures
    assert server.values("collabora_users") == {YESTERDAY.isoformat(): 1}
