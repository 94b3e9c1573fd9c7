"""Private directories for files that are needed while a ledger is read, and that go with the process that made them.

A process that was killed cannot tidy up: the next one does. Who uses a directory holds a lock on it, which the kernel
gives back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

PREFIX = "chill-ledger-"


class Scratch:
    """A new private directory, below `parent` (None: where temporary files go). Removed when this is no longer used."""

    def __init__(self, parent: Path | None = None) -> None:
        if parent:
            parent.mkdir(exist_ok=True)
        else:
            parent = Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        self.path, descriptor = _made(parent)
        self._finalizer = weakref.finalize(self, _remove, self.path, descriptor)


def _made(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        descriptor = _locked(path, fcntl.LOCK_EX)
        if descriptor is not None:
            return path, descriptor
        # Another process took it for abandoned, before it was locked.


def _locked(path: Path, how: int) -> int | None:
    """A descriptor that holds the lock of a directory that still exists; None when it cannot be had."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how)
        if path.is_dir():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.geteuid():
            continue
        descriptor = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if descriptor is not None:
            _remove(path, descriptor)


def _remove(path: Path, descriptor: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(descriptor)
