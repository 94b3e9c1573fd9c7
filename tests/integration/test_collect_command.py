"""`chill-meter collect` as a server runs it: Debian's Python and packages only, killed at any instant, silent
under cron.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from provision.meter_bundle import build
from tests.unit.metering.server_side import Server, sms_lines

ROOT = Path(__file__).parents[2]
DEBIAN_PYTHON = "/usr/bin/python3"
TODAY = datetime.now(UTC).astimezone().date()
YESTERDAY = TODAY - timedelta(days=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp of a server."""
    target = tmp_path_factory.mktemp("bundle") / "chill-meter"
    build(target)
    return target


def run(bundle: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """As cron does: a poor environment, and only what Debian packages (-I leaves out all else)."""
    command = [DEBIAN_PYTHON, "-I", str(bundle), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=timeout, check=False, cwd="/"
    )


def test_debian_packages_are_enough(bundle: Path, database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        columns = "id int, username text, enabled bool, createdby_id int, createdat timestamp"
        connection.execute(f"CREATE TABLE users ({columns})")
        connection.execute("INSERT INTO users VALUES (1, 'anna', true, 1, %s)", [f"{YESTERDAY} 12:00"])
    text = f'[postfix]\nlogs = ["mail.log"]\n[instances.acme]\ndsn = "{database}"\ndocuments = ["app"]\n'
    server = Server(tmp_path, text + 'logs = ["app/metering.log"]\nmail = {uids = [998]}\n')
    server.log.write_text(sms_lines(3, YESTERDAY))
    (tmp_path / "mail.log").touch()
    done = run(bundle, "collect", "--config", str(server.config))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = {row["metric"]: row["value"] for row in server.rows()}
    size = str(server.log.stat().st_size)
    assert found == {"active_users": "1", "sms_sent": "3", "emails_sent": "0", "document_bytes": size}


def test_what_a_program_reads(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log.write_text(sms_lines(1, YESTERDAY))
    done = run(bundle, "collect", "--config", str(server.config), "--json")
    assert done.returncode == 0
    summary = json.loads(done.stdout)
    assert summary["days"] == [YESTERDAY.isoformat()]
    assert [Path(name).exists() for name in summary["files"]] == [True, True]
    assert (summary["rows"], summary["failed"], summary["notices"]) == (1, [], [])


def test_a_source_that_fails_is_exit_status_3(bundle: Path, tmp_path: Path) -> None:
    text = '[instances.acme]\nlogs = ["app/metering.log"]\ndocuments = ["absent"]\n'
    server = Server(tmp_path, text)
    server.log.write_text(sms_lines(2, YESTERDAY))
    done = run(bundle, "collect", "--config", str(server.config))
    assert done.returncode == 3
    assert f"document_bytes of acme, {YESTERDAY}: " in done.stderr
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): 2}


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--since", "2026-02-30"], "is not a date"),
        (["--since", "tomorrow"], "is not a date"),
        (["--until", "2999-01-01"], "is in the future"),
        (["--since", "today"], "after the last day"),
        (["--config", "/absent/meter.toml"], "there is no such file"),
    ],
)
def test_bad_requests_are_exit_status_2(bundle: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    server = Server(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = run(bundle, "collect", "--config", str(server.config), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_what_needs_the_fleet_says_so_on_a_server(bundle: Path) -> None:
    done = run(bundle, "status")
    assert done.returncode == 2
    assert "this command needs the fleet" in done.stderr


def test_the_state_of_another_user_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.mkdir()
    if os.geteuid() == 0:
        shutil.chown(place, "nobody")
    else:
        place = Path("/usr")
    server = Server(tmp_path, head=f'server = "srv1"\nspool = "spool"\nstate = "{place}"\n')
    server.log.touch()
    done = run(bundle, "collect", "--config", str(server.config))
    assert done.returncode == 2
    assert "runuser -u" in done.stderr


def test_killed_at_any_instant_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    """Between rotations the collection is killed by SIGKILL again and again; the totals are those of one
    clean pass.
    """
    chance = random.Random(20261123)
    text = '[postfix]\nlogs = ["mail.log*"]\n[instances.acme]\nlogs = ["app/metering.log*"]\n'
    server = Server(tmp_path, text + "mail = {uids = [998]}\n")
    mail = tmp_path / "mail.log"
    command = [
        sys.executable,
        "-m",
        "metering.cli",
        "collect",
        "--config",
        str(server.config),
        "--since",
        "yesterday",
    ]
    total = 0
    for turn in range(8):
        with server.log.open("a") as log:
            log.write(sms_lines(2000, YESTERDAY, first=total))
        with mail.open("a") as log:
            log.write("".join(mail_lines(number) for number in range(total, total + 2000)))
        total += 2000
        for _ in range(5):
            killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.02, 0.4))
            killed.kill()
            killed.wait()
        for path in (server.log, mail):
            rotate(path, turn)
    subprocess.run(command, cwd=ROOT, check=True)
    assert server.values("sms_sent") == {YESTERDAY.isoformat(): total}
    assert server.values("emails_sent") == {YESTERDAY.isoformat(): total}
    assert [path.name for path in server.spool.iterdir() if path.name.startswith(".")] == []


def mail_lines(number: int) -> str:
    stamp = f"{YESTERDAY}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+01:00 srv1 postfix"
    relay = "relay=mx.example.org[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0"
    return (
        f"{stamp}/pickup[1]: {number:08X}: uid=998 from=<acme>\n"
        f"{stamp}/smtp[2]: {number:08X}: to=<x@example.org>, {relay}, status=sent (250 OK)\n"
        f"{stamp}/qmgr[3]: {number:08X}: removed\n"
    )


def rotate(path: Path, turn: int) -> None:
    """Now by renaming, now by copying and truncating, now compressed."""
    older = path.with_name(f"{path.name}-{turn:04}")
    if turn % 2:
        path.rename(older)
        path.touch()
    else:
        shutil.copy2(path, older)
        os.truncate(path, 0)
    if turn % 3 == 0:
        older.with_name(f"{older.name}.gz").write_bytes(gzip.compress(older.read_bytes()))
        older.unlink()
