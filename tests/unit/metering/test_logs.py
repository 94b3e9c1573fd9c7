"""Logs that rotate are counted exactly once: each case does to a log what happens to logs, with a collection
at each step.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.metering.server_side import YESTERDAY, Server, sms_lines

DAY = YESTERDAY.isoformat()
Step = Callable[[Path], object]


def append(number: int, first: int) -> Step:
    def step(log: Path) -> None:
        with log.open("a") as stream:
            stream.write(sms_lines(number, first=first))

    return step


def write(text: str) -> Step:
    def step(log: Path) -> None:
        with log.open("a") as stream:
            stream.write(text)

    return step


def rename(log: Path) -> None:
    """logrotate, `create`."""
    older = sorted(log.parent.glob(f"{log.name}.[0-9]*"), reverse=True)
    for path in older:
        number, _, rest = path.name.removeprefix(f"{log.name}.").partition(".")
        path.rename(log.with_name(f"{log.name}.{int(number) + 1}" + (f".{rest}" if rest else "")))
    log.rename(log.with_name(f"{log.name}.1"))
    log.touch()


def copy_and_truncate(log: Path) -> None:
    shutil.copy2(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def compress(name: str, how: Callable[[bytes], bytes], ending: str) -> Step:
    def step(log: Path) -> None:
        plain = log.with_name(f"{log.name}{name}")
        log.with_name(f"{log.name}{name}{ending}").write_bytes(how(plain.read_bytes()))
        plain.unlink()

    return step


def start_compressing(log: Path) -> None:
    """gzip is at work, or was killed: both files are there, and the new one is not whole."""
    plain = log.with_name(f"{log.name}.1")
    log.with_name(f"{log.name}.1.gz").write_bytes(gzip.compress(plain.read_bytes())[:-20])


def keep_compressed_beside(log: Path) -> None:
    plain = log.with_name(f"{log.name}.1")
    log.with_name(f"{log.name}.1.gz").write_bytes(gzip.compress(plain.read_bytes()))


def finish_compressing(log: Path) -> None:
    log.with_name(f"{log.name}.1.gz").unlink()
    compress(".1", gzip.compress, ".gz")(log)


def start_copying(size: int | None = None) -> Step:
    """`copytruncate` is at work: a copy, whole or not, stands beside a log that was not truncated yet."""

    def step(log: Path) -> None:
        log.with_name(f"{log.name}.1").write_bytes(log.read_bytes()[:size])

    return step


def finish_copying(log: Path) -> None:
    copy_and_truncate(log)


def recreate_with_same_line(log: Path) -> None:
    rename(log)
    log.write_text(sms_lines(1, first=0))


gz = compress(".1", gzip.compress, ".gz")
dateext = f"-{DAY.replace('-', '')}"

# What is done, and how many lines the logs then ever held.
CASES: dict[str, tuple[list[Step], int]] = {
    "grows": ([append(3, 0), append(4, 3)], 7),
    "nothing new": ([append(3, 0), lambda log: None], 3),
    "empty, then grows": ([lambda log: log.touch(), append(2, 0)], 2),
    "renamed": ([append(3, 0), append(2, 3), rename, append(4, 5)], 9),
    "renamed, more lines before": (
        [append(3, 0), lambda log: (append(2, 3)(log), rename(log)), append(4, 5)],
        9,
    ),
    "renamed and compressed at once": (
        [append(3, 0), lambda log: (append(2, 3)(log), rename(log), gz(log))],
        5,
    ),
    "delaycompress": ([append(3, 0), rename, append(2, 3), gz, append(1, 5)], 6),
    "rotated twice between runs": (
        [append(3, 0), lambda log: (append(2, 3)(log), rename(log), append(2, 5)(log), gz(log), rename(log))],
        7,
    ),
    "bzip2": ([append(300, 0), rename, compress(".1", bz2.compress, ".bz2"), append(1, 300)], 301),
    "xz": ([append(300, 0), rename, compress(".1", lzma.compress, ".xz"), append(1, 300)], 301),
    "dateext": (
        [append(3, 0), lambda log: (log.rename(log.with_name(log.name + dateext)), append(2, 3)(log))],
        5,
    ),
    "compression under way, short log": ([append(3, 0), rename, start_compressing, finish_compressing], 3),
    "compression under way, long log": ([append(300, 0), rename, start_compressing, finish_compressing], 300),
    "compression just begun": (
        [append(3, 0), rename, lambda log: log.with_name("metering.log.1.gz").write_bytes(gzip.compress(b"")[:10])],
        3,
    ),
    "compressed, but not removed yet": (
        [append(3, 0), rename, keep_compressed_beside, lambda log: log.with_name("metering.log.1").unlink()],
        3,
    ),
    "compressed, but not removed yet, never read before": (
        [lambda log: (append(3, 0)(log), rename(log), keep_compressed_beside(log)), append(1, 9)],
        4,
    ),
    "unterminated last line of a compressed log": ([write(sms_lines(2)[:-1]), rename, gz], 2),
    "another log with the same first 4 KB": (
        [append(300, 0), lambda log: (log.unlink(), append(60, 0)(log), append(400, 500)(log))],
        760,
    ),
    "compression under way, never read before": (
        [lambda log: (append(300, 0)(log), rename(log), start_compressing(log)), finish_compressing],
        300,
    ),
    "copytruncate": ([append(300, 0), copy_and_truncate, append(4, 300)], 304),
    "copytruncate, more lines before": (
        [append(300, 0), lambda log: (append(5, 300)(log), copy_and_truncate(log)), append(4, 305)],
        309,
    ),
    "copytruncate, short log": ([append(3, 0), copy_and_truncate, append(4, 3)], 7),
    "copying under way, long log": ([append(300, 0), start_copying(), finish_copying, append(4, 300)], 304),
    "half copied, long log": ([append(300, 0), start_copying(9000), finish_copying, append(4, 300)], 304),
    "half copied, short log": ([append(3, 0), start_copying(100), finish_copying, append(4, 3)], 7),
    "copied, short log": ([append(3, 0), start_copying(), finish_copying, append(4, 3)], 7),
    "recreated with the same first line": ([append(3, 0), recreate_with_same_line, append(2, 9)], 6),
    "unterminated last line": ([write(sms_lines(2)[:-1]), write("\n" + sms_lines(1, first=5))], 3),
    "line cut in half, then more": ([write(sms_lines(1) + sms_lines(1, first=1)[:70]), append(2, 2)], 2),
    "NUL bytes and invalid UTF-8": (
        [lambda log: log.write_bytes(b"\0\0\xff\xfe\n" + sms_lines(2).encode()), append(1, 2)],
        3,
    ),
    "a line of 1 MB": ([write("x" * 1_000_000 + "\n" + sms_lines(2)), append(1, 2)], 3),
    "a line of 40 MB": ([write("x" * 40_000_000 + "\n" + sms_lines(2)), append(1, 2)], 3),
    "a new log begins like the compressed one": (
        [lambda log: (append(300, 0)(log), rename(log), gz(log), append(1, 0)(log)), append(1, 300)],
        302,
    ),
    "inode used again": (
        [append(300, 0), lambda log: (rename(log), gz(log), append(2, 300)(log)), append(1, 302)],
        303,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_line_counts_once(name: str, tmp_path: Path) -> None:
    steps, total = CASES[name]
    server = Server(tmp_path)
    for step in steps:
        step(server.log)
        assert not server.collect().failures
        assert not server.collect().failures
    assert server.values("sms_sent") == {DAY: total}


GONE_BEFORE_THE_END = {"another log with the same first 4 KB"}


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
