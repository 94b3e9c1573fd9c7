"""meter.toml: every problem at once, with its key, and nothing secret in the message."""

from __future__ import annotations

from pathlib import Path

import pytest

from metering.server.config import load_config
from metering.server.errors import MeterError

GOOD = """
server = "srv1.example.net"
spool = "/var/spool/chill-meter"
state = "/var/lib/chill-meter"
[postfix]
logs = ["/var/log/mail.log*"]
internal_relays = ["127.0.0.1:10024"]
[instances.acme]
dsn = "postgresql:///chill_acme"
documents = ["/srv/chill/acme.chill.pro/shared/documents"]
logs = ["/srv/chill/acme.chill.pro/shared/log/metering.log*"]
wopi_logs = []
mail = {uids = [998], sasl = ["acme"], senders = ["@Acme.chill.pro"]}
service_accounts = ["Support"]
[instances.beta]
"""


def problems(tmp_path: Path, text: str) -> MeterError:
    path = tmp_path / "meter.toml"
    path.write_text(text)
    with pytest.raises(MeterError) as caught:
        load_config(path)
    assert caught.value.status == 2
    return caught.value


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "meter.toml"
    path.write_text(GOOD)
    config = load_config(path)
    assert config.timezone.key == "Europe/Brussels"
    acme, beta = config.instances["acme"], config.instances["beta"]
    assert acme.mail
    assert acme.mail.senders == {"@acme.chill.pro"}
    assert acme.service_accounts == {"support"}
    assert [beta.dsn, beta.documents, beta.logs, beta.mail] == ["", (), (), None]


@pytest.mark.parametrize(
    "old,new,words",
    [
        ('server = "srv1.example.net"', "", "meter.toml: server: is missing"),
        ('server = "srv1.example.net"', 'server = "../srv1"', "meter.toml: server: is not of the form"),
        ('spool = "/var/spool/chill-meter"', "spool = 3", "meter.toml: spool: expected a text"),
        ("[postfix]", 'timezone = "Mars/Phobos"\n[postfix]', "timezone: is not a time zone"),
        ("[postfix]", 'timezone = "/etc/passwd"\n[postfix]', "is not a time zone"),
        (
            'logs = ["/var/log/mail.log*"]',
            'logs = ["/var/log/mail.log*"]\njournal = true',
            "postfix.journal: counts the same mails again that are in postfix.logs",
        ),
        ('logs = ["/var/log/mail.log*"]', "", "meter.toml: postfix.logs: is missing"),
        ('"127.0.0.1:10024"', '"127.0.0.1"', "postfix.internal_relays: entry 1 is not of the form"),
        ("[instances.acme]", "[instances.ACME]", "instances.ACME: is not the slug of an instance"),
        (
            '["/srv/chill/acme.chill.pro/shared/documents"]',
            '["s3://bucket/x"]',
            'acme.credentials: is missing\n    credentials = "/etc/chill/acme-store.toml"',
        ),
        (
            '["/srv/chill/acme.chill.pro/shared/documents"]',
            '["ftp://user:secret@host/box"]',
            "acme.documents: a place ftp://… of this form cannot be measured",
        ),
        ("wopi_logs = []", 'wopi_key = "x"', "acme.wopi_key: is of no use without wopi_logs"),
        ("wopi_logs = []", 'active_users = ["column"]', "acme.active_users: entry 1 is not of the form"),
        ("wopi_logs = []", "active_users = []", "acme.active_users: names no source"),
        ("wopi_logs = []", 'audit_trail = {tabel = "x"}', "acme.audit_trail.tabel: is not a key that is known here"),
        ("[instances.beta]", '[instances.beta]\nactive_users = ["columns"]', "active_users: needs the database"),
        (
            "[instances.beta]",
            '[instances.beta]\ndsn = "postgresql:///x"\nactive_users = ["logins"]',
            "beta.active_users: logins are read in the application's logs",
        ),
        ("[998]", '["acme"]', "instances.acme.mail.uids: expected a list of whole numbers"),
        ("[998]", "[true]", "instances.acme.mail.uids: expected a list of whole numbers"),
        ('"@Acme.chill.pro"', '"acme"', "instances.acme.mail.senders: entry 1 is not of the form"),
        ('["Support"]', '"Support"', "instances.acme.service_accounts: expected a list of texts"),
        ("wopi_logs", "wopi_log", "instances.acme.wopi_log: is not a key that is known here"),
        (
            "[instances.beta]",
            "[instances.beta]\nmail = {uids = [998]}",
            "instances.beta.mail.uids: 998 is also that of",
        ),
        ("[postfix]", "[postfix", "is not TOML"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    assert words in problems(tmp_path, GOOD.replace(old, new, 1)).message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = 'servr = "x"\nspool = 1\n[instances.acme]\nlogs = "x"\nmail = {uid = [1]}\n'
    message = problems(tmp_path, text).message
    for key in ("servr", "server", "spool", "state", "instances.acme.logs", "instances.acme.mail.uid"):
        assert f"meter.toml: {key}: " in message


def test_a_connection_string_is_never_shown(tmp_path: Path) -> None:
    text = GOOD.replace("postgresql:///chill_acme", "mysql://root:hunter2@db/x")
    error = problems(tmp_path, text)
    assert "instances.acme.dsn: is not a PostgreSQL connection string" in error.message
    assert "hunter2" not in error.message + error.hint


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="there is no such file") as caught:
        load_config(tmp_path / "meter.toml")
    assert caught.value.status == 2
