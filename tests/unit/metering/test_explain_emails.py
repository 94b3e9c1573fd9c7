"""`chill-meter explain emails`: what counts, what does not and why, without anything about anybody."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metering.cli import main
from tests.unit.metering.server_side import TODAY, YESTERDAY, Server

DAY = YESTERDAY.isoformat()
TEXT = (
    '[postfix]\nlogs = ["mail.log*"]\ninternal_relays = ["127.0.0.1:10024"]\n'
    '[instances.acme.mail]\nuids = [998]\nsasl = ["acme"]\nsenders = ["@acme.example"]\n'
    "[instances.beta.mail]\nuids = [7]\n"
)
OUT = "relay=mx.example.org[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=2.0.0"
LINES = (
    "pickup[1]: AAAA01: uid=998 from=<acme>",
    "smtpd[1]: AAAA02: client=localhost[127.0.0.1]",
    f"smtp[1]: AAAA02: to=<one@example.org>, {OUT}, status=sent (250 OK)",
    f"smtp[1]: AAAA02: to=<two@example.org>, {OUT}, status=sent (250 OK)",
    "smtp[1]: AAAA01: to=<one@example.org>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0,"
    " status=sent (250 2.0.0 Ok: queued as AAAA02)",
    "qmgr[1]: AAAA01: removed",
    "qmgr[1]: AAAA02: removed",
    "pickup[1]: AAAA03: uid=998 from=<acme>",
    f"smtp[1]: AAAA03: to=<three@example.org>, {OUT}, status=deferred (try later)",
    f"smtp[1]: AAAA03: to=<four@example.org>, {OUT}, status=bounced (no such user)",
    f"smtp[1]: AAAA03: to=<five@example.org>, {OUT}, status=sent (250 discarded)",
    "local[1]: AAAA03: to=<six@example.org>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (to mailbox)",
    f"smtp[1]: message repeated 2 times: [ AAAA03: to=<seven@example.org>, {OUT}, status=sent (250 OK)]",
    "pickup[1]: AAAA04: uid=0 from=<root>",
    f"smtp[1]: AAAA04: to=<eight@example.org>, {OUT}, status=sent (250 OK)",
    "smtpd[1]: AAAA05: client=host[10.0.0.7], sasl_method=PLAIN, sasl_username=somebody",
    "qmgr[1]: AAAA05: from=<forged@acme.example>, size=900, nrcpt=1 (queue active)",
    f"smtp[1]: AAAA05: to=<nine@example.org>, {OUT}, status=sent (250 OK)",
    "smtpd[1]: AAAA06: client=host[10.0.0.7]",
    "qmgr[1]: AAAA06: from=<x@elsewhere.example>, size=900, nrcpt=1 (queue active)",
    f"smtp[1]: AAAA06: to=<ten@example.org>, {OUT}, status=sent (250 OK)",
    "pickup[1]: AAAA07: uid=7 from=<beta>",
    f"smtp[1]: AAAA07: to=<eleven@example.org>, {OUT}, status=sent (250 OK)",
    f"smtp[1]: AAAA07: to=<twelve@example.org>, {OUT}, status=bounced (no)",
)


def lines(day: object = DAY) -> str:
    return "".join(f"{day}T10:{n:02}:00+01:00 srv1 postfix/{line}\n" for n, line in enumerate(LINES))


def explain(server: Server, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", "emails", *arguments, "--config", str(server.config)])


@pytest.fixture
def server(tmp_path: Path) -> Server:
    one = Server(tmp_path, TEXT)
    (tmp_path / "mail.log").write_text(lines())
    return one


def test_every_delivery_of_the_day_is_explained(server: Server) -> None:
    found = json.loads(explain(server, "acme", DAY, "--json").stdout)
    assert found["emails_sent"] == 4
    assert found["excluded"] == {
        "bounced": {"AAAA03": 1},
        "deferred": {"AAAA03": 1},
        "delivered on this machine": {"AAAA03": 1},
        "discarded by the other side": {"AAAA03": 1},
        "went to an internal relay": {"AAAA01": 1},
    }
    assert found["of_nobody"] == {
        "submitted by a Unix user of no instance": {"AAAA04": 1},
        "submitted under a SASL name of no instance": {"AAAA05": 1},
        "submitted without a Unix user or SASL name, and its sender is no instance's": {"AAAA06": 1},
    }


def test_the_number_is_that_of_the_collection(server: Server) -> None:
    server.collect()
    for slug in ("acme", "beta"):
        explained = json.loads(explain(server, slug, DAY, "--json").stdout)["emails_sent"]
        assert {DAY: explained} == server.values("emails_sent", slug)


def test_nothing_personal_is_shown_and_nothing_is_written(server: Server) -> None:
    before = sorted(server.root.rglob("*"))
    shown = explain(server, "acme", DAY)
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"acme, {DAY}: 4 e-mails sent\n")
    assert "       1  went to an internal relay: AAAA01\n" in shown.stdout
    for personal in ("@", "example.org", "192.0.2", "10.0.0.7", "somebody", "root", "beta", "998"):
        assert personal not in shown.output
    assert sorted(server.root.rglob("*")) == before


def test_rotated_logs_are_read_and_their_copies_only_once(server: Server) -> None:
    log = server.root / "mail.log"
    text = "".join(lines(YESTERDAY - timedelta(days=n)) for n in (30, 20, 10, 0))
    log.with_name("mail.log.1").write_text(text)
    log.with_name("mail.log.1.gz").write_bytes(gzip.compress(text.encode()))
    log.write_text(f"{TODAY}T00:00:01+01:00 srv1 postfix/qmgr[1]: AAAA03: removed\n")
    assert json.loads(explain(server, "acme", DAY, "--json").stdout)["emails_sent"] == 4


def test_a_day_before_the_logs_begin(server: Server) -> None:
    shown = explain(server, "acme", "2026-01-01")
    assert shown.stdout == (
        f"acme, 2026-01-01: 0 e-mails sent\nthe logs go back to {DAY} only: what was counted then may be more\n"
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("absent", DAY), "SLUG: 'absent' is not an instance of"),
        (("acme", "2999-01-01"), "DAY: 2999-01-01 is in the future"),
        (("acme", "someday"), "is not a date"),
        (("gamma", DAY), "e-mails of gamma are not counted on this server"),
    ],
)
def test_bad_requests(server: Server, arguments: tuple[str, str], words: str) -> None:
    server.config.write_text(server.config.read_text() + '[instances.gamma]\nlogs = ["x"]\n')
    shown = explain(server, *arguments)
    assert shown.exit_code == 2
    assert words in shown.stderr
