"""Brings the sample files of the servers' spools into the ledger: listed with their checksums, fetched beside it,
checked, then moved in, whole.

Nothing in the ledger is ever overwritten. A spool keeps its files; only what is asked for, is old, and is proven to
be the same in the ledger is taken out of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from metering.ledger.accept import accept, conflict
from metering.ledger.files import MOVE_IT, LedgerFile, folded_names, home, locked
from metering.ledger.forgotten import forgotten_years
from metering.ledger.late_samples import LateSamples
from metering.ledger.months import file_digest
from metering.ledger.spools import (
    copy_command,
    copy_files,
    list_command,
    list_spool,
    printable,
    remove_command,
    remove_files,
)
from metering.samples import FileName
from provision.errors import Problem
from provision.fleet import Fleet, Server

# Inside the ledger, so that moving a file in is a rename within one file system.
STAGING = ".staging"
AT_ONCE = 16
# A server with more problems than this has one: the rest is only counted.
PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did: new files in the ledger, files taken out of spools, the servers whose spool could not be read to
    its end, and the files that were refused. `taken_back`: values of an import that a server has counted by now.
    """

    new_files: int = 0
    removed: int = 0
    unreachable: Sequence[str] = ()
    refused: Sequence[Problem] = ()
    taken_back: int = 0


@dataclass(frozen=True, slots=True)
class Sorted:
    """A spool's files beside the ledger's: which are `wanted` (name → SHA-256), what is wrong with others, and which of
    the rest are `held`: identical in the ledger, as is every other file of their run. `forgotten` counts those of years
    that were forgotten on purpose.
    """

    wanted: Mapping[FileName, str]
    held: Sequence[FileName]
    refused: Sequence[Problem]
    forgotten: int


