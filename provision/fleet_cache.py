"""The instances of a large fleet as they were last read: thousands of files are not parsed anew by every command.

Kept in the cache directory of who runs the command ($XDG_CACHE_HOME, else ~/.cache), readable by nobody else; it may be
deleted at any time. A file counts as unchanged when inode, size and times are those of the last reading, and when it
was not written so shortly before that reading that a later change could bear the same times. Problems are never kept.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

# Fewer files are read faster than anybody notices.
AT_LEAST: Final = 300
# Times of files are as coarse as the kernel's clock, on some file systems as two seconds.
_SETTLED_NS: Final = 3 * 10**9

Stamp = tuple[int, int, int, int]
# By file name: what it was, and what was read from it.
Known = Mapping[str, tuple[Stamp, Any]]


def stamp_of(file: os.DirEntry[str] | Path) -> Stamp | None:
    """Two equal ones mean: the same file, unchanged. None when there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def digest_of(*parts: bytes) -> str:
    """What the values depend on beside their own files: what is given, and the toolkit's own code."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"\0{path.name}\0{stamp_of(path)}".encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def read_cache(directory: Path, digest: str) -> Known:
    """What was read of a fleet directory last time, under the same `digest`; nothing when there is none of it."""
    place = _place(directory)
    # Nothing that is made here is in a cycle: looking for some would take as long as all the rest.
    enabled = gc.isenabled()
    gc.disable()
    try:
        with place.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077 or stream.readline().strip() != digest.encode():
                return {}
            known: Known = pickle.load(stream)  # noqa: S301 (written here, in a file that nobody else may write)
            return known
    except Exception:
        # Not there, cut, or of another form: everything is read anew.
        return {}
    finally:
        if enabled:
            gc.enable()


def write_cache(directory: Path, digest: str, known: Known) -> None:
    """Keep what was read. A place that cannot be written keeps nothing, and costs nothing but time."""
    place = _place(directory)
    latest = time.time_ns() - _SETTLED_NS
    settled = {name: one for name, one in known.items() if max(one[0][2:]) < latest}
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(f"{digest}\n".encode())
                pickle.dump(settled, stream, protocol=5)
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _place(directory: Path) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "petits-chills" / f"{hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]}.instances"
