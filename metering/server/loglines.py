"""The lines of one open log, in blocks of whole lines, with a bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from metering.server.logfiles import TAIL, KnownFile, PresentFile, digest, inode, signature_of, unreadable
from metering.server.logstreams import DAMAGED, LogError, LogStream

BLOCK: Final = 1 << 18
# A line longer than this is no log line: it is passed over rather than kept in memory.
LONGEST_LINE: Final = 16 << 20


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
