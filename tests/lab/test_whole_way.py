"""The whole way, once, as `make demo` goes it: an empty machine, two environments, the letter, a year, the papers.

The story is told once for this module; each test looks at what it did. What was counted is compared with what was
played, to the unit.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import socket
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from email.message import EmailMessage

import pytest

from tests.demo.story import DOMAINS, MAILS_TODAY, RESPONSIBLE, SERVER, SLUG, SMS_TODAY, Story, played
from tests.demo.year import Day
from tests.lab import Lab

pytestmark = pytest.mark.lab


@dataclass
class Told:
    """The story after its end, and what its commands said on the way."""

    story: Story
    message: EmailMessage
    first: str
    second: str
    logged_in: dict[str, bool]
    written: int
    report: str

    def on_server(self, command: str) -> str:
        return str(self.story.machine.ssh(command).stdout)


@pytest.fixture(scope="module")
def told(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with Story(tmp_path_factory.mktemp("whole-way"), lab) as story:
        story.set_the_stage()
        story.prepare_server()
        first = story.first_create()
        message = story.read_letter()
        logged_in = story.log_in()
        second = story.create()
        written = story.play_the_past()
        story.work_today()
        story.collect()
        story.pull()
        report = story.report()
        yield Told(story, message, first, second, logged_in, written, report)
        story.machine.remove()


@pytest.fixture(scope="module")
def days(told: Told) -> list[Day]:
    return played(told.story)


def ledger_rows(story: Story, kind: str) -> list[dict[str, str]]:
    paths = sorted((story.fleet / "ledger").rglob(f"*.{kind}.csv"))
    return [row for path in paths for row in csv.DictReader(path.open(encoding="utf-8", newline=""))]


def table(story: Story, name: str) -> list[dict[str, str]]:
    path = story.papers / f"{name}-{story.reported}.csv"
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def test_the_letter_holds_an_account_of_each_environment(told: Told) -> None:
    assert told.message.get_content_type() == "multipart/encrypted"
    assert set(told.story.passwords) == set(DOMAINS)
    assert "support+acme@" in told.story.letter


def test_the_passwords_of_the_letter_open_both_environments(told: Told) -> None:
    assert told.logged_in == dict.fromkeys(DOMAINS, True)


def test_the_password_of_one_environment_does_not_open_the_other(told: Told) -> None:
    production, test = DOMAINS
    assert not told.story.browser(test).login("admin", told.story.passwords[production])
    assert not told.story.browser(production).login("admin", told.story.passwords[test])


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_second_create_changes_nothing(told: Told, domain: str) -> None:
    assert re.search(rf"{re.escape(domain)}: ok=\d+ changed=0 failed=0", told.second), told.second
    assert not re.search(rf"{re.escape(domain)}: ok=\d+ changed=0 ", told.first), told.first


def test_the_letter_is_sent_once(told: Told) -> None:
    assert len(told.story.mailbox.received(RESPONSIBLE[1])) == 1


def test_apply_changes_nothing_and_verify_passes(told: Told) -> None:
    hosts = told.story.run("chill-provision", "apply", SLUG)
    assert hosts.count("changed=0") == 2, hosts
    checks = told.story.run("chill-provision", "verify", SLUG)
    assert all(domain in checks for domain in DOMAINS)


def test_a_second_preparation_changes_nothing(told: Told) -> None:
    hosts = told.story.run("chill-provision", "server", "prepare", SERVER)
    assert "changed=0 failed=0" in hosts


def test_the_server_s_own_journal_tells_who_worked_on_it(told: Told) -> None:
    lines = told.on_server("journalctl -t chill-provision -o cat --no-pager")
    assert f"create {SLUG}: begins; " in lines
    assert re.search(rf"create {SLUG}: ended well after \d+ s; \S+@\S+, petits-chills ", lines), lines
    assert told.on_server("ls /run/lock/chill") == "", "a lock was left behind"


def test_the_journal_tells_who_did_what_with_which_result_and_how_long_it_took(told: Told) -> None:
    for name, command in ((SERVER, "server prepare"), (SLUG, "create")):
        lines = [json.loads(line) for line in (told.story.fleet / f"journal/{name}.jsonl").read_text().splitlines()]
        begun, ended = [line for line in lines if line["command"] == command and line["event"] in ("started", "ended")][
            :2
        ]
        assert (begun["event"], ended["event"], ended["result"]) == ("started", "ended", "ok")
        assert ended["seconds"] > 1
        assert re.fullmatch(r"\S+@\S+", ended["who"])
        assert ended["version"]


def test_list_and_show_know_the_instance(told: Told) -> None:
    listed = json.loads(told.story.run("chill-provision", "list", "--json"))
    assert "acme" in json.dumps(listed)
    assert "ready" in told.story.run("chill-provision", "show", SLUG)


def test_no_password_is_left_anywhere(told: Told) -> None:
    """Not in the fleet directory, not in the server's files. The played documents (*.bin) are gigabytes of nothing."""
    assert told.story.site
    for password in (*told.story.passwords.values(), told.story.site[1]):
        found = subprocess.run(
            ["grep", "-rlF", password, str(told.story.directory), "/run", "/dev/shm"], capture_output=True, text=True
        )
        assert found.stdout == ""
        on_server = told.on_server(
            "grep -rlF --binary-files=text -f /dev/stdin /etc /root /home /srv /tmp /var /run --exclude='*.bin' "
            f"2>/dev/null <<'EOF' || true\n{password}\nEOF"
        )
        assert on_server == ""


