"""Sample files that appear in the spool whole or not at all: written beside under a hidden name, synced, then
renamed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from metering.samples import ActiveUser, FileName, Sample, write_samples, write_users
from metering.server.pseudonyms import sync_directory

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


class Spool:
    """The directory from which the control machine fetches."""

    def __init__(self, directory: Path, server: str) -> None:
        self._directory = directory
        self._server = server

    def prepare(self) -> None:
        """Make the directory if it is absent, and remove what an interrupted run left half-written.

        OSError as it comes.
        """
        self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        for leftover in self._directory.glob(".*.csv"):
            leftover.unlink(missing_ok=True)

    def write(
        self, day: date, collected_at: datetime, samples: Iterable[Sample], users: Iterable[ActiveUser]
    ) -> tuple[Path, Path]:
        """Write one day's pair of files.

        The users come first: samples are never seen without the users they count.
        """
        users_text, samples_text = io.StringIO(newline=""), io.StringIO(newline="")
        write_users(users_text, users)
        write_samples(samples_text, samples)
        users_path = self._put(FileName(day, self._server, collected_at, "users"), users_text.getvalue())
        samples_path = self._put(FileName(day, self._server, collected_at, "samples"), samples_text.getvalue())
        return users_path, samples_path

    def of_year(self, year: int) -> list[Path]:
        """The files of a year's days that wait here, if the directory is there. OSError as it comes."""
        names = {path: FileName.parse(path.name) for path in self._directory.glob("*.csv")}
        return sorted(path for path, name in names.items() if name and name.day.year == year)

    def remove(self, files: Iterable[Path]) -> None:
        """Remove files of this spool: samples first, so that no samples are seen without their users."""
        for path in sorted(files, key=lambda path: path.name.endswith(".users.csv")):
            path.unlink(missing_ok=True)
        if self._directory.is_dir():
            sync_directory(self._directory)

    def _put(self, name: FileName, text: str) -> Path:
        path = self._directory / str(name)
        beside = self._directory / f".{name}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                # The mode is meant whatever the umask: the group is who fetches.
                os.fchmod(stream.fileno(), FILE_MODE)
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())
            beside.rename(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        sync_directory(self._directory)
        return path
