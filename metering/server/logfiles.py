"""Which log file is which: files are known by what they hold, whatever they are called today.

A log is renamed, copied and truncated, compressed, and a new file takes its old name. So a file is recognised
by a digest of its uncompressed head, confirmed by a digest of the bytes just before the position up to which
it was read. Device and inode numbers only decide between files that look alike.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metering.server.births import born
from metering.server.logstreams import DAMAGED, LogError, open_log

HEAD: Final = 4096
TAIL: Final = 256


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was last seen, and how far it was read (`position`, in uncompressed bytes)."""

    number: int
    path: str
    signature: str
    head_length: int
    head_digest: bytes
    position: int
    tail_digest: bytes
    tail_length: int
    context: str
    finished: bool
    live: bool

    def same_inode(self, file: PresentFile) -> bool:
        return inode(self.signature) == inode(file.signature)


@dataclass(frozen=True, slots=True)
class PresentFile:
    """A file that is there now.

    `head` is the beginning of what it holds, uncompressed; empty when it holds nothing.
    """

    path: Path
    size: int
    modified: float
    signature: str
    compressed: bool
    head: bytes


@dataclass(frozen=True, slots=True)
class Identified:
    """The files to read, each with what is known of it; the files that are gone; what an adminsys should
    know.
    """

    files: Sequence[tuple[PresentFile, KnownFile | None]]
    gone: Sequence[KnownFile]
    notices: Sequence[str]


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def survey(patterns: Iterable[str]) -> tuple[list[PresentFile], list[LogError]]:
    """The log files that match the globs, each once whatever its names, and the reasons why some cannot be
    read.
    """
    files: dict[str, PresentFile] = {}
    problems: list[LogError] = []
    for pattern in patterns:
        for name in sorted(glob.glob(pattern)):  # noqa: PTH207 (absolute patterns)
            path = Path(name)
            try:
                file = _look(path)
            except FileNotFoundError:
                # Renamed since it was listed: the next look finds it.
                continue
            except OSError as error:
                problems.append(unreadable(path, error))
                continue
            except LogError as error:
                # A damaged file beside the plain one is being compressed: the plain one is read.
                if not (error.signature and path.with_suffix("").exists()):
                    problems.append(error)
                continue
            if file:
                files.setdefault(inode(file.signature), file)
    return list(files.values()), problems


def unreadable(path: Path, error: OSError) -> LogError:
    """What the system says about a file, without anything of its content."""
    return LogError(f"{path} cannot be read: {error.strerror or 'input/output error'}")


def _look(path: Path) -> PresentFile | None:
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    stream, compressed = open_log(path)
    with stream:
        # Of what was opened: the name may be that of another file by now.
        status = os.fstat(stream.fileno())
        try:
            head = stream.read(HEAD)
        except DAMAGED:
            raise LogError(f"{path} is damaged: it cannot be uncompressed", signature_of(status)) from None
    return PresentFile(path, status.st_size, status.st_mtime, signature_of(status), compressed, head)


def signature_of(status: os.stat_result) -> str:
    """Two equal ones mean: the same file, unchanged. Before the slash stands which file on which disk."""
    changes = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    return f"{status.st_dev}:{status.st_ino}/{changes}"


def inode(signature: str) -> str:
    """Of a signature, the part that says which file on which disk."""
    return signature.partition("/")[0]


def identify(
    present: Sequence[PresentFile], known: Sequence[KnownFile], born: Callable[[Path], int | None] = born
) -> Identified:
    """Match the files that are there with those that are known; leave out copies of the same content.

    `born` says when a file was made.
    """
    filled = [file for file in present if file.head]
    matches = _match(filled, known)
    kept = [file for file in filled if file in matches]
    # Longest first, plain before compressed: the fuller copy is the one to read.
    rest = sorted((file for file in filled if file not in matches), key=lambda file: (file.compressed, -file.size))
    for file in rest:
        if not any(_same_content(file, other, matches.get(other)) for other in kept):
            kept.append(file)
    used = {match.number for match in matches.values()}
    gone = [one for one in known if one.number not in used]
    truncated = _truncations(present, known, matches, born)
    notices = [
        f"{path} was truncated in place: lines written between its copying and its truncation are lost"
        for path in truncated
    ]
    notices += [
        f"{one.path} is gone, with whatever was written to it after the last reading"
        for one in gone
        if one.live and one.path not in truncated
    ]
    return Identified([(file, matches.get(file)) for file in kept], gone, notices)


