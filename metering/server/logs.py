"""Reading logs that rotate, exactly once, in blocks of whole lines, with a bounded memory.

What is counted in a file and how far it was read are committed in one transaction (state.py). A last line
without its end is left for the next run, unless nobody will ever end it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from metering.server.logfiles import (
    TAIL,
    Identified,
    KnownFile,
    PresentFile,
    digest,
    identify,
    inode,
    signature_of,
    survey,
    unreadable,
)
from metering.server.logstreams import DAMAGED, LogError, LogStream, open_log
from metering.server.moments import Moment
from metering.server.state import State

BLOCK: Final = 1 << 18
# A line longer than this is no log line: it is passed over rather than kept in memory.
LONGEST_LINE: Final = 16 << 20
# Counts and position are committed at least this often, so that a run that is killed has not worked in vain.
COMMIT_EVERY: Final = 64 << 20
# An unfinished last line of a log that is not the newest one is not going to be finished after this time.
ABANDONED_SECONDS: Final = 3600


class Consumer(Protocol):
    """What makes counts out of lines."""

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        """The time of the first line that has one; `reference` is the date of the file."""
        ...

    def begin(self, context: str, reference: date) -> None:
        """A file begins, or goes on where `context` was left."""
        ...

    def feed(self, block: bytes) -> None:
        """Count whole lines: `block` begins at the beginning of a line and ends with a line feed."""
        ...

    def context(self) -> str:
        """What must be remembered to go on with the same file later."""
        ...

    def finish(self, now: datetime) -> None:
        """Every file was read; what waited for later lines is counted as it stands."""
        ...

    def store(self, state: State) -> None:
        """Write down what was counted since the last time; part of the transaction under way."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How reading a source went.

    `failure` is empty when everything was read; `notices` are what an adminsys should know.
    """

    failure: str = ""
    notices: Sequence[str] = ()


def read_logs(state: State, source: str, patterns: Sequence[str], consumer: Consumer, now: datetime) -> Reading:
    """Read what is new in the logs of a source.

    What can be read is read and committed, whatever else fails.
    """
    known = _known(state, source)
    present, problems = survey(patterns)
    found = identify(present, known)
    if any(one.live for one in found.gone):
        # Perhaps the log was renamed between listing and looking: look again before calling it lost.
        present, problems = survey(patterns)
        found = identify(present, known)
    if not present and not problems:
        return Reading(f"there is no log: {', '.join(patterns)}")
    problems = [problem for problem in problems if state.first_time(problem.signature)]
    moments = {file: consumer.first_moment(file.head, _reference(file)) for file, _ in found.files}
    ordered = sorted(found.files, key=lambda pair: _order(pair[0], moments[pair[0]]))
    newest = ordered[-1][0] if ordered else None
    _note_coverage(state, source, present, [moment for moment in moments.values() if moment], found)
    for file, one in ordered:
        try:
            _FileReading(state, source, file, one, consumer, file is newest).run(now)
        except (FileNotFoundError, OtherFileError):
            # Rotated since it was listed: the next run reads on.
            continue
        except ChangedError:
            # What was read last is nobody's; it was not committed, and must not be.
            return Reading(f"{file.path} was truncated while it was read: the next run reads on")
        except LogError as problem:
            problems.append(problem)
    consumer.finish(now)
    with state.transaction():
        consumer.store(state)
    return Reading("; ".join(problem.text for problem in problems), found.notices)


def read_whole(patterns: Sequence[str], consumer: Consumer) -> tuple[str, list[str]]:
    """Read the logs of a source from their beginning, remembering nothing; the day of their first line, and why some
    of them could not be read.
    """
    present, problems = survey(patterns)
    files = [file for file, _ in identify(present, []).files]
    moments = {file: consumer.first_moment(file.head, _reference(file)) for file in files}
    for file in sorted(files, key=lambda one: _order(one, moments[one])):
        try:
            stream, _ = open_log(file.path)
            with stream:
                consumer.begin("", _reference(file))
                for block in Lines(stream, file, None, final=True):
                    consumer.feed(block)
        except LogError as problem:
            problems.append(problem)
        except OSError as error:
            problems.append(unreadable(file.path, error))
        except (OtherFileError, ChangedError):
            problems.append(LogError(f"{file.path} was rotated meanwhile: run this again"))
    oldest = min((moment.day for moment in moments.values() if moment), default="")
    return oldest, [problem.text for problem in problems]


def _order(file: PresentFile, moment: Moment | None) -> tuple[float, str]:
    """Oldest first: by the time of the first line, else by that of the file."""
    return (moment.minute * 60.0 if moment else file.modified), str(file.path)


def _reference(file: PresentFile) -> date:
    return datetime.fromtimestamp(file.modified).date()  # noqa: DTZ006 (a log without years is in local time)


def _note_coverage(
    state: State, source: str, present: Sequence[PresentFile], moments: Iterable[Moment], found: Identified
) -> None:
    first = min((moment.day for moment in moments), default=None)
    with state.transaction():
        # More than one file means that the log is rotated, and that older ones may have been thrown away.
        state.note_source(source, first, rotated=len(present) > 1)
        for one in found.gone:
            state.db.execute("UPDATE files SET live = 0 WHERE id = ?", (one.number,))


class _FileReading:
    """One file, read from where it was left; what was counted is committed on the way and at its end."""

    def __init__(
        self,
        state: State,
        source: str,
        file: PresentFile,
        known: KnownFile | None,
        consumer: Consumer,
        live: bool,
    ) -> None:
        self._state = state
        self._source = source
        self._file = file
        self._known = known
        self._consumer = consumer
        self._live = live
        self._number = known.number if known else None

    def run(self, now: datetime) -> None:
        file, known = self._file, self._known
        final = file.compressed or (not self._live and now.timestamp() - file.modified > ABANDONED_SECONDS)
        if known and self._nothing_new(known, final):
            return
        try:
            stream, _ = open_log(file.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(file.path, error) from None
        with stream:
            lines = Lines(stream, file, known, final)
            self._consumer.begin(known.context if known else "", _reference(file))
            try:
                self._feed(lines)
            except LogError as problem:
                # What came before the fault is counted. A damaged file is then known as it is, so that this
                # is told once.
                lines.finished = bool(problem.signature)
                self._commit(lines, problem.signature)
                raise
            self._commit(lines, file.signature)

    def _nothing_new(self, known: KnownFile, final: bool) -> bool:
        same = known.signature == self._file.signature and known.path == str(self._file.path)
        return same and known.live == self._live and (known.finished or not final)

    def _feed(self, lines: Lines) -> None:
        committed = lines.position
        for block in lines:
            self._consumer.feed(block)
            if lines.position - committed >= COMMIT_EVERY:
                # Without the signature: it stands for a file that was read to its end.
                self._commit(lines, "")
                committed = lines.position

    def _commit(self, lines: Lines, signature: str) -> None:
        lines.confirm()
        file = self._file
        row = (
            self._number,
            self._source,
            str(file.path),
            signature or f"{inode(file.signature)}/",
            len(file.head),
            digest(file.head),
            lines.position,
            digest(lines.tail),
            len(lines.tail),
            self._consumer.context(),
            lines.finished,
            self._live,
        )
        marks = ", ".join("?" * len(row))
        with self._state.transaction():
            self._consumer.store(self._state)
            cursor = self._state.db.execute(f"INSERT OR REPLACE INTO files VALUES ({marks})", row)  # noqa: S608 (only marks)
        self._number = self._number or cursor.lastrowid


def _known(state: State, source: str) -> list[KnownFile]:
    rows = state.db.execute(
        "SELECT id, path, signature, head_length, head_digest, position, tail_digest, tail_length, context,"
        " finished, live FROM files WHERE source = ?",
        (source,),
    )
    return [KnownFile(*row) for row in rows]


class OtherFileError(Exception):
    """Under the path of a log stands another file than the one that was listed."""


class ChangedError(Exception):
    """What was read of a log does not stand there any more."""


class Lines:
    """Blocks of whole lines of an open log, from where it is known; `position` and `tail` follow what was given out.

    `final`: a last line without a line feed is given out too. `finished` says at the end whether nothing was
    left over. OtherFileError when it is not the file that was listed.
    """

    def __init__(self, stream: LogStream, file: PresentFile, known: KnownFile | None, final: bool) -> None:
        self._stream = stream
        self._file = file
        self._final = final
        self.position = known.position if known else 0
        self.finished = False
        if inode(signature_of(os.fstat(stream.fileno()))) != inode(file.signature):
            raise OtherFileError
        try:
            head = stream.read(len(file.head))
            self.tail = self._read_before(self.position, known.tail_length if known else 0)
        except (OSError, *DAMAGED) as error:
            raise self._fault(error) from None
        if head != file.head or (known and digest(self.tail) != known.tail_digest):
            raise OtherFileError

    def confirm(self) -> None:
        """ChangedError unless the head and what was given out last still stand there: then all came from one file."""
        if self._file.compressed:
            return
        try:
            head = self._read_before(len(self._file.head), len(self._file.head))
            tail = self._read_before(self.position, len(self.tail))
        except OSError as error:
            raise self._fault(error) from None
        if (head, tail) != (self._file.head, self.tail):
            raise ChangedError

    def _read_before(self, position: int, length: int) -> bytes:
        """So many bytes before a position, where the stream then stands."""
        self._stream.seek(position - length)
        return self._stream.read(length) if length else b""

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        skipping = False
        while chunk := self._chunk(len(rest)):
            data = rest + chunk if rest else chunk
            end = data.rfind(b"\n") + 1
            if end == 0 and len(data) > LONGEST_LINE:
                self._advance(data)
                rest, skipping = b"", True
                continue
            block, rest = data[:end], data[end:]
            if block:
                self._advance(block)
                yield block[block.find(b"\n") + 1 :] if skipping else block
                skipping = False
        if rest and self._final:
            self._advance(rest)
            if not skipping:
                yield rest + b"\n"
            rest = b""
        self.finished = not rest

    def _chunk(self, ahead: int) -> bytes:
        """What follows the position by `ahead` bytes."""
        try:
            if not self._file.compressed:
                # Somebody else may have moved: what was given out last was looked at again.
                self._stream.seek(self.position + ahead)
            return self._stream.read(BLOCK)
        except (OSError, *DAMAGED) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> LogError:
        """A fault of the file, told apart from those of whoever consumes the lines."""
        if isinstance(error, DAMAGED):
            text = f"{self._file.path} is damaged: what follows byte {self.position} of its text is lost"
            return LogError(text, self._file.signature)
        return unreadable(self._file.path, error) if isinstance(error, OSError) else LogError(str(error))

    def _advance(self, given: bytes) -> None:
        self.position += len(given)
        self.tail = (self.tail + given[-TAIL:])[-TAIL:]
