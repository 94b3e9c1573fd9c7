"""Whatever happens to a night (a full disk, a clock that jumps, another collector, a long silence), nothing is lost and
nothing is counted twice; and a day that is collected later has the numbers of its own night.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from metering.server.errors import MeterError
from tests.integration.tiny_disk import fill, remount, tiny_disk
from tests.unit.metering.server_side import NOON, TODAY, YESTERDAY, Server, sms_line, sms_lines

ROOT = Path(__file__).parents[2]
TEXT = '[postfix]\nlogs = ["mail.log*"]\n[instances.acme]\nlogs = ["app/metering.log*"]\nmail = {uids = [998]}\n'


def mail_line(day: date, number: int) -> str:
    """One delivered mail, two lines."""
    stamp = f"{day}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+01:00 srv1 postfix"
    relay = "relay=mx.example.org[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0"
    return (
        f"{stamp}/pickup[1]: {number:08X}: uid=998 from=<acme>\n"
        f"{stamp}/smtp[2]: {number:08X}: to=<x@example.org>, {relay}, status=sent (250 OK)\n"
    )


def files_by_resolution(server: Server) -> dict[tuple[str, str], int]:
    """What the ledger would take of a spool: per day and metric the ok row that was collected last."""
    rows = sorted((row for row in server.rows() if row["status"] == "ok"), key=lambda row: row["collected_at"])
    return {(row["day"], row["metric"]): int(row["value"]) for row in rows}


def failure_of(server: Server, now: datetime) -> MeterError | None:
    try:
        server.collect(now=now)
    except MeterError as error:
        return error
    return None


def no_half_file(server: Server) -> bool:
    return all(path.read_bytes().endswith(b"\n") for path in server.spool.glob("[!.]*.csv"))


@pytest.mark.parametrize("where", ["spool", "state"])
@pytest.mark.parametrize("leave", [0, 4096, 12288, 36864])
def test_a_full_disk(tmp_path: Path, where: str, leave: int) -> None:
    """Filled up to the last page, or so that the run stops midway; then there is room again."""
    with tiny_disk(tmp_path / where, 1024) as disk:
        server = Server(tmp_path, TEXT)
        server.log.write_text(sms_lines(5))
        (tmp_path / "mail.log").write_text("".join(mail_line(YESTERDAY, n) for n in range(300)))
        server.collect()
        # More to remember than the room that is left, and more days than one.
        days = [YESTERDAY + timedelta(days=n) for n in range(1, 6)]
        for day in days:
            with server.log.open("a") as log, (tmp_path / "mail.log").open("a") as mail:
                log.write(sms_lines(7, day))
                mail.write("".join(mail_line(day, n) for n in range(300)))
        ballast = fill(disk, leave)
        later = NOON + timedelta(days=5)
        fault = failure_of(server, later)
        assert (fault.status, fault.hint.endswith("run it again")) == (1, True) if fault else leave > 0
        assert no_half_file(server)
        ballast.unlink()
        server.collect(now=later + timedelta(hours=1))
        found = files_by_resolution(server)
        assert [found[day.isoformat(), "sms_sent"] for day in (YESTERDAY, *days[:-1])] == [5, 7, 7, 7, 7]
        assert {found[day.isoformat(), "emails_sent"] for day in (YESTERDAY, *days[:-1])} == {300}
        assert not list(server.spool.glob(".*"))


def test_a_disk_without_a_free_byte_fails_and_says_so(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "spool", 64) as disk:
        server = Server(tmp_path)
        server.log.write_text(sms_lines(3))
        fill(disk, 0)
        with pytest.raises(MeterError, match="No space left on device") as caught:
            server.collect()
        assert (caught.value.status, [path.name for path in disk.iterdir()]) == (1, ["ballast"])


def test_a_spool_that_is_read_only(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "spool", 256) as disk:
        server = Server(tmp_path)
        server.log.write_text(sms_lines(3))
        remount(disk, "ro")
        with pytest.raises(MeterError, match="Read-only file system"):
            server.collect()
        remount(disk, "rw")
        server.collect()
        assert server.values("sms_sent") == {YESTERDAY.isoformat(): 3}


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    """Back by ten days and forth again, while the log goes on: each line once, each run later than the one before."""
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1, YESTERDAY - timedelta(days=1)) + sms_lines(2))
    total = 3
    for number, jump in enumerate((0, -10, 1, -400, 2, 2, 1)):
        server.collect(now=NOON + timedelta(days=jump))
        with server.log.open("a") as log:
            log.write(sms_line(YESTERDAY, f"11:00:{number:02}"))
        total += 1
    server.collect(now=NOON + timedelta(days=3))
    values = server.values("sms_sent")
    assert (values[YESTERDAY.isoformat()], sum(values.values())) == (9, total)
    runs = [outcome.files[0].name.split(".")[2] for outcome in server.outcomes if outcome.files]
    assert len(runs) > 5
    assert runs == sorted(set(runs))


SPECIAL = {
    "summer time begins": (date(2026, 3, 29), 23),
    "summer time ends": (date(2026, 10, 25), 25),
    "31 December": (date(2026, 12, 31), 24),
    "1 January": (date(2027, 1, 1), 24),
    "leap day": (date(2028, 2, 29), 24),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_days_by_every_source(name: str, tmp_path: Path, database: str) -> None:
    """One SMS, one e-mail and one writer in each hour of the day, and of the hours around it."""
    day, hours = SPECIAL[name]
    server = Server(tmp_path, TEXT + f'dsn = "{database}"\n')
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=4)
    stamps = [begin + timedelta(hours=number, minutes=30) for number in range(34)]
    sms = sms_line().partition("]")[2]
    server.log.write_text("".join(f"[{stamp.isoformat()}]{sms}" for stamp in stamps))
    lines = (
        mail_line(day, n).replace(f"{day}T00:00:{n:02}+01:00", stamp.isoformat()) for n, stamp in enumerate(stamps)
    )
    (tmp_path / "mail.log").write_text("".join(lines))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE users (id int PRIMARY KEY, username text, enabled bool)")
        connection.execute("CREATE TABLE note (id serial PRIMARY KEY, createdby_id int, createdat timestamptz)")
        for number, stamp in enumerate(stamps):
            connection.execute("INSERT INTO users VALUES (%s, %s, true)", [number, f"user{number}"])
            connection.execute("INSERT INTO note (createdby_id, createdat) VALUES (%s, %s)", [number, stamp])
    server.collect(since=day, until=day, now=begin + timedelta(days=3))
    assert {row["metric"]: row["value"] for row in server.rows()} == dict.fromkeys(
        ("active_users", "sms_sent", "emails_sent"), str(hours)
    )


def test_two_collectors_at_once(tmp_path: Path) -> None:
    """Eight processes at the same moment: one collects, the others say so, or find nothing to do."""
    server = Server(tmp_path, TEXT)
    day = datetime.now(UTC).astimezone().date() - timedelta(days=1)
    server.log.write_text(sms_lines(20_000, day))
    (tmp_path / "mail.log").write_text("".join(mail_line(day, n) for n in range(20_000)))
    command = [sys.executable, "-m", "metering.cli", "collect", "--config", str(server.config)]

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(run, range(8)))
    assert {one.returncode for one in done} <= {0, 1}
    for one in done:
        assert one.stderr == "" or "another collection is running" in one.stderr
    assert len(list(server.spool.glob("*.samples.csv"))) == 1
    found = files_by_resolution(server)
    assert found[day.isoformat(), "sms_sent"] == found[day.isoformat(), "emails_sent"] == 20_000


def login(user: str, day: date) -> str:
    token = json.dumps({"token": f'X(user="{user}", roles="R")'})
    return f"[{day}T08:00:00+01:00] security.INFO: Authenticator successful! {token} []\n"


def people_at_work(database: str, chance: random.Random, day: date) -> list[str]:
    """Some write, on that day; the names of some who log in."""
    with psycopg.connect(database, autocommit=True) as connection:
        for user in chance.sample(range(20), chance.randrange(8)):
            values = [user, f"{day} 12:00"]
            connection.execute("INSERT INTO note (createdby_id, createdat) VALUES (%s, %s)", values)
    return [f"user{user}" for user in chance.sample(range(20), chance.randrange(8))]


def make_application(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE users (id int PRIMARY KEY, username text, enabled bool)")
        connection.execute("CREATE TABLE note (id serial PRIMARY KEY, createdby_id int, createdat timestamp)")
        connection.execute("INSERT INTO users SELECT n, 'user' || n, n <> 7 FROM generate_series(0, 19) AS n")


def nightly(root: Path, chance: random.Random, days: int, database: str) -> tuple[Server, Server]:
    """Two servers with the same logs: one collected every night, while its logs rotated; the other collected once,
    at the end, from what the first one's rotation left.
    """
    every_night, once = root / "nights", root / "once"
    for place in (every_night, once):
        place.mkdir()
    make_application(database)
    text = TEXT + f'dsn = "{database}"\n'
    server = Server(every_night, text)
    for number in range(days):
        day = TODAY + timedelta(days=number)
        logged_in = people_at_work(database, chance, day)
        with server.log.open("a") as log, (every_night / "mail.log").open("a") as mail:
            log.writelines(login(user, day) for user in logged_in)
            log.write(sms_lines(chance.randrange(1, 40), day, first=60))
            mail.write("".join(mail_line(day, n) for n in range(chance.randrange(1, 40))))
        if number % 3 == 2:
            for path in (server.log, every_night / "mail.log"):
                path.rename(path.with_name(f"{path.name}.{number}"))
                path.touch()
        server.collect(now=NOON + timedelta(days=number + 1))
    later = Server(once, text)
    shutil.copytree(every_night / "app", once / "app", dirs_exist_ok=True)
    for path in every_night.glob("mail.log*"):
        shutil.copy2(path, once)
    return server, later


def test_a_past_day_has_the_numbers_of_its_own_night(tmp_path: Path, database: str) -> None:
    server, later = nightly(tmp_path, random.Random(20261123), 14, database)
    end = NOON + timedelta(days=14)
    later.collect(since=TODAY, now=end)
    wanted = {key: value for key, value in files_by_resolution(server).items() if key[0] >= TODAY.isoformat()}
    assert files_by_resolution(later) == wanted
    assert len(wanted) == 3 * 14
    assert len({value for (_, metric), value in wanted.items() if metric == "active_users"}) > 3
    # Asked again, every day has the same numbers; not asked, nothing is written.
    later.collect(since=TODAY, now=end)
    assert files_by_resolution(later) == wanted
    before = sorted(later.spool.iterdir())
    assert later.collect(now=end).files == []
    assert sorted(later.spool.iterdir()) == before


def test_what_the_sources_no_longer_hold_is_failed_and_never_zero(tmp_path: Path, database: str) -> None:
    _, later = nightly(tmp_path, random.Random(7), 9, database)
    for path in (later.root / "app" / "metering.log.2", later.root / "mail.log.2"):
        path.unlink()
    outcome = later.collect(since=TODAY, now=NOON + timedelta(days=9))
    lost = {TODAY + timedelta(days=number) for number in range(3)}
    assert {(key.day, key.metric) for key, _ in outcome.failures} >= {
        (day, metric) for day in lost for metric in ("sms_sent", "emails_sent")
    }
    assert {key.day for key, _ in outcome.failures} == lost
    assert all("the logs of this day are gone" in reason for _, reason in outcome.failures)
    assert not any((day.isoformat(), "sms_sent") in files_by_resolution(later) for day in lost)
    assert {row["value"] for row in later.rows() if row["status"] == "failed"} == {""}


def test_as_its_own_unix_user_with_the_rights_that_the_roles_give(tmp_path: Path) -> None:
    """Its spool and state are its own; of the logs it may read the metering log and the mail log, of documents only the
    directories; all else is root's.
    """
    assert os.geteuid() == 0, "needs root, to become somebody else"
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    day = datetime.now(UTC).astimezone().date() - timedelta(days=1)
    text = TEXT + 'documents = ["documents"]\n'
    server = Server(tmp_path, text)
    server.log.write_text(sms_lines(4, day))
    (tmp_path / "mail.log").write_text("".join(mail_line(day, n) for n in range(6)))
    (tmp_path / "documents" / "ab").mkdir(parents=True)
    (tmp_path / "documents" / "ab" / "secret").write_bytes(b"x" * 1234)
    (tmp_path / "documents" / "ab" / "secret").chmod(0o600)
    for path in (server.log, tmp_path / "mail.log", server.config):
        shutil.chown(path, "root", "nogroup")
        path.chmod(0o640)
    for name, mode in (("spool", 0o750), ("state", 0o700)):
        (tmp_path / name).mkdir(mode=mode)
        shutil.chown(tmp_path / name, "nobody", "nogroup")
    bundle = tmp_path / "chill-meter"
    subprocess.run([sys.executable, "-m", "provision.meter_bundle", "--out", str(bundle)], cwd=ROOT, check=True)
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    command += [str(bundle), "collect", "--config", str(server.config), "--json"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["failed"] == []
    assert {row["metric"]: row["value"] for row in server.rows()} == {
        "sms_sent": "4",
        "emails_sent": "6",
        "document_bytes": "1234",
    }
    assert {path.stat().st_mode & 0o777 for path in server.spool.iterdir()} == {0o640}
    again = subprocess.run(command[:-1], cwd="/", capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
