"""A year that is forgotten on a server: keys and people are gone for good, counts stay."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.cli import main
from metering.server.config import load_config
from metering.server.errors import MeterError
from metering.server.forget import Forgotten, forget
from metering.server.pseudonyms import FORGOTTEN, ForgottenYear, Pseudonyms, destroy_keys
from metering.server.spool import Spool
from metering.server.state import Key, State, Written
from tests.unit.metering.server_side import NOON, Server, sms_lines

NEXT_YEAR = NOON.replace(year=2027, month=1, day=20)
DAY = date(2026, 12, 30)
LAST = date(2026, 12, 31)
NEW_YEAR = date(2027, 1, 1)
# What stands where somebody was active: the tests need no database to see it go.
ANNA = "a" * 16


def login(user: str, day: date) -> str:
    token = json.dumps({"token": f'X(user="{user}", roles="R")'})
    return f"[{day}T08:00:00+01:00] security.INFO: Authenticator successful! {token} []\n"


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """It has collected the turn of the year, with a database that does not answer. Somebody logged in every day, and
    was active on the last two days of the old year and the first of the new one.
    """
    text = '[instances.acme]\nlogs = ["app/metering.log*"]\ndsn = "host=/nowhere"\n'
    server = Server(tmp_path, text)
    days = (DAY, LAST, NEW_YEAR)
    server.log.write_text("".join(login("anna", day) + sms_lines(2, day) for day in days))
    server.collect(now=NEXT_YEAR)
    with State(tmp_path / "state") as state, state.transaction():
        for day in days:
            state.note_written(Key(day, "acme", "active_users"), Written("ok", 1, False, 1), frozenset({ANNA}))
            state.add_editor(day.isoformat(), "acme", ANNA)
    return server


def run(server: Server, year: int = 2026, pulled: bool = True) -> Forgotten:
    return forget(load_config(server.config), year, NEXT_YEAR, pulled)


def rows(server: Server, table: str, column: str = "day") -> list[str]:
    with sqlite3.connect(server.root / "state" / "state.sqlite") as db:
        return sorted(row[0] for row in db.execute(f"SELECT {column} FROM {table}"))


def test_keys_and_people_of_the_year_are_gone_and_the_others_stay(server: Server) -> None:
    keys = server.root / "state" / "keys"
    old, new = (keys / year / "acme.key" for year in ("2026", "2027"))
    key = old.read_bytes()
    done = run(server)
    # Two logins, two active ones, and one who edited documents that year.
    assert (done.keys, done.rows, done.files) == (1, 5, 4)
    assert not old.exists()
    assert new.exists()
    assert rows(server, "logins") == rows(server, "active") == ["2027-01-01"]
    assert rows(server, "editors", "year") == ["2027"]
    assert key not in server.everything_written()
    assert not list(server.spool.glob("2026-*"))
    assert run(server) == Forgotten(2026, 0, 0, 0)


def test_its_counts_stay_and_people_are_not_counted_again(server: Server) -> None:
    run(server)
    server.log.write_text(server.log.read_text() + login("ben", LAST) + sms_lines(1, LAST, first=500))
    outcome = server.collect(since=DAY, until=NEW_YEAR, now=NEXT_YEAR)
    values = server.values("sms_sent")
    assert [values[day.isoformat()] for day in (DAY, LAST, NEW_YEAR)] == [2, 3, 2]
    reasons = {key.day: reason for key, reason in outcome.failures if key.metric == "active_users"}
    assert reasons[LAST] == "who was active in 2026 was forgotten: its keys were destroyed"
    assert "forgotten" not in reasons[NEW_YEAR]
    assert [path.name for path in (server.root / "state" / "keys" / "2026").iterdir()] == [FORGOTTEN]
    assert rows(server, "logins") == ["2027-01-01"]
    # The failure is for good: no later night tries it again.
    assert not any(key.day.year == 2026 for key, _ in server.collect(now=NEXT_YEAR + timedelta(hours=1)).failures)


def test_the_bytes_of_people_are_gone_from_the_database(server: Server) -> None:
    mark = b"f" * 16
    with State(server.root / "state") as state, state.transaction():
        users = frozenset({mark.decode()} | {f"{n:016x}" for n in range(3000)})
        state.note_written(Key(DAY, "acme", "active_users"), Written("ok", 1, False, 1), users)
    assert mark in server.everything_written()
    run(server)
    assert mark not in server.everything_written()


def test_a_year_under_way_is_not_forgotten(server: Server) -> None:
    with pytest.raises(MeterError, match="2027 is not over") as caught:
        run(server, 2027)
    assert caught.value.status == 2


def test_days_that_were_not_collected_come_first(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1, DAY))
    server.collect(now=NOON.replace(month=12, day=31))
    with pytest.raises(MeterError, match="1 days of 2026 were not collected, 2026-12-31 first") as caught:
        run(server)
    assert caught.value.status == 2
    assert "--since 2026-12-31 --until 2026-12-31" in caught.value.hint
    server.collect(now=NEXT_YEAR)
    assert run(server).year == 2026


def test_files_that_were_not_pulled_are_not_removed(server: Server) -> None:
    before = server.everything_written()
    with pytest.raises(MeterError, match="still holds 4 files of 2026") as caught:
        run(server, pulled=False)
    assert caught.value.status == 2
    assert server.everything_written() == before


def test_a_run_that_was_killed_between_leaves_no_key_in_use(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note that the keys are gone comes first; whatever is left is destroyed by the next run."""
    keys = server.root / "state" / "keys"

    def killed(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            destroy_keys(keys, 2026)
    with pytest.raises(ForgottenYear):
        Pseudonyms(keys).of_user("acme", 2026, "1")
    assert run(server).keys == 1


def test_a_damaged_key_is_no_key(tmp_path: Path) -> None:
    """Under an empty key, anyone could find out who a pseudonym is."""
    keys = tmp_path / "keys"
    first = Pseudonyms(keys).of_user("acme", 2026, "1")
    assert Pseudonyms(keys).of_user("acme", 2026, "1") == first
    (keys / "2026" / "acme.key").write_bytes(b"")
    with pytest.raises(MeterError, match=r"acme\.key: is damaged: a key has 32 bytes, this one 0"):
        Pseudonyms(keys).of_user("acme", 2026, "1")


def test_the_spool_removes_samples_before_their_users(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    spool = Spool(server.spool, "srv1")
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: removed.append(path.name.split(".")[-2]))
    spool.remove(spool.of_year(2026))
    assert removed == ["samples", "samples", "users", "users"]


def test_the_command_says_what_was_destroyed(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    year = now.year - 1
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1, date(year, 12, 30)))
    server.collect(since=date(year, 12, 30), until=date(year, 12, 31), now=now)
    command = ["forget", str(year), "--config", str(server.config)]
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, "chill-meter pull" in refused.stderr) == (2, True)
    done = CliRunner().invoke(main, [*command, "--pulled", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"year": year, "keys": 0, "rows": 0, "files": 4})
    again = CliRunner().invoke(main, command)
    destroyed = "0 keys, 0 rows about people and 0 files of the spool were destroyed"
    assert again.stdout == f"{year} is forgotten: {destroyed}\n"


def test_a_server_that_never_collected_has_nothing_to_forget(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with pytest.raises(MeterError, match="there is no directory") as caught:
        run(server)
    assert caught.value.status == 2
    assert not (tmp_path / "state").exists()
