"""Postfix logs as cases: tests/cases/postfix/README.md."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from metering.server.config import load_config
from metering.server.journal import read_mail_log
from metering.server.mailqueue import Senders
from metering.server.postfix import SOURCE, PostfixLog
from metering.server.state import State
from tests.unit.metering.server_side import Server

CASES = Path(__file__).parents[2] / "cases" / "postfix"
NAMES = sorted(path.stem for path in CASES.glob("*.log"))


def settings(name: str) -> dict[str, Any]:
    values = tomllib.loads((CASES / "mail.toml").read_text())
    special = CASES / f"{name}.toml"
    return values | (tomllib.loads(special.read_text()) if special.exists() else {})


def server(root: Path, values: dict[str, Any]) -> Server:
    text = f'timezone = "{values["timezone"]}"\n[postfix]\nlogs = ["mail.log*"]\n'
    text += f"internal_relays = {values['internal_relays']}\n"
    for slug in ("acme", "beta"):
        mail = values[slug]
        text += f"[instances.{slug}.mail]\n" + "".join(f"{key} = {value}\n" for key, value in mail.items())
    return Server(root, text)


def expected(name: str) -> dict[tuple[str, str], int]:
    lines = (CASES / f"{name}.expected").read_text().splitlines()
    return {(day, slug): int(number) for day, slug, number in (line.split() for line in lines)}


def noon_after(values: dict[str, Any]) -> datetime:
    return datetime.combine(values["modified"] + timedelta(days=1), time(11), UTC)


def counts_in(state: State) -> dict[tuple[str, str], int]:
    return {(day, slug): value for day, slug, value in state.db.execute("SELECT day, instance, value FROM counts")}


def assert_counted(name: str, values: dict[str, Any], root: Path) -> None:
    """One run reads the case's log as a file and counts what is expected."""
    config = load_config(server(root, values).config)
    log = root / "mail.log"
    log.write_bytes((CASES / f"{name}.log").read_bytes())
    moment = datetime.combine(values["modified"], time(9), UTC).timestamp()
    os.utime(log, (moment, moment))
    mails = {slug: instance.mail for slug, instance in config.instances.items() if instance.mail}
    assert config.postfix
    with State(root / "state") as state:
        reader = PostfixLog(Senders(mails), config.postfix.internal_relays, config.timezone, state)
        reading = read_mail_log(state, SOURCE, config.postfix, reader, noon_after(values))
        found = counts_in(state)
    assert found == expected(name)
    assert not reading.failure


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, tmp_path: Path) -> None:
    assert_counted(name, settings(name), tmp_path)


# Which need neither content filters nor envelope senders: then most blocks are read in the fast way.
PLAIN = (
    "answers",
    "damaged_lines",
    "day_of_delivery",
    "leap_day",
    "long_silence",
    "new_year",
    "repeated",
    "syslog_names",
    "utc",
    "who_sent",
)


@pytest.mark.parametrize("name", PLAIN)
def test_case_of_a_server_without_content_filters(name: str, tmp_path: Path) -> None:
    values = settings(name)
    plain = {slug: {key: values[slug][key] for key in ("uids", "sasl")} for slug in ("acme", "beta")}
    assert_counted(name, {**values, **plain, "internal_relays": []}, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_case_read_line_by_line_by_many_runs(name: str, tmp_path: Path) -> None:
    """What is under way between two runs is remembered: every line is read by a process of its own."""
    values = settings(name)
    config = load_config(server(tmp_path, values).config)
    mails = {slug: instance.mail for slug, instance in config.instances.items() if instance.mail}
    context = ""
    with State(tmp_path / "state") as state:
        state.db.execute("PRAGMA synchronous = OFF")  # nothing here is about power cuts
        for line in lines_of(CASES / f"{name}.log"):
            reader = PostfixLog(Senders(mails), values["internal_relays"], config.timezone, state)
            reader.begin(context, values["modified"])
            reader.feed(line)
            context = reader.context()
            with state.transaction():
                reader.store(state)
        reader.finish(noon_after(values))
        with state.transaction():
            reader.store(state)
        found = counts_in(state)
    assert found == expected(name)


def lines_of(path: Path) -> Iterator[bytes]:
    yield from path.read_bytes().splitlines(keepends=True)


def test_messages_that_left_the_queue_are_forgotten(tmp_path: Path) -> None:
    config = load_config(server(tmp_path, settings("who_sent")).config)
    mails = {slug: instance.mail for slug, instance in config.instances.items() if instance.mail}
    lines = b"".join(
        b"2026-01-20T09:00:00+01:00 srv1 postfix/pickup[811]: AA%06X: uid=998 from=<acme>\n"
        b"2026-01-20T09:00:01+01:00 srv1 postfix/qmgr[700]: AA%06X: removed\n" % (n, n)
        for n in range(1000)
    )
    with State(tmp_path / "state") as state:
        reader = PostfixLog(Senders(mails), (), config.timezone, state)
        reader.begin("", settings("who_sent")["modified"])
        reader.feed(lines)
        with state.transaction():
            reader.store(state)
        assert state.db.execute("SELECT count(*) FROM queue").fetchone()[0] == 0
