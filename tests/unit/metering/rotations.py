"""What happens to logs: each case is a list of steps that are done to a log, and how many lines it then ever held that
count. The log holds SMS, or e-mails when it is called mail.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.unit.metering.server_side import YESTERDAY, sms_lines

DAY = YESTERDAY.isoformat()
Step = Callable[[Path], object]


def lines(log: Path, number: int, first: int = 0) -> str:
    """So many lines that count one each: SMS, or in a log called mail e-mails, whose submission stands before each."""
    return mail_lines(number, first) if log.name.startswith("mail") else sms_lines(number, first=first)


def mail_lines(number: int, first: int = 0) -> str:
    stamps = (f"{DAY}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}+01:00" for n in range(first, first + number))
    return "".join(
        f"{stamp} srv1 postfix/pickup[1]: {first + n:08X}: uid=998 from=<acme>\n"
        f"{stamp} srv1 postfix/smtp[2]: {first + n:08X}: to=<x@example.org>, relay=mx.example.org[192.0.2.25]:25,"
        " delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 OK)\n"
        for n, stamp in enumerate(stamps)
    )


def append(number: int, first: int) -> Step:
    return write(lambda log: lines(log, number, first))


def write(text: Callable[[Path], str]) -> Step:
    def step(log: Path) -> None:
        with log.open("a") as stream:
            stream.write(text(log))

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
    log.write_text(lines(log, 1))


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def rotate_weekly(log: Path, weeks: int) -> None:
    """Nobody collects for so long: `create`, `compress`, `delaycompress`."""
    for week in range(weeks):
        append(5, 100 * (week + 1))(log)
        rename(log)
        older = log.with_name(f"{log.name}.2")
        if older.exists():
            compress(".2", gzip.compress, ".gz")(log)
        append(2 if week < weeks - 1 else 0, 100 * (week + 1) + 50)(log)


gz = compress(".1", gzip.compress, ".gz")
zst = compress(".1", zstd, ".zst")
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
    "zstd": ([append(300, 0), rename, compress(".1", zstd, ".zst"), append(1, 300)], 301),
    "zstd, never read before": ([lambda log: (append(300, 0)(log), rename(log), zst(log)), append(1, 300)], 301),
    "compressing by zstd under way": (
        [
            lambda log: (append(300, 0)(log), rename(log)),
            lambda log: log.with_name(f"{log.name}.1.zst").write_bytes(zstd(lines(log, 300).encode())[:-9]),
            zst,
        ],
        300,
    ),
    "three weeks of silence": ([append(3, 0), lambda log: rotate_weekly(log, 3), append(1, 900)], 23),
    "NUL bytes where a disk was full": ([append(3, 0), write(lambda log: "\0" * 5000), append(2, 3)], 4),
    "dateext": (
        [append(3, 0), lambda log: (log.rename(log.with_name(log.name + dateext)), append(2, 3)(log))],
        5,
    ),
    "compression under way, short log": ([append(3, 0), rename, start_compressing, finish_compressing], 3),
    "compression under way, long log": ([append(300, 0), rename, start_compressing, finish_compressing], 300),
    "compression just begun": (
        [append(3, 0), rename, lambda log: log.with_name(f"{log.name}.1.gz").write_bytes(gzip.compress(b"")[:10])],
        3,
    ),
    "compressed, but not removed yet": (
        [append(3, 0), rename, keep_compressed_beside, lambda log: log.with_name(f"{log.name}.1").unlink()],
        3,
    ),
    "compressed, but not removed yet, never read before": (
        [lambda log: (append(3, 0)(log), rename(log), keep_compressed_beside(log)), append(1, 9)],
        4,
    ),
    "unterminated last line of a compressed log": ([write(lambda log: lines(log, 2)[:-1]), rename, gz], 2),
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
    "unterminated last line": ([write(lambda log: lines(log, 2)[:-1]), write(lambda log: "\n" + lines(log, 1, 5))], 3),
    "line cut in half, then more": ([write(lambda log: lines(log, 1) + lines(log, 1, 1)[:70]), append(2, 2)], 2),
    "NUL bytes and invalid UTF-8": (
        [lambda log: log.write_bytes(b"\0\0\xff\xfe\n" + lines(log, 2).encode()), append(1, 2)],
        3,
    ),
    "a line of 1 MB": ([write(lambda log: "x" * 1_000_000 + "\n" + lines(log, 2)), append(1, 2)], 3),
    "a line of 20 MB": ([write(lambda log: "x" * 20_000_000 + "\n" + lines(log, 2)), append(1, 2)], 3),
    "a new log begins like the compressed one": (
        [lambda log: (append(300, 0)(log), rename(log), gz(log), append(1, 0)(log)), append(1, 300)],
        302,
    ),
    "inode used again": (
        [append(300, 0), lambda log: (rename(log), gz(log), append(2, 300)(log)), append(1, 302)],
        303,
    ),
}

# These lose a file that nobody may have read by then.
GONE_BEFORE_THE_END = frozenset({"another log with the same first 4 KB"})
# Of these it is told that something may be lost.
TOLD = frozenset(name for name in CASES if name.startswith(("copytruncate", "cop", "half"))) | GONE_BEFORE_THE_END
