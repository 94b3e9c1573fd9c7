"""Reading the mail log from the systemd journal, exactly once: its cursor and the counts are committed together.

journalctl(1) of systemd 236 or newer; its `short-iso` form is that of a log file with RFC 3339 times, so that the
same consumer reads both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import IO, Final, cast

from metering.server.config import Postfix
from metering.server.logs import Consumer, Reading, read_logs
from metering.server.logstreams import LogError
from metering.server.state import State

BLOCK: Final = 1 << 18
# Facility 2 of syslog is mail (RFC 5424, section 6.2.1).
_MAIL: Final = "SYSLOG_FACILITY=2"
_CURSOR: Final = b"-- cursor: "


def read_mail_log(state: State, source: str, postfix: Postfix, consumer: Consumer, now: datetime) -> Reading:
    """Read what is new in the mail log, be it in files or in the journal."""
    kept = f"journal:{source}"
    known = state.value(kept)
    if not postfix.journal:
        if known:
            text = "e-mails were counted from the journal so far, and files would count them twice"
            return Reading(f"{text}: set postfix.journal = true again")
        return read_logs(state, source, postfix.logs, consumer, now)
    journal = Journal(postfix.journal_directory)
    notices = []
    try:
        oldest = journal.oldest(consumer)
        held = not known or journal.holds(known)
        if not held:
            text = f"lines between the last reading and the oldest entry it still has, of {oldest}, may be lost"
            notices.append(f"the journal was cleaned up to after where it was read: {text}")
        if not known and state.knows_files(source):
            known = journal.end()
            notices.append("e-mails are counted from the journal from now on, no more from log files")
        else:
            known = journal.read(consumer, known, held) or known
    except LogError as problem:
        # Nothing of this reading is kept: the next one begins where this one began.
        return Reading(problem.text)
    consumer.finish(now)
    with state.transaction():
        consumer.store(state)
        state.note_source(source, oldest, rotated=True)
        if known:
            state.set_value(kept, known)
    return Reading(notices=notices)


class Journal:
    """The journal of this system, or the journal files in a directory."""

    def __init__(self, directory: Path | None) -> None:
        place = f"--directory={directory}" if directory else "--system"
        self._name = f"the journal in {directory}" if directory else "the journal"
        self._command = ["journalctl", "--quiet", "--no-pager", "--utc", "--all", "--output=short-iso", place]

    def oldest(self, consumer: Consumer) -> str:
        """The day of the oldest entry of any program. LogError when there is none: then nothing may be read."""
        with self._run() as output:
            first = output.readline(BLOCK)
        moment = consumer.first_moment(first, date.min)
        if moment is None:
            hint = "is the user of the collection in the group systemd-journal?"
            raise LogError(f"{self._name} shows no entry at all; {hint}")
        return moment.day

    def holds(self, cursor: str) -> bool:
        """Whether the entry of a cursor is still there."""
        with self._run("--show-cursor", "--lines=1", f"--cursor={cursor}") as output:
            return f"-- cursor: {cursor}\n".encode() in output.read()

    def end(self) -> str:
        """The cursor of the last mail entry, empty when there is none."""
        with self._run("--show-cursor", "--lines=1", _MAIL) as output:
            return _split(output.read())[1]

    def read(self, consumer: Consumer, after: str, held: bool) -> str:
        """Feed all mail entries after a cursor (or all there are); the cursor of the last one, empty when there was
        none. LogError when journalctl fails.

        `held`: the entry of the cursor is still there. journalctl passes over one entry even where it is not.
        """
        cursor = ""
        consumer.begin("", date.min)
        since = [f"--after-cursor={after}" if held else f"--cursor={after}"] if after else []
        with self._run("--show-cursor", _MAIL, *since) as output:
            rest = b""
            while chunk := output.read(BLOCK):
                data = rest + chunk
                # The last whole line stays behind: at the end it is the cursor.
                end = data.rfind(b"\n", 0, max(data.rfind(b"\n"), 0)) + 1
                if end:
                    consumer.feed(data[:end])
                rest = data[end:]
            lines, cursor = _split(rest)
            if lines:
                consumer.feed(lines)
        if not cursor and rest:
            raise LogError(f"{self._name} cannot be read: journalctl ended before its time; run this again")
        return cursor

    def read_whole(self, consumer: Consumer) -> str:
        """Feed all mail entries; the day of the oldest entry of any program. LogError as above."""
        oldest = self.oldest(consumer)
        self.read(consumer, "", held=True)
        return oldest

    @contextmanager
    def _run(self, *arguments: str) -> Iterator[IO[bytes]]:
        """What journalctl prints. It is ended when nobody reads on; LogError when it fails by itself."""
        # Only where there is a journal to read: it costs every other run some time.
        import subprocess
        import tempfile

        environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
        command = [*self._command, *arguments]
        with tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment
                )
            except FileNotFoundError:
                raise LogError(f"{self._name} cannot be read: journalctl is not installed here") from None
            with process:
                output = cast("IO[bytes]", process.stdout)
                try:
                    yield output
                    ended = not output.read(1)
                except BaseException:
                    process.kill()
                    raise
                if not ended:
                    process.kill()
            complaints.seek(0)
            # It ends with status 1 where no entry matches, too, but then without a word.
            if ended and process.returncode != 0 and (process.returncode != 1 or complaints.read(1)):
                raise LogError(f"{self._name} cannot be read: journalctl failed; try it as the user of the collection")


def _split(text: bytes) -> tuple[bytes, str]:
    """Lines, and the cursor that journalctl tells after them."""
    start = text.rfind(b"\n", 0, max(len(text) - 1, 0)) + 1
    if not text.startswith(_CURSOR, start):
        return text, ""
    return text[:start], text[start + len(_CURSOR) :].decode("ascii", "replace").strip()
