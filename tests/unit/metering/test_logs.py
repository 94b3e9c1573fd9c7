"""Logs that rotate are counted exactly once: each case does to a log what happens to logs, with a collection
at each step.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from metering.server import loglines, logs
from metering.server.births import born
from metering.server.logfiles import KnownFile, PresentFile, digest, identify
from metering.server.moments import Moment
from metering.server.state import State
from tests.unit.metering.rotations import (
    CASES,
    DAY,
    GONE_BEFORE_THE_END,
    TOLD,
    append,
    copy_and_truncate,
    gz,
    rename,
    zst,
)
from tests.unit.metering.server_side import NOON, Server, sms_lines


@pytest.mark.parametrize("name", CASES)
def test_every_line_counts_once(name: str, tmp_path: Path) -> None:
    steps, total = CASES[name]
    server = Server(tmp_path)
    told = []
    for step in steps:
        step(server.log)
        outcomes = [server.collect(), server.collect()]
        assert not [failure for outcome in outcomes for failure in outcome.failures]
        told += [notice for outcome in outcomes for notice in outcome.notices]
    assert server.values("sms_sent") == {DAY: total}
    assert bool(told) == (name in TOLD)


@pytest.mark.parametrize("name", sorted(CASES.keys() - GONE_BEFORE_THE_END))
def test_one_clean_pass_counts_the_same(name: str, tmp_path: Path) -> None:
    steps, total = CASES[name]
    server = Server(tmp_path)
    for step in steps:
        step(server.log)
    server.collect()
    assert server.values("sms_sent") == {DAY: total}


def test_a_truncation_is_reported_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    append(300, 0)(server.log)
    server.collect()
    copy_and_truncate(server.log)
    append(4, 300)(server.log)
    assert [notice for notice in server.collect().notices if "truncated" in notice]
    assert not server.collect().notices


def test_a_log_that_is_gone_is_reported_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    append(3, 0)(server.log)
    server.collect()
    server.log.unlink()
    server.log.write_text(sms_lines(1, first=50))
    assert [notice for notice in server.collect().notices if "is gone" in notice or "truncated" in notice]
    assert not server.collect().notices
    assert server.values("sms_sent") == {DAY: 4}


def test_a_normal_rotation_is_silent(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for number in range(6):
        append(50, number * 50)(server.log)
        assert not server.collect().notices
        rename(server.log)
        gz(server.log)
    assert server.values("sms_sent") == {DAY: 300}


def test_a_damaged_file_is_told_once_and_its_good_part_counts(tmp_path: Path) -> None:
    server = Server(tmp_path)
    whole = gzip.compress(sms_lines(20_000).encode())
    server.log.with_name("metering.log.1.gz").write_bytes(whole[: len(whole) // 2])
    append(1, 0)(server.log)
    outcome = server.collect()
    assert [reason for _, reason in outcome.failures if "is damaged" in reason]
    assert not server.collect().failures
    assert 1 < server.values("sms_sent")[DAY] < 20_001


def test_an_unreadable_log_fails_the_source_and_is_caught_up(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / "app" / "metering.log.1").symlink_to("/proc/self/mem")
    append(2, 0)(server.log)
    # Not a log at all, but a file that cannot be read even by root.
    outcome = server.collect()
    assert "cannot be read" in outcome.failures[0][1]
    assert server.failed("sms_sent")
    (tmp_path / "app" / "metering.log.1").unlink()
    assert not server.collect().failures
    assert server.values("sms_sent") == {DAY: 2}


def test_no_log_at_all_is_a_failure_and_an_empty_log_is_zero(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert "there is no log" in server.collect().failures[0][1]
    server.log.touch()
    assert not server.collect().failures
    assert server.values("sms_sent") == {DAY: 0}


class Watching:
    """A consumer that counts lines, and does something to the logs while it is asked."""

    def __init__(
        self, at_first_moment: Callable[[], object] | None = None, at_feed: Callable[[], object] | None = None
    ):
        self.lines = 0
        self._at_first_moment = at_first_moment
        self._at_feed = at_feed

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        del head, reference
        if self._at_first_moment:
            self._at_first_moment()
            self._at_first_moment = None
        return None

    def begin(self, context: str, reference: date) -> None:
        del context, reference

    def feed(self, block: bytes) -> None:
        self.lines += block.count(b"\n")
        if self._at_feed:
            self._at_feed()
            self._at_feed = None

    def context(self) -> str:
        return ""

    def finish(self, now: object) -> None:
        del now

    def store(self, state: State) -> None:
        state.add_count(DAY, "acme", "sms_sent", self.lines)
        self.lines = 0


def read(root: Path, consumer: Watching) -> logs.Reading:
    with State(root / "state") as state:
        return logs.read_logs(state, "test", [str(root / "app.log*")], consumer, NOON)


def counted(root: Path) -> int:
    with State(root / "state") as state:
        rows = state.db.execute("SELECT value FROM counts").fetchall()
    return sum(value for (value,) in rows)


def rename_and_compress(log: Path) -> None:
    rename(log)
    gz(log)


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate, rename_and_compress])
@pytest.mark.parametrize("known", [False, True])
def test_rotated_between_listing_and_reading(rotate: Callable[[Path], object], known: bool, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    append(300, 0)(log)
    if known:
        read(tmp_path, Watching())
        append(20, 300)(log)
    total = 320 if known else 300

    reading = read(tmp_path, Watching(at_first_moment=lambda: (rotate(log), append(30, 500)(log))))
    read(tmp_path, Watching())

    assert not reading.failure
    assert counted(tmp_path) == total + 30


def test_truncated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of one content and the other is thrown away, and read again from where it stands."""
    monkeypatch.setattr(loglines, "BLOCK", 4096)
    log = tmp_path / "app.log"
    append(300, 0)(log)

    def rotate() -> None:
        copy_and_truncate(log)
        append(400, 1000)(log)

    reading = read(tmp_path, Watching(at_feed=rotate))

    assert "was truncated while it was read" in reading.failure
    assert counted(tmp_path) == 0
    assert not read(tmp_path, Watching()).failure
    assert counted(tmp_path) == 700


