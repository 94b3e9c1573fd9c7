"""Opening a log for reading its uncompressed bytes: plain, gzip, bzip2, xz, Zstandard, told by content, not by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

if TYPE_CHECKING:
    import subprocess

_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\x00"
# RFC 8878, section 3.1.1.
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


class DamagedError(Exception):
    """A compressed file ends too early, or is not what it should be."""


# What reading a damaged compressed file raises.
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, DamagedError)


class LogError(Exception):
    """A log file could not be read; the text says which and why, and nothing of its content.

    `signature` is that of a file that is damaged for good: this is told once.
    """

    def __init__(self, text: str, signature: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.signature = signature


class LogStream(Protocol):
    """The uncompressed bytes of a log. Going back in a compressed one begins anew."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...

    def seek(self, position: int, /) -> object:
        """Go on at that byte."""
        ...

    def fileno(self) -> int:
        """The file on the disk."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...


def open_log(path: Path) -> tuple[LogStream, bool]:
    """A log opened for reading its uncompressed bytes, and whether it is compressed.

    OSError as it comes; LogError when this machine cannot uncompress it.
    """
    # Without a buffer of Python's: whole blocks are read, and what was written meanwhile is seen.
    file: BinaryIO = path.open("rb", buffering=0)
    try:
        magic = os.pread(file.fileno(), 6, 0)
        if magic.startswith(_GZIP):
            return gzip.GzipFile(fileobj=file), True
        if magic.startswith(_BZIP2):
            return bz2.BZ2File(file), True
        if magic == _XZ:
            return lzma.LZMAFile(file), True
        if magic.startswith(_ZSTANDARD):
            return Zstandard(file, path), True
    except BaseException:
        file.close()
        raise
    return file, False


class Zstandard:
    """A file uncompressed by the zstd command (Debian's package zstd): Debian 12's Python cannot do it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._position = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # Only where there is such a file: it costs every other run some time.
        import subprocess

        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        try:
            return subprocess.Popen(
                ["zstd", "-dcq"], stdin=self._file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except FileNotFoundError:
            text = f"{self._path} is compressed by zstd, which is not installed here: apt install zstd"
            raise LogError(text) from None

    def read(self, size: int, /) -> bytes:
        output = self._process.stdout
        data = output.read(size) if output else b""
        self._position += len(data)
        if len(data) < size and self._process.wait() != 0 and not data:
            raise DamagedError
        return data

    def seek(self, position: int, /) -> None:
        if position < self._position:
            self._stop()
            self._position = 0
            self._process = self._start()
        while self._position < position and self.read(min(1 << 18, position - self._position)):
            pass

    def fileno(self) -> int:
        return self._file.fileno()

    def __enter__(self) -> Zstandard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stop()
        self._file.close()

    def _stop(self) -> None:
        """End the command: it may have more to say than anybody wants to read."""
        self._process.kill()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()
