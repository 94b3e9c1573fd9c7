"""When a file was made: Linux knows, and Python 3.11 does not ask (statx(2), since Linux 4.11)."""

from __future__ import annotations

import struct
from pathlib import Path

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_SIZE = 256
# struct statx in linux/stat.h: stx_mask at 0, stx_btime at 80 (seconds, nanoseconds).
_MASK, _BTIME = struct.Struct("=I"), struct.Struct("=qI")
_BTIME_PLACE = 80


def born(path: Path) -> int | None:
    """Nanoseconds since 1970 in UTC, or None where the system or the file system does not say."""
    # Rarely needed: not worth anything at the start of every run.
    import ctypes
    import os

    statx = getattr(ctypes.CDLL(None), "statx", None)
    if statx is None:
        return None
    buffer = ctypes.create_string_buffer(_SIZE)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    if not _MASK.unpack_from(buffer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BTIME.unpack_from(buffer, _BTIME_PLACE)
    return int(seconds) * 10**9 + int(nanoseconds)
