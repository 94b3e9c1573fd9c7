"""The journal: append-only lines, and the states derived from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.errors import ChillError, InvalidFiles
from provision.journal import Entry, Journal, letter_sent, overall, reason, states, toolkit_version, unfinished

PRODUCTION, TEST = DOMAINS = ("acme.chill.pro", "acme-test.chill.pro")
STARTED = ("create", "started", "", {})
READY = ("create", "ended", "ok", dict.fromkeys(DOMAINS, "ready"))
INTERRUPTED = ("create", "ended", "interrupted", {})
TEST_FAILED = ("create", "ended", "failed", {TEST: "failed"})
SUSPENDED = ("suspend", "ended", "ok", dict.fromkeys(DOMAINS, "suspended"))
RESUMED = ("resume", "ended", "ok", dict.fromkeys(DOMAINS, "ready"))
ARCHIVED = ("archive", "ended", "ok", dict.fromkeys(DOMAINS, "archived"))
APPLIED = ("apply", "ended", "ok", {})
DEGRADED = ("create", "ended", "ok", {PRODUCTION: "ready", TEST: "degraded"})
STILL_DEGRADED = ("apply", "ended", "ok", {TEST: "degraded"})
APPLY_FAILED = ("apply", "ended", "failed", {PRODUCTION: "failed"})


def entries(*lines: tuple[str, str, str, dict[str, str]]) -> list[Entry]:
    return [
        Entry("2026-11-23T00:00:00Z", "ada@control", command, event, "0.1.0", result, environments)
        for command, event, result, environments in lines
    ]


@pytest.mark.parametrize(
    "lines,production,test",
    [
        ([], "planned", "planned"),
        ([STARTED], "creating", "creating"),
        ([STARTED, READY], "ready", "ready"),
        ([STARTED, INTERRUPTED], "creating", "creating"),
        ([STARTED, TEST_FAILED], "creating", "failed"),
        ([STARTED, TEST_FAILED, STARTED], "creating", "creating"),
        ([STARTED, TEST_FAILED, STARTED, READY], "ready", "ready"),
        ([STARTED, READY, STARTED, INTERRUPTED], "ready", "ready"),
        ([STARTED, READY, APPLY_FAILED], "failed", "ready"),
        ([STARTED, READY, APPLY_FAILED, APPLIED], "ready", "ready"),
        ([STARTED, TEST_FAILED, APPLIED], "creating", "failed"),
        ([STARTED, READY, SUSPENDED], "suspended", "suspended"),
        ([STARTED, READY, SUSPENDED, APPLIED], "suspended", "suspended"),
        ([STARTED, READY, SUSPENDED, APPLY_FAILED, APPLIED], "suspended", "suspended"),
        ([STARTED, READY, SUSPENDED, RESUMED], "ready", "ready"),
        ([STARTED, TEST_FAILED, ARCHIVED], "archived", "archived"),
        ([STARTED, DEGRADED], "ready", "degraded"),
        ([STARTED, DEGRADED, STARTED], "ready", "degraded"),
        ([STARTED, DEGRADED, STILL_DEGRADED], "ready", "degraded"),
        ([STARTED, DEGRADED, APPLIED], "ready", "ready"),
        ([STARTED, READY, STILL_DEGRADED, APPLIED], "ready", "ready"),
        ([STARTED, DEGRADED, APPLY_FAILED, APPLIED], "ready", "ready"),
    ],
)
def test_states_follow_from_what_was_done(
    lines: list[tuple[str, str, str, dict[str, str]]], production: str, test: str
) -> None:
    assert states(entries(*lines), DOMAINS) == {PRODUCTION: production, TEST: test}


def test_the_reason_of_a_state_is_that_of_the_newest_line_that_names_it() -> None:
    told = [
        Entry("2026-11-23T00:00:00Z", "ada@control", "create", "ended", "0.1.0", "ok", {TEST: "degraded"}, None, detail)
        for detail in ("an earlier reason", f"{PRODUCTION}: another\n{TEST}: no record leads here")
    ]
    assert reason(told, TEST) == "no record leads here"
    assert reason(told, PRODUCTION) == ""


@pytest.mark.parametrize(
    "lines,is_unfinished",
    [
        ([], False),
        ([STARTED], True),
        ([STARTED, TEST_FAILED], True),
        ([STARTED, INTERRUPTED, STARTED], True),
        ([STARTED, TEST_FAILED, APPLIED], True),
        ([STARTED, READY], False),
        ([STARTED, READY, APPLY_FAILED], False),
        ([STARTED, READY, STARTED, TEST_FAILED], False),
        ([STARTED, TEST_FAILED, ARCHIVED], False),
    ],
)
def test_a_creation_is_unfinished_until_it_once_ended_well(
    lines: list[tuple[str, str, str, dict[str, str]]], is_unfinished: bool
) -> None:
    assert unfinished(entries(*lines), DOMAINS) == is_unfinished


def test_an_instance_is_as_far_as_its_lesser_environment() -> None:
    assert overall(["ready", "ready"]) == "ready"
    assert overall(["ready", "failed"]) == "failed"
    assert overall(["ready", "creating"]) == "creating"
    assert overall(["planned", "planned"]) == "planned"


def test_lines_are_appended_with_who_when_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    journal = Journal(tmp_path / "journal")
    journal.add("acme", "create", "started")
    first = journal.path("acme").read_bytes()
    journal.add("acme", "create", "ended", result="ok", environments={PRODUCTION: "ready"}, seconds=12.34)
    text = journal.path("acme").read_bytes()
    assert text.startswith(first)
    line = json.loads(text.splitlines()[1])
    assert line["who"].startswith("ada@")
    assert line["time"].endswith("Z")
    assert line["version"] == toolkit_version()
    assert (line["result"], line["environments"], line["seconds"]) == ("ok", {PRODUCTION: "ready"}, 12.3)
    assert [entry.event for entry in journal.read("acme")] == ["started", "ended"]
    assert not journal.read("other")


def test_the_letter_counts_as_sent_only_when_it_was_delivered(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add("acme", "create", "letter_sent", result="failed", detail="refused")
    assert not letter_sent(journal.read("acme"))
    journal.add("acme", "create", "letter_sent", result="ok")
    assert letter_sent(journal.read("acme"))


def test_a_line_cut_by_a_power_failure_is_told_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.path("acme").write_text('{"time": "2026-11-')
    journal.add("acme", "create", "started")
    with pytest.raises(InvalidFiles) as caught:
        journal.read("acme")
    assert [problem.place for problem in caught.value.problems] == ["journal/acme.jsonl:1"]
    assert json.loads(journal.path("acme").read_text().splitlines()[1])["event"] == "started"


def test_a_journal_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file, not a directory")
    with pytest.raises(ChillError) as caught:
        Journal(tmp_path / "journal").add("acme", "create", "started")
    assert str(tmp_path / "journal" / "acme.jsonl") in caught.value.message
