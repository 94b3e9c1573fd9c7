"""Reading logs that rotate, exactly once, in blocks of whole lines, with a bounded memory.

What is counted in a file and how far it was read are committed in one transaction (state.py). A last line
without its end is left for the next run, unless nobody will ever end it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from metering.server.logfiles import Identified, KnownFile, PresentFile, digest, identify, inode, survey, unreadable
from metering.server.loglines import ChangedError, Lines, OtherFileError
from metering.server.logstreams import LogError, open_log
from metering.server.moments import Moment
from metering.server.state import State

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