def test_every_day_of_the_past_was_counted_to_the_unit(told: Told, days: list[Day]) -> None:
    counted: dict[tuple[str, str], int] = {}
    for row in ledger_rows(told.story, "samples"):
        if row["status"] == "ok":
            counted[row["day"], row["metric"]] = int(row["value"])
    stored = 0
    for day in days:
        stored += day.stored
        name = day.day.isoformat()
        assert counted[name, "active_users"] == len(day.active), name
        assert counted[name, "sms_sent"] == day.sms, name
        assert counted[name, "emails_sent"] == day.emails, name
        if day.day < told.story.past[1]:
            assert counted[name, "document_bytes"] == stored, name


def test_today_was_counted_through_the_real_application(told: Told) -> None:
    today = told.story.today.isoformat()
    counted = {
        row["metric"]: int(row["value"])
        for row in ledger_rows(told.story, "samples")
        if row["day"] == today and row["status"] == "ok" and row["source"] == SERVER
    }
    assert counted["sms_sent"] == SMS_TODAY
    assert counted["emails_sent"] == MAILS_TODAY
    assert counted["active_users"] == 1
    assert counted["document_bytes"] > 0


def test_the_users_files_hold_pseudonyms_only(told: Told) -> None:
    users = ledger_rows(told.story, "users")
    assert users
    assert all(re.fullmatch(r"[0-9a-f]{16}", row["user"]) for row in users)


def months(days: list[Day], year: int) -> dict[int, list[Day]]:
    found: dict[int, list[Day]] = defaultdict(list)
    for day in days:
        if day.day.year == year:
            found[day.day.month].append(day)
    return found


def test_the_monthly_figures_are_those_that_were_played(told: Told, days: list[Day]) -> None:
    rows = {int(row["month"]): row for row in table(told.story, "monthly")}
    for month, those in months(days, told.story.reported).items():
        assert int(rows[month]["active_users"]) == len(frozenset().union(*(day.active for day in those)))
        assert int(rows[month]["peak_daily_active"]) == max(len(day.active) for day in those)
        assert int(rows[month]["sms"]) == sum(day.sms for day in those)
        assert int(rows[month]["emails"]) == sum(day.emails for day in those)
        assert int(rows[month]["days_sampled"]) == len(those)


def test_the_statement_bills_what_was_played(told: Told, days: list[Day]) -> None:
    lines = {row["line"]: row for row in table(told.story, "usage")}
    year = [day for day in days if day.day.year == told.story.reported]
    assert int(lines["sms"]["quantity"]) == sum(day.sms for day in year)
    assert int(lines["emails"]["quantity"]) == sum(day.emails for day in year)
    assert int(lines["collabora_users"]["quantity"]) == 4
    days_of_year = (date(told.story.reported, 12, 31) - date(told.story.reported, 1, 1)).days + 1
    for line in ("active_users", "sms", "emails", "documents"):
        assert int(lines[line]["days_sampled"]) == int(lines[line]["days_expected"]) == days_of_year, line


def test_the_papers_agree_with_the_statement(told: Told) -> None:
    total = next(row["amount"] for row in table(told.story, "usage") if row["line"] == "total_with_vat")
    for name in (SLUG, "fleet"):
        path = told.story.papers / f"{name}-{told.story.reported}.pdf"
        text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout
        digits = re.sub(r"[\s\u00a0\u202f.,]", "", text)
        assert total.replace(".", "") in digits, f"{path.name} does not show {total}"
        assert "ASBL Acme" in text


def test_the_nightly_job_is_installed_for_its_own_user(told: Told) -> None:
    entry = told.on_server("cat /etc/cron.d/chill-meter")
    assert "MAILTO=root" in entry
    assert re.search(r"^\S+ \S+ \* \* \* chill-meter .*chill-meter collect( --config \S+)?$", entry, re.MULTILINE), (
        entry
    )


def test_the_collector_cannot_read_the_env_file_nor_what_people_write(told: Told) -> None:
    shared = f"/srv/chill/{DOMAINS[0]}/shared"
    refused = "runuser -u chill-meter -- {} >/dev/null 2>&1 && echo read || echo refused"
    assert told.on_server(refused.format(f"cat {shared}/.env.local")).strip() == "refused"
    query = 'psql -d chill_acme -c "SELECT content FROM chill_person_accompanying_period_comment"'
    assert told.on_server(refused.format(query)).strip() == "refused"


def test_only_ssh_and_the_web_are_open_to_the_network(told: Told) -> None:
    address, opened = told.story.machine.address, set()
    for port in (22, 25, 80, 443, 5432, 6379):
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2):
            opened.add(port)
    assert opened == {22, 80, 443}
