"""document_bytes: the volume of the stored documents: directories of this machine, containers of OpenStack Swift,
buckets of S3-compatible stores.

Their contents are encrypted, and not read: only the sizes that the file system or the store gives.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from metering.server.config import Instance
from metering.server.errors import SourceError
from metering.server.run import Measured, Run
from metering.server.state import Key

METRIC: Final = "document_bytes"


def collector(run: Run, instance: Instance) -> Documents | None:
    """Collected where the instance has directories or stores of documents."""
    return Documents(run, instance) if instance.documents or instance.stores else None


class Documents:
    """A volume is a level: only that of now can be measured, which stands for the day that has just ended, or
    for today.
    """

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._instance = instance
        self._now: Measured | SourceError | None = None

    def measure(self, day: date) -> Measured:
        if day >= self._run.yesterday:
            return self._measure_now()
        written = self._run.state.written(Key(day, self._instance.slug, "document_bytes"))
        if written and written.value is not None:
            return Measured(written.value)
        raise SourceError("the volume of a past day cannot be measured afterwards", final=True)

    def close(self) -> None:
        """Nothing is open."""

    def _measure_now(self) -> Measured:
        if self._now is None:
            try:
                local = volume(self._instance.documents)
                elsewhere, note = _elsewhere(self._instance)
                self._now = Measured(local + elsewhere, note=note)
            except SourceError as failure:
                self._now = failure
        if isinstance(self._now, SourceError):
            raise self._now
        return self._now


def _elsewhere(instance: Instance) -> tuple[int, str]:
    """The volume in stores, and a note about it."""
    if not instance.stores:
        return 0, ""
    # Only where there are some: HTTP and TLS cost every other run some time.
    from metering.server.stores import volume_of_stores

    return volume_of_stores(instance.stores, instance.credentials)


def volume(directories: Sequence[Path]) -> int:
    """The bytes of all regular files under the directories: hard links once, symbolic links not followed.

    A directory that is named itself may be a symbolic link. SourceError when a part cannot be seen: half a
    volume is none.
    """
    total = 0
    linked: set[tuple[int, int]] = set()
    waiting = _outermost(directories)
    while waiting:
        directory = waiting.pop()
        try:
            entries = os.scandir(directory)
        except FileNotFoundError:
            # Removed since it was listed.
            continue
        except OSError as error:
            raise SourceError(f"a directory of documents cannot be read: {error.strerror}") from None
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    total += _size(entry, linked)
    return total


def _outermost(directories: Sequence[Path]) -> list[Path]:
    """The directories without those that lie in another one, which would be counted twice."""
    places: list[Path] = []
    for directory in directories:
        try:
            place = directory.resolve(strict=True)
        except (OSError, RuntimeError):
            raise SourceError(f"{directory} is not there or cannot be reached") from None
        if not place.is_dir():
            raise SourceError(f"{directory} is not a directory")
        places.append(place)
    return [place for place in set(places) if not any(other in place.parents for other in places)]


def _size(entry: os.DirEntry[str], linked: set[tuple[int, int]]) -> int:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SourceError(f"a document's size cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        return 0
    if status.st_nlink > 1:
        if (status.st_dev, status.st_ino) in linked:
            return 0
        linked.add((status.st_dev, status.st_ino))
    return status.st_size