def _match(present: Sequence[PresentFile], known: Sequence[KnownFile]) -> dict[PresentFile, KnownFile]:
    """Which present file is which known one: the longest common head first, then the same inode, then plain
    files.
    """
    lengths = {one.head_length for one in known}
    heads = {
        (place, length): digest(file.head[:length])
        for place, file in enumerate(present)
        for length in lengths
        if length <= len(file.head)
    }
    pairs = sorted(
        (
            (
                one.head_length,
                one.same_inode(file),
                not file.compressed,
                str(file.path) == one.path,
                one.number,
                place,
            )
            for place, file in enumerate(present)
            for one in known
            if heads.get((place, one.head_length)) == one.head_digest
        ),
        reverse=True,
    )
    by_number = {one.number: one for one in known}
    matches: dict[PresentFile, KnownFile] = {}
    used: set[int] = set()
    for *_, number, place in pairs:
        file, one = present[place], by_number[number]
        if file not in matches and number not in used and _continues(file, one):
            matches[file] = one
            used.add(number)
    return matches


def _continues(file: PresentFile, one: KnownFile) -> bool:
    """Whether the file still holds what was read of it, up to the same position."""
    if file.signature == one.signature:
        return True
    if not file.compressed and file.size < one.position:
        return False
    return digest(_read_at(file, one.position - one.tail_length, one.tail_length)) == one.tail_digest


def _read_at(file: PresentFile, position: int, length: int) -> bytes:
    try:
        stream, _ = open_log(file.path)
        with stream:
            stream.seek(position)
            return stream.read(length)
    except (OSError, LogError, *DAMAGED):
        return b""


def _same_content(file: PresentFile, other: PresentFile, match: KnownFile | None) -> bool:
    """Whether `file` is a copy of `other`, finished or under way (compression, copytruncate)."""
    length = min(len(file.head), len(other.head))
    if file.head[:length] != other.head[:length]:
        return False
    if file.compressed and file.path.with_suffix("") == other.path:
        return True
    if length == HEAD:
        # A log never repeats 4 KB with the same times; still, plain files are compared at the end of the
        # shorter one.
        if file.compressed or other.compressed:
            return True
        start = min(file.size, other.size) - TAIL
        return _read_at(file, start, TAIL) == _read_at(other, start, TAIL)
    # Short files: a copy under way only when the known one kept its place, else a new log that begins with
    # the same line.
    in_place = match is not None and match.same_inode(other) and match.path == str(other.path)
    return in_place and len(file.head) == length


def _truncations(
    present: Sequence[PresentFile],
    known: Sequence[KnownFile],
    matches: dict[PresentFile, KnownFile],
    born: Callable[[Path], int | None],
) -> list[str]:
    """The files that lost in place what they held: the same inode at the same path, another content.

    A log that was made after the known one was last seen got the inode of one that was deleted meanwhile.
    """
    places = {(str(file.path), inode(file.signature)): file for file in present}
    truncated = []
    for one in known:
        file = places.get((one.path, inode(one.signature))) if one.live else None
        if file and matches.get(file) is not one and not _is_younger(born(file.path), one):
            truncated.append(one.path)
    return truncated


def _is_younger(birth: int | None, one: KnownFile) -> bool:
    """Whether a file was made after `one` was last written to, as far as both is known."""
    _, _, changes = one.signature.partition("/")
    modified = int(changes.split(":")[1]) if changes else None
    return birth is not None and modified is not None and birth > modified
