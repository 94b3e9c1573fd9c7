"""Compacted months of a ledger: where they lie, what is in them, and what proves that they are whole.

    ledger/2026/2026-03.1/      the month and its generation; of several the highest counts, the others are leftovers
        samples.parquet         every row of the month's samples files
        users.parquet           every row of its users files
        folded.sha256           SHA-256 and name of every CSV file whose rows these are
        SHA256SUMS              SHA-256 and name of the three above

Both lists have the form that coreutils' sha256sum writes and checks. A generation appears whole or not at all: its
directory is renamed into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metering.samples import FileKind, FileName
from provision.errors import Problem

SUMS = "SHA256SUMS"
FOLDED = "folded.sha256"
_NAME = re.compile(r"(?P<month>\d{4}-(?:0[1-9]|1[0-2]))\.(?P<generation>[1-9]\d{0,8})")
_SUM = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[^/\n]+)")
_RESTORE = "bring it back from the fleet's history or a backup; nothing is computed from part of a month"


class Vanished(Exception):
    """What was listed is no longer there: a compaction took it in meanwhile."""


@dataclass(frozen=True, slots=True)
class Month:
    """A generation of a compacted month. `month` as 2026-03; `place` is its directory as messages name it."""

    path: Path
    month: str
    generation: int
    place: str

    def parquet(self, kind: FileKind) -> Path:
        """The file with the rows of that kind."""
        return self.path / f"{kind}.parquet"

    def folded(self) -> Mapping[str, str]:
        """SHA-256 by name of every CSV file whose rows are in this month. OSError when it cannot be read."""
        return read_sums((self.path / FOLDED).read_text(encoding="utf-8"))

    def problems(self) -> list[Problem]:
        """What is missing of this month or has another content than when it was written. Reads every byte of it."""
        try:
            sums = read_sums((self.path / SUMS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return [Problem(f"{self.place}/{SUMS}", "is missing or no list of checksums", _RESTORE)]
        missing = [name for name in ("samples.parquet", "users.parquet", FOLDED) if name not in sums]
        found = [Problem(f"{self.place}/{SUMS}", f"does not name {name}", _RESTORE) for name in missing]
        for name, digest in sums.items():
            try:
                actual = file_digest(self.path / name)
            except OSError as error:
                found.append(Problem(f"{self.place}/{name}", f"cannot be read: {error.strerror}", _RESTORE))
                continue
            if actual != digest:
                found.append(Problem(f"{self.place}/{name}", f"has another SHA-256 than in {SUMS}", _RESTORE))
        return found


def month_name(name: str) -> tuple[str, int] | None:
    """Month and generation from the name of a compacted month's directory; None when it is no such name."""
    match = _NAME.fullmatch(name)
    return (match["month"], int(match["generation"])) if match else None


def list_months(ledger: Path, years: Iterable[int] | None = None) -> tuple[list[Month], list[Month]]:
    """The compacted months of `years` (None: all) in order, and the generations that they displaced."""
    found = sorted(_found(ledger, years), key=lambda month: (month.month, month.generation))
    newest = {month.month: month for month in found}
    return list(newest.values()), [month for month in found if newest[month.month] is not month]


def _found(ledger: Path, years: Iterable[int] | None) -> Iterator[Month]:
    if years is None:
        directories = [path for path in ledger.glob("[0-9][0-9][0-9][0-9]") if path.is_dir()]
    else:
        directories = [path for year in sorted(set(years)) if (path := ledger / f"{year:04d}").is_dir()]
    for directory in directories:
        with os.scandir(directory) as entries:
            for entry in entries:
                named = month_name(entry.name)
                if named and named[0].startswith(directory.name):
                    yield Month(Path(entry.path), *named, f"{ledger.name}/{directory.name}/{entry.name}")


def known_names(ledger: Path, years: Iterable[int] | None = None) -> Mapping[FileName, str]:
    """SHA-256 of every CSV file whose rows are in a compacted month of `years` (None: of any), by its name.

    Such a file need not lie in the ledger any more, and is not to be fetched again.
    """
    names: dict[FileName, str] = {}
    for month in list_months(ledger, years)[0]:
        for text, digest in month.folded().items():
            if name := FileName.parse(text):
                names[name] = digest
    return names


def read_sums(text: str) -> dict[str, str]:
    """Digest by name from lines as sha256sum writes them. ValueError when a line is none."""
    if text and not text.endswith("\n"):
        raise ValueError("ends in the middle of a line")
    sums: dict[str, str] = {}
    for line in text.splitlines():
        match = _SUM.fullmatch(line)
        if not match:
            raise ValueError("not a line of sha256sum")
        sums[match["name"]] = match["digest"]
    return sums


def write_sums(sums: Mapping[str, str]) -> str:
    """The inverse of `read_sums`, in name order."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Hold:
    """Keeps compacted months from being removed, as long as this object lives, by a shared lock on each directory.

    Vanished when one is gone already.
    """

    def __init__(self, months: Iterable[Month]) -> None:
        self._descriptors: list[int] = []
        weakref.finalize(self, _close, self._descriptors)
        for month in months:
            try:
                descriptor = os.open(month.path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                raise Vanished(month.place) from None
            self._descriptors.append(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not month.path.is_dir():
                raise Vanished(month.place)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