def test_a_new_log_with_the_inode_of_a_deleted_one_is_no_truncation() -> None:
    """Rotated twice between two runs, and the file system used the inode again: nothing is lost, nothing is told."""
    seen, now = 1_000, 2_000
    old, new = b"old" * 2000, b"new" * 2000
    known = KnownFile(
        1, "/log", f"1:7/9:{seen}:{seen}", 4096, digest(old[:4096]), 6000, digest(old[-256:]), 256, "", True, True
    )
    compressed = PresentFile(Path("/log.2.gz"), 100, 0.0, f"1:8/100:{now}:{now}", True, old[:4096])
    live = PresentFile(Path("/log"), 6000, 0.0, f"1:7/6000:{now}:{now}", False, new[:4096])

    def notices(born: int | None) -> str:
        return " ".join(identify([compressed, live], [known], lambda path: born).notices)

    assert "truncated" not in notices(born=seen + 1)
    assert "truncated" in notices(born=seen - 500)
    # Where nobody knows when the log was made, a loss is told rather than hidden.
    assert "truncated" in notices(born=None)


def test_the_system_says_when_a_file_was_made(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    born_first = born(first)
    os.utime(first, (1, 1))
    second.touch()
    born_second = born(second)
    assert born_first is not None
    assert born_second is not None
    assert abs(born_first - second.stat().st_mtime_ns) < 60 * 10**9
    assert born_first <= born_second


def test_without_the_zstd_command_the_file_is_named_and_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    append(3, 0)(server.log)
    rename(server.log)
    zst(server.log)
    append(1, 3)(server.log)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        reason = server.collect().failures[0][1]
    assert reason.endswith("metering.log.1.zst is compressed by zstd, which is not installed here: apt install zstd")
    assert not server.collect().failures
    assert server.values("sms_sent") == {DAY: 4}


def test_a_damaged_zstd_file_is_told_once_and_its_good_part_counts(tmp_path: Path) -> None:
    server = Server(tmp_path)
    log = server.log
    append(40_000, 0)(log)
    rename(log)
    zst(log)
    older = log.with_name("metering.log.1.zst")
    older.write_bytes(older.read_bytes()[:-1000])
    append(1, 0)(log)
    assert [reason for _, reason in server.collect().failures if "is damaged" in reason]
    assert not server.collect().failures
    assert 1 < server.values("sms_sent")[DAY] < 40_001
