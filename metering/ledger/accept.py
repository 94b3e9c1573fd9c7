"""The way into the ledger: files that were fetched are checked line by line, then moved in, whole.

Nothing in the ledger is ever overwritten.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metering.ledger.files import LedgerFile, home, publish_all
from metering.ledger.rows import SamplesFile, UsersFile, pair_problems, read_samples, read_users
from metering.samples import FileKind
from provision.errors import Problem


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of fetched files: the new ones in the ledger, and why others are not there."""

    files: Sequence[Path]
    refused: Sequence[Problem]


def accept(fetched: Iterable[LedgerFile], ledger: Path) -> Accepted:
    """Move the complete, sound ones of the `fetched` files into the ledger. The ledger's lock must be held.

    The users of a run go first, so that its samples are never there without them. A run with a file of which the ledger
    has another version, or that breaks the format, is refused as a whole and stays where it is.
    """
    refused: list[Problem] = []
    sound: list[LedgerFile] = []
    runs: dict[str, list[LedgerFile]] = {}
    for file in fetched:
        runs.setdefault(file.run, []).append(file)
    for run in runs.values():
        taken, problems = _examine(run, ledger)
        sound += taken
        refused += problems
    moved: list[Path] = []
    for kind in ("users", "samples"):
        moves = [(file.path, home(ledger, file.name.day, file.path.name)) for file in sound if file.name.kind == kind]
        publish_all(moves)
        moved += [target for _, target in moves]
    return Accepted(moved, refused)


def _examine(run: Sequence[LedgerFile], ledger: Path) -> tuple[list[LedgerFile], list[Problem]]:
    by_kind = {file.name.kind: file for file in run}
    samples = by_kind.get("samples") or _in_ledger(run[0], ledger, "samples")
    users = by_kind.get("users") or _in_ledger(run[0], ledger, "users")
    problems = [problem for file in run for problem in _conflict(file, ledger)]
    problems += _problems(read_samples(samples) if samples else None, read_users(users) if users else None)
    if problems:
        return [], problems
    if samples is None:
        # The server writes users first: the samples come with a later pull, and the users with them.
        return [], []
    # One that is there already has the very same bytes, as was seen before.
    return [file for file in run if not home(ledger, file.name.day, file.path.name).exists()], []


def _in_ledger(like: LedgerFile, ledger: Path, kind: FileKind) -> LedgerFile | None:
    name = replace(like.name, kind=kind)
    path = home(ledger, name.day, str(name))
    return LedgerFile(path, name, f"{ledger.name}/{path.parent.name}/{path.name}") if path.exists() else None


def _conflict(file: LedgerFile, ledger: Path) -> Iterator[Problem]:
    target = home(ledger, file.name.day, file.path.name)
    if target.exists() and not filecmp.cmp(file.path, target, shallow=False):
        yield conflict(file.place, f"{ledger.name}/{target.parent.name}/")


def conflict(place: str, where: str) -> Problem:
    """A file of another content than the one that the ledger has under its name, in `where`."""
    message = f"differs from the file of that name in {where}, which stays"
    return Problem(place, message, "a file never changes once written: find out which of the two is genuine")


def _problems(samples: SamplesFile | None, users: UsersFile | None) -> list[Problem]:
    """What is wrong with the files of one run; whether they agree is asked only when each is sound by itself."""
    found = [*(samples.problems if samples else ()), *(users.problems if users else ())]
    if not found and samples:
        found += pair_problems(samples, users)
    return found