@dataclass(slots=True)
class Fetched:
    """What came from one server, whole, into its staging directory; `failure` says what went wrong, or is empty."""

    files: list[LedgerFile] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    removed: int = 0
    forgotten: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What a ledger has, beside the CSV files that lie in it: SHA-256 of those that compacted months hold, by name, and
    the years that `chill-meter forget` took out of it for good.
    """

    folded: Mapping[FileName, str] = field(default_factory=dict)
    forgotten: Collection[int] = ()


def pull(
    fleet: Fleet, servers: Sequence[str], report: Callable[[str], None], remove_before: datetime | None = None
) -> PullResult:
    """Fetch from `servers` (none named: from all) what their spools have and the ledger has not.

    `report` gets a line of text about each server. A server that does not answer is reported, the others go on. Files
    collected before `remove_before` that the ledger holds, byte for byte, are removed from the spools; None removes
    nothing. RequestError for a server that is not in the fleet; ChillError when the ledger is not writable.
    """
    chosen = [fleet.server(name) for name in dict.fromkeys(servers)] or list(fleet.servers.values())
    new = removed = 0
    refused: list[Problem] = []
    unreachable: list[str] = []
    with locked(fleet.ledger), ThreadPoolExecutor(AT_ONCE) as pool:
        there = Held(folded_names(fleet.ledger), forgotten_years(fleet))
        late = LateSamples(fleet.ledger, there.folded)
        visit = partial(_visit, fleet, there, remove_before)
        for server, fetched in zip(chosen, pool.map(visit, chosen), strict=True):
            late.expect({file.name.day for file in fetched.files})
            accepted = accept(fetched.files, fleet.ledger)
            problems = _shortened([*fetched.refused, *accepted.refused], server.name)
            new += len(accepted.files)
            removed += fetched.removed
            refused += problems
            if fetched.failure:
                unreachable.append(server.name)
            else:
                # Kept after a failure: the next pull goes on from it.
                shutil.rmtree(_staging(fleet, server), ignore_errors=True)
            report(_line(server, len(accepted.files), fetched, problems))
        if not unreachable:
            shutil.rmtree(fleet.ledger / STAGING, ignore_errors=True)
        taken_back, faults = late.settle(datetime.now(UTC))
        if taken_back:
            report(f"{taken_back} SMS counts of a provider's export taken back: a server has counted these days by now")
    return PullResult(new, removed, unreachable, [*refused, *faults], taken_back)


def _line(server: Server, new: int, fetched: Fetched, problems: Sequence[Problem]) -> str:
    news = [f"{new} new file{'' if new == 1 else 's'}"]
    if problems:
        news.append(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
    if fetched.removed:
        news.append(f"{fetched.removed} removed from its spool")
    if fetched.forgotten:
        news.append(f"{fetched.forgotten} of forgotten years left where they are")
    return f"{server.name}: {f'{fetched.failure}; ' if fetched.failure else ''}{', '.join(news)}"


def _shortened(problems: Sequence[Problem], server: str) -> Sequence[Problem]:
    if len(problems) <= PROBLEMS_SHOWN:
        return problems
    rest = Problem(server, f"and {len(problems) - PROBLEMS_SHOWN} more files are wrong", "correct those above first")
    return [*problems[:PROBLEMS_SHOWN], rest]


def _staging(fleet: Fleet, server: Server) -> Path:
    return fleet.ledger / STAGING / server.name


def _visit(fleet: Fleet, there: Held, remove_before: datetime | None, server: Server) -> Fetched:
    """Everything that needs the network: list, sort, copy, compare checksums, remove. Writes in staging alone."""
    listing = list_spool(list_command(fleet, server))
    found = sort_spool(listing.digests, fleet.ledger, there, server.name)
    fetched = Fetched(refused=list(found.refused), forgotten=found.forgotten, failure=listing.failure)
    if found.wanted:
        staging = _staging(fleet, server)
        staging.mkdir(parents=True, exist_ok=True)
        names = [str(name) for name in found.wanted]
        broken = copy_files(copy_command(fleet, server, staging), names)
        fetched.failure = fetched.failure or broken
        for name, digest in found.wanted.items():
            _compare(LedgerFile(staging / str(name), name, f"{server.name}:{name}"), digest, fetched, bool(broken))
    if remove_before and not fetched.failure:
        old = [str(name) for name in found.held if name.collected_at < remove_before]
        if old:
            fetched.failure = remove_files(remove_command(fleet, server), old)
            fetched.removed = 0 if fetched.failure else len(old)
    return fetched


def _compare(file: LedgerFile, digest: str, fetched: Fetched, broken: bool) -> None:
    """Note a copied file as fetched only when it has the content that the server told."""
    if file.path.is_file() and not file.path.is_symlink() and file_digest(file.path) == digest:
        fetched.files.append(file)
    elif not broken:
        file.path.unlink(missing_ok=True)
        fetched.refused.append(
            Problem(
                file.place,
                "is not what the server listed: its SHA-256 differs",
                "pull again; the ledger has none of it",
            )
        )


def sort_spool(digests: Mapping[str, str], ledger: Path, there: Held, server: str) -> Sorted:
    """What to do with each file of a server's spool. `digests`: SHA-256 by name, as the server told."""
    wanted: dict[FileName, str] = {}
    held: list[FileName] = []
    refused: list[Problem] = []
    forgotten = 0
    # The two files of a run stay in the spool together, or go together.
    open_runs: set[tuple[date, datetime]] = set()
    for text, digest in sorted(digests.items()):
        name = FileName.parse(text)
        place = f"{server}:{printable(text)}"
        if name is None:
            refused.append(Problem(place, "is not the name of a samples or users file", MOVE_IT))
        elif name.server != server:
            message = f"is named after {printable(name.server)}, but comes from {server}"
            refused.append(Problem(place, message, "correct `server` in /etc/chill/meter.toml, or the inventory"))
        elif name.day.year in there.forgotten:
            # It would bring people back who were to be forgotten.
            forgotten += 1
        else:
            ours = _digest(ledger, there.folded, name)
            if ours == digest:
                held.append(name)
                continue
            open_runs.add((name.day, name.collected_at))
            if ours is None:
                wanted[name] = digest
            else:
                refused.append(conflict(place, f"{ledger.name}/{name.day.year:04d}/"))
    return Sorted(wanted, [name for name in held if (name.day, name.collected_at) not in open_runs], refused, forgotten)


def _digest(ledger: Path, folded: Mapping[FileName, str], name: FileName) -> str | None:
    """The SHA-256 of the ledger's file of that name, also when a compaction took it in; None when there is none."""
    path = home(ledger, name.day, str(name))
    return file_digest(path) if path.is_file() else folded.get(name)
