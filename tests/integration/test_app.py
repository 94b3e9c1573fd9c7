"""The test application keeps docs/release-contract.md, on real PostgreSQL, Redis, SMTP and HTTPS."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import pack_release
from tests.fixtures.browser import Browser
from tests.fixtures.local_services import free_port
from tests.fixtures.running_site import METERING, Site, missing, running, serve, unpack

PASSWORD = "pa ss€é\"'\\word"
HANDLED = (
    "messenger.INFO: Symfony\\Component\\Notifier\\Message\\SmsMessage was handled successfully"
    " (acknowledging to transport)."
)


@pytest.fixture(scope="module")
def archive() -> Path:
    lacking = missing()
    if lacking:
        pytest.fail(lacking)
    return pack_release.pack().path


@pytest.fixture(scope="module")
def site(archive: Path) -> Iterator[Site]:
    with running(archive) as started:
        yield started


def user(site: Site, name: str) -> Browser:
    """A user of the instance, made by the commands that the roles call, and logged in."""
    assert site.console("chill:user:create", name, f"{name}@example.org").returncode == 0
    assert site.console("chill:user:set_password", name, stdin=f"{PASSWORD}\n").returncode == 0
    browser = Browser(site.url)
    assert browser.login(name, PASSWORD)
    return browser


def test_the_archive_is_one_plain_tree_without_state(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    names = {member.name for member in members}
    assert {name.split("/")[0] for name in names} == {"chill-testapp-1.0.0"}
    assert all(member.isfile() or member.isdir() for member in members)
    assert {f"chill-testapp-1.0.0/{name}" for name in ("bin/console", "public/index.php", ".env")} <= names
    assert not [name for name in names if name.endswith(".env.local") or "/var/" in name]


def test_the_same_sources_give_the_same_sum(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    again = pack_release.pack(tmp_path / "out")
    assert again.path.read_bytes() == archive.read_bytes()


def test_packing_without_apt_says_why_and_what_to_do(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [python, "-m", "tests.fixtures.pack_release", "--out", str(tmp_path / "out")],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "pack_release: apt-get is not here: a release can only be packed on Debian.\n"


def test_it_runs_without_a_library_of_the_machine(archive: Path, site: Site, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    unpack(archive, root)
    confined = (*site.php, "-d", f"open_basedir={root}:/tmp")
    done = Site(**{**site.__dict__, "php": confined}).console("about", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5.4.53" in done.stdout or re.search(r"Version +5\.4\.", done.stdout)


def test_migrating_twice_does_nothing_the_second_time(site: Site) -> None:
    site.sql("CREATE DATABASE empty")
    empty = {"DATABASE_URL": f"postgresql://chill-acme@localhost/empty?host={site.sockets}"}
    assert site.console("doctrine:migrations:up-to-date", environment=empty).returncode == 1
    first = site.console("doctrine:migrations:migrate", "--no-interaction", environment=empty)
    assert (first.returncode, "Successfully migrated" in first.stdout) == (0, True)
    second = site.console("doctrine:migrations:migrate", "--no-interaction", environment=empty)
    assert (second.returncode, "Already at the latest version" in second.stdout) == (0, True)
    assert site.console("doctrine:migrations:up-to-date", environment=empty).returncode == 0


def test_the_commands_of_an_upgrade_may_be_repeated(site: Site) -> None:
    for command in ("messenger:setup-transports", "chill:db:sync-views", "cache:warmup", "lint:container"):
        done = site.console(command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert site.sql("SELECT count(*) FROM view_open_courses")


def test_a_user_is_made_once_and_cannot_log_in_before_a_password_is_set(site: Site) -> None:
    assert site.console("chill:user:create", "Berthe", "berthe@example.org").stdout == "created\n"
    assert not Browser(site.url).login("Berthe", "")
    assert site.console("chill:user:create", "berthe", "other@example.org").stdout == "exists\n"
    assert site.sql("SELECT username, email FROM users WHERE usernamecanonical = 'berthe'") == [
        ["Berthe", "berthe@example.org"]
    ]


@pytest.mark.parametrize("name,stdin", [("nobody", "secret\n"), ("carla", "\n"), ("carla", "")])
def test_setting_a_password_fails_for_nobody_and_for_nothing(site: Site, name: str, stdin: str) -> None:
    browser = user(site, "carla")
    assert site.console("chill:user:set_password", name, stdin=stdin).returncode == 1
    assert browser.login("carla", PASSWORD)


def test_a_password_is_taken_from_standard_input_alone(site: Site) -> None:
    user(site, "denis")
    refused = site.console("chill:user:set_password", "denis", "on-the-command-line", stdin="x\n")
    assert refused.returncode != 0
    assert Browser(site.url).login("denis", PASSWORD)


def test_a_login_leaves_a_line_for_metering_and_a_session_under_the_prefix(site: Site) -> None:
    user(site, "emma")
    before = len(site.log())
    browser = Browser(site.url)
    assert browser.login("Emma@Example.org", PASSWORD)
    home = browser.get("/")
    assert "<strong>emma</strong>" in home.text
    assert "acme (test)" in home.text
    lines = site.log()[before:]
    pattern = (
        r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0[12]:00\]"
        r' security\.INFO: Authenticator successful! \{.*user=\\"emma\\".*\} \[\]'
    )
    assert [bool(re.fullmatch(pattern, line)) for line in lines] == [True]
    keys = site.redis_keys()
    assert keys
    assert all(key.startswith("chill-acme:session:") for key in keys)


def test_a_wrong_password_or_a_disabled_user_is_refused(site: Site) -> None:
    user(site, "fanny")
    before = len(site.log())
    assert not Browser(site.url).login("fanny", "wrong")
    site.sql("UPDATE users SET enabled = false WHERE username = 'fanny'")
    assert not Browser(site.url).login("fanny", PASSWORD)
    assert not Browser(site.url).login("nobody", PASSWORD)
    assert not [line for line in site.log()[before:] if "Authenticator successful!" in line]


def test_without_a_login_nothing_can_be_read_or_written(site: Site) -> None:
    stranger = Browser(site.url)
    assert stranger.get("/").url.endswith("/login")
    assert stranger.post("/person", first_name="A", last_name="B").url.endswith("/login")
    assert user(site, "gil").get("/document/999999").status == 404


def test_a_form_without_its_token_is_refused(site: Site) -> None:
    browser = user(site, "hugo")
    browser._token = ""
    assert browser.post("/person", first_name="Mallory", last_name="M").status == 400
    assert site.sql("SELECT 1 FROM chill_person_person WHERE firstname = 'Mallory'") == []


def test_audit_columns_say_who_wrote_and_who_changed(site: Site) -> None:
    writer, editor = user(site, "iris"), user(site, "jean")
    person = str(writer.post("/person", first_name="Zoé", last_name="Durand").json()["id"])
    course = str(writer.post("/course", person=person).json()["id"])
    note = writer.post("/note", course=course, text="Première visite").json()["id"]
    assert editor.post(f"/note/{note}", text="Première visite, corrigée").status == 200
    assert editor.post(f"/course/{course}/close").status == 200
    names = "(SELECT username FROM users WHERE id = {}), (SELECT username FROM users WHERE id = {})"
    folded = names.format("createdby_id", "updatedby_id")
    quoted = names.format('"createdBy_id"', '"updatedBy_id"')
    today = 'abs(extract(epoch FROM localtimestamp - "createdAt" )) < 86400'
    assert site.sql(f"SELECT {folded} FROM chill_person_accompanying_period_comment WHERE id = {note}") == [
        ["iris", "jean"]
    ]
    assert site.sql(f"SELECT {quoted}, {today} FROM chill_person_accompanying_period WHERE id = {course}") == [
        ["iris", "jean", "t"]
    ]
    assert site.sql(f"SELECT {folded} FROM chill_person_person WHERE id = {person}") == [["iris", "iris"]]


def test_a_document_is_stored_encrypted_and_readable_by_its_group_only(site: Site) -> None:
    browser = user(site, "kim")
    content = b"%PDF-1.7 a report about Ms Durand " * 100
    answer = browser.upload("/document", "rapport.pdf", content)
    assert answer.status == 201
    stored = site.documents / str(answer.json()["filename"])
    assert b"Durand" not in stored.read_bytes()
    assert len(stored.read_bytes()) == (len(content) // 16 + 1) * 16
    assert stat.S_IMODE(stored.stat().st_mode) == 0o640
    assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o2750
    assert [path for path in site.documents.rglob("*") if path.is_file()] == [stored]
    assert browser.get(f"/document/{answer.json()['id']}").text.encode() == content


def test_an_sms_reaches_the_provider_and_leaves_one_line(site: Site) -> None:
    browser = user(site, "lea")
    before, taken = len(site.log()), len(site.sms.outbox.messages)
    assert browser.post("/sms", to="+32470000001", text="Rendez-vous demain à 9 h").status == 202
    assert len(site.sms.outbox.messages) == taken
    site.work()
    (message,) = site.sms.outbox.messages[taken:]
    assert (message.receiver, message.text) == ("+32470000001", "Rendez-vous demain à 9 h")
    assert [line for line in site.log()[before:] if HANDLED in line and message.text not in line]
    assert sum(HANDLED in line for line in site.log()[before:]) == 1


def test_an_sms_that_the_provider_refused_is_tried_again_and_counted_once(site: Site) -> None:
    browser = user(site, "marc")
    before, taken = len(site.log()), len(site.sms.outbox.messages)
    site.sms.outbox.fail_next = 1
    assert browser.post("/sms", to="+32470000002", text="Rappel").status == 202
    site.work(messages=2)
    assert site.sms.outbox.fail_next == 0
    assert len(site.sms.outbox.messages) == taken + 1
    assert sum(HANDLED in line for line in site.log()[before:]) == 1


def test_an_email_is_handed_to_the_relay_and_leaves_no_sms_line(site: Site) -> None:
    browser = user(site, "nora")
    before = len(site.log())
    site.mails.clear()
    fields = {"to": "a@example.org, b@example.org", "subject": "Réunion", "text": "Bonjour à tous"}
    assert browser.post("/email", **fields).status == 202
    site.work()
    (mail,) = site.mails
    assert (mail.sender, mail.recipients) == ("noreply@acme.chill.pro", ["a@example.org", "b@example.org"])
    assert mail.message["From"] == "noreply@acme.chill.pro"
    assert "SmsMessage" not in "\n".join(site.log()[before:])


def test_ordinary_lines_reach_the_metering_log_only(site: Site) -> None:
    user(site, "olga")
    assert any("Authenticator successful!" in line for line in site.log())
    assert not [line for line in site.log("prod.log") if "Authenticator successful!" in line]
    assert stat.S_IMODE((site.root / "var" / "log" / "metering.log").stat().st_mode) == 0o640


def test_the_metering_handler_can_write_json(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "json"
    shutil.copytree(site.root, other, ignore=shutil.ignore_patterns("var"))
    drop_in = METERING + "      formatter: monolog.formatter.json\n"
    (other / "config" / "packages" / "metering.yaml").write_text(drop_in)
    assert site.console("cache:clear", root=other).returncode == 0
    assert user(site, "paul").post("/sms", to="+32470000003", text="Bonjour").status == 202
    site.work(root=other)
    lines = [json.loads(line) for line in (other / "var" / "log" / "metering.log").read_text().splitlines()]
    (handled,) = [line for line in lines if "handled successfully" in line["message"]]
    assert (handled["channel"], handled["level_name"]) == ("messenger", "INFO")
    assert set(handled) == {"message", "context", "level", "level_name", "channel", "datetime", "extra"}


def test_a_drop_in_that_is_not_understood_is_refused(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "wrong"
    shutil.copytree(site.root, other, ignore=shutil.ignore_patterns("var"))
    (other / "config" / "packages" / "metering.yaml").write_text(METERING.replace("level:", "levle:"))
    done = site.console("cache:clear", root=other)
    assert done.returncode != 0
    assert "levle" in done.stdout + done.stderr


def test_cron_jobs_run_when_due(site: Site) -> None:
    site.sql("TRUNCATE chill_main_cronjob_execution")
    first = site.console("chill:cron-job:execute")
    assert (first.returncode, first.stdout) == (0, "refresh-course-notes: done\n")
    second = site.console("chill:cron-job:execute")
    assert (second.returncode, second.stdout) == (0, "")
    site.sql("UPDATE chill_main_cronjob_execution SET laststart = laststart - interval '2 hours'")
    assert site.console("chill:cron-job:execute").stdout == "refresh-course-notes: done\n"


def test_the_health_page_names_the_part_that_does_not_answer(site: Site) -> None:
    well = Browser(site.url).get("/healthz")
    assert (well.status, well.json()) == (
        200,
        {"status": "ok", "version": "1.0.0", "database": "ok", "redis": "ok"},
    )
    lame = f"http://127.0.0.1:{free_port()}"
    with serve(site, lame, {"REDIS_PREFIX": "chill-other:"}):
        answer = Browser(lame).get("/healthz")
    assert (answer.status, answer.json()["database"], answer.json()["redis"]) == (503, "ok", "failed")
