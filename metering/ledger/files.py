"""The ledger directory: which files it holds, where a file belongs, and how one appears in it whole or
not at all.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from metering.ledger.months import known_names, month_name
from metering.samples import FileName
from provision.errors import ChillError, Problem

LOCK_FILE = ".lock"
SYNCED_AT_ONCE = 16
MOVE_IT = "move the file out of the ledger and keep it; a correction is a newer file"

_YEAR = re.compile(r"\d{4}")
# What ends the name of a run's files, and is cut off to name the run itself.
_SUFFIX = re.compile(r"\.(?:samples|users)\.csv$")


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """A file with the parts of its name. `place` is the file as messages name it, such as
    `ledger/2026/….samples.csv`.
    """

    path: Path
    name: FileName
    place: str

    @property
    def run(self) -> str:
        """What the samples and the users file of one collector's run share:
        `<day>.<server>.<collected_at>`.
        """
        return _SUFFIX.sub("", self.path.name)


def list_files(ledger: Path, years: Iterable[int] | None = None) -> tuple[list[LedgerFile], list[Problem]]:
    """The samples and users files of `years` (None: of every year) in name order, and what else lies in
    their way.

    Hidden files and directories are not part of the ledger, and compacted months have `months.py` for them; one that is
    absent holds nothing.
    """
    wanted = None if years is None else {f"{year:04d}" for year in years}
    files: list[LedgerFile] = []
    problems: list[Problem] = []
    for entry in _visible(ledger):
        if entry.is_dir() and _YEAR.fullmatch(entry.name):
            if wanted is None or entry.name in wanted:
                _list_year(Path(entry.path), f"{ledger.name}/{entry.name}", files, problems)
        elif name := FileName.parse(entry.name):
            place = f"{ledger.name}/{entry.name}"
            problems.append(Problem(place, f"belongs in {ledger.name}/{name.day.year:04d}/", "move it there"))
    return files, problems


def _list_year(directory: Path, place: str, files: list[LedgerFile], problems: list[Problem]) -> None:
    for entry in _visible(directory):
        if month_name(entry.name) and entry.is_dir():
            continue
        where = f"{place}/{entry.name}"
        name = FileName.parse(entry.name)
        if name is None:
            expected = "expected <YYYY-MM-DD>.<server>.<YYYYMMDDThhmmssZ>.samples.csv or .users.csv"
            problems.append(Problem(where, f"is not the name of a ledger file: {expected}", MOVE_IT))
        elif directory.name != f"{name.day.year:04d}":
            problems.append(Problem(where, f"is of {name.day.year:04d}, not of {directory.name}", "move it there"))
        else:
            files.append(LedgerFile(Path(entry.path), name, where))


def _visible(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ChillError(
            f"{directory}: cannot be read: {error.strerror}", "give the path of a ledger directory"
        ) from None


def folded_names(ledger: Path) -> Mapping[FileName, str]:
    """SHA-256 of every CSV file whose rows are in a compacted month, by its name. ChillError when a list is damaged."""
    try:
        return known_names(ledger)
    except (OSError, ValueError):
        hint = "chill-meter check says which; bring it back from the fleet's history or a backup"
        raise ChillError(f"{ledger}: the list of a compacted month's files cannot be read", hint) from None


def home(ledger: Path, day: date, name: str) -> Path:
    """Where a file of that day belongs: `<ledger>/<YYYY>/<name>`."""
    return ledger / f"{day.year:04d}" / name


def publish(staged: Path, target: Path) -> None:
    """Move a finished file to its place: its bytes reach the disk before its name does.

    `staged` must be on the ledger's own file system. The ledger's lock must be held, and `target` not exist.
    """
    publish_all([(staged, target)])


def publish_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """As `publish`, for many files, each (staged, target); when it returns, all of them are on the disk."""
    homes = {target.parent for _, target in moves}
    for directory in homes:
        if not directory.is_dir():
            directory.mkdir(parents=True)
            _sync(directory.parent)
    # Side by side: the file system brings several to the disk at once.
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        list(pool.map(_sync, (staged for staged, _ in moves)))
    for staged, target in moves:
        if target.exists():
            raise ChillError(f"{target}: is there already", "nothing in a ledger is overwritten; run the command again")
        staged.rename(target)
    for directory in homes:
        _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Hold the ledger for writing, made if it is absent. ChillError when another command holds it, or
    writing fails.
    """
    try:
        ledger.mkdir(parents=True, exist_ok=True)
        # Appending neither empties the file of a holder nor needs it to exist.
        with (ledger / LOCK_FILE).open("a", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Closing the stream gives the lock back, whatever happens to this process.
            yield
    except BlockingIOError:
        raise ChillError(f"{ledger}: another command is adding samples", "wait until it has ended") from None
    except OSError as error:
        hint = "see who owns the directory and whether the disk is full, or correct `ledger` in chill.toml"
        raise ChillError(f"{error.filename or ledger}: cannot be written: {error.strerror}", hint) from None
