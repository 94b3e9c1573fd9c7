"""Brings the sample files of the servers' spools into the ledger: fetched beside it, checked, then moved
in, whole.

Nothing in the ledger is ever overwritten, and nothing is taken away from a spool.
"""

from __future__ import annotations

import filecmp
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from metering.ledger.files import LedgerFile, home, locked, publish
from metering.ledger.rows import SamplesFile, UsersFile, pair_problems, read_samples, read_users
from metering.samples import FileKind, FileName
from provision.errors import ChillError, PartlyDone, Problem
from provision.fleet import Fleet, Server
from provision.ssh import ssh_options, ssh_user

SPOOL = "/var/spool/chill-meter"
# Inside the ledger, so that moving a file in is a rename within one file system.
STAGING = ".staging"
AT_ONCE = 8
SILENCE_SECONDS = 60
# rsync compares with at most 20 directories.
YEARS_COMPARED = 19
# rsync(1), EXIT VALUES: files vanished while they were sent, which only says that the spool is in use.
_VANISHED = 24
# Some files could not be sent: the server answered, its spool is not there or not readable.
_PARTIAL = 23


@dataclass(frozen=True, slots=True)
class PullResult:
    """How many files are new in the ledger, and the servers whose spool could not be read to its end."""

    new_files: int
    unreachable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of fetched files: the new ones in the ledger, and why others are not there."""

    files: Sequence[Path]
    refused: Sequence[Problem]


def pull(fleet: Fleet, servers: Sequence[str], report: Callable[[str], None]) -> PullResult:
    """Fetch from `servers` (none named: from all) what their spools have and the ledger has not.

    `report` gets a line of text about each server. A server that does not answer is reported, the others
    go on. PartlyDone when files were refused; RequestError for a server that is not in the fleet;
    ChillError when the ledger is not writable.
    """
    chosen = [fleet.server(name) for name in dict.fromkeys(servers)] or list(fleet.servers.values())
    new = 0
    refused: list[Problem] = []
    unreachable: list[str] = []
    with locked(fleet.ledger), ThreadPoolExecutor(AT_ONCE) as pool:
        fetches = pool.map(lambda server: _fetch(rsync_command(fleet, server), _staging(fleet, server)), chosen)
        for server, failure in zip(chosen, fetches, strict=True):
            # What arrived before a connection broke is whole: rsync gives a file its name last.
            accepted = accept(_staging(fleet, server), fleet.ledger, server.name)
            new += len(accepted.files)
            refused += accepted.refused
            if failure:
                unreachable.append(server.name)
            report(_line(server, accepted, failure))
        shutil.rmtree(fleet.ledger / STAGING, ignore_errors=True)
    if refused:
        raise PartlyDone(
            _refusal(new, refused, unreachable), "these files stay on their servers; correct and pull again"
        )
    return PullResult(new, tuple(unreachable))


def _line(server: Server, accepted: Accepted, failure: str) -> str:
    news = f"{len(accepted.files)} new file{'' if len(accepted.files) == 1 else 's'}"
    if accepted.refused:
        news += f", {len(accepted.refused)} problems"
    return f"{server.name}: {failure}; {news}" if failure else f"{server.name}: {news}"


def _refusal(new: int, refused: Sequence[Problem], unreachable: Sequence[str]) -> str:
    lines = [
        f"{new} files were added to the ledger; these were not taken:",
        *(str(problem) for problem in refused),
    ]
    if unreachable:
        lines.append(f"did not answer: {', '.join(unreachable)}")
    return "\n".join(lines)


def _staging(fleet: Fleet, server: Server) -> Path:
    return fleet.ledger / STAGING / server.name


def rsync_command(fleet: Fleet, server: Server) -> list[str]:
    """The command that copies a server's spool into its staging directory, leaving out what the ledger
    has already.

    The server variable `meter_spool` names another spool than /var/spool/chill-meter.
    """
    host = f"[{server.address}]" if ":" in server.address else server.address
    spool = str(server.variables.get("meter_spool", SPOOL)).rstrip("/")
    years = sorted((path for path in fleet.ledger.glob("[0-9][0-9][0-9][0-9]")), reverse=True)[:YEARS_COMPARED]
    return [
        "rsync",
        "--dirs",
        "--times",
        # Same name, size and time is not yet the same content.
        "--checksum",
        "--protect-args",
        f"--timeout={SILENCE_SECONDS}",
        f"--rsh={shlex.join(ssh_command(fleet, server))}",
        *(f"--compare-dest={path.resolve()}" for path in years),
        "--exclude=.*",
        "--include=*.csv",
        "--exclude=*",
        f"{ssh_user(server)}@{host}:{spool}/",
        f"{_staging(fleet, server)}/",
    ]


def ssh_command(fleet: Fleet, server: Server) -> list[str]:
    """The remote shell: it never asks, neither for a password nor about an unknown host key."""
    return ["ssh", *ssh_options(fleet, server)]


def _fetch(command: Sequence[str], staging: Path) -> str:
    """Run the copy; empty when it was done, else why not."""
    staging.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ChillError("rsync is not installed here", "apt install rsync openssh-client") from None
    if done.returncode in (0, _VANISHED):
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # ssh explains itself first and rsync then complains of the closed connection.
    reason = lines[0].strip() if lines else f"rsync ended with status {done.returncode}"
    return f"{'its spool could not be read' if done.returncode == _PARTIAL else 'did not answer'}: {reason}"


def accept(staging: Path, ledger: Path, server: str) -> Accepted:
    """Move the complete, sound files of one server from `staging` into the ledger. The ledger's lock must
    be held.

    The users of a run go first, so that its samples are never there without them. A file of which the
    ledger has another version, that breaks the format, or that is of another server is refused and stays
    in `staging`.
    """
    files: list[Path] = []
    refused: list[Problem] = []
    runs: dict[str, list[LedgerFile]] = {}
    for path in sorted(staging.glob("*.csv")):
        if path.name.startswith("."):
            continue
        name = FileName.parse(path.name)
        place = f"{server}:{path.name}"
        if name is None:
            refused.append(Problem(place, "is not the name of a samples or users file"))
        elif name.server != server:
            refused.append(Problem(place, f"is named after {name.server}, but comes from {server}"))
        else:
            file = LedgerFile(path, name, place)
            runs.setdefault(file.run, []).append(file)
    for run in runs.values():
        moved, problems = _accept_run(run, ledger)
        files += moved
        refused += problems
    return Accepted(files, refused)


def _accept_run(run: Sequence[LedgerFile], ledger: Path) -> tuple[list[Path], list[Problem]]:
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
    return list(_move(filter(None, (by_kind.get("users"), by_kind.get("samples"))), ledger)), []


def _in_ledger(like: LedgerFile, ledger: Path, kind: FileKind) -> LedgerFile | None:
    name = replace(like.name, kind=kind)
    path = home(ledger, name.day, str(name))
    return LedgerFile(path, name, f"{ledger.name}/{path.parent.name}/{path.name}") if path.exists() else None


def _conflict(file: LedgerFile, ledger: Path) -> Iterator[Problem]:
    target = home(ledger, file.name.day, file.path.name)
    if target.exists() and not filecmp.cmp(file.path, target, shallow=False):
        message = f"differs from the file of that name in {ledger.name}/{target.parent.name}/, which stays"
        yield Problem(file.place, message, "a file never changes once written: find out which of the two is genuine")


def _problems(samples: SamplesFile | None, users: UsersFile | None) -> list[Problem]:
    """What is wrong with the files of one run; whether they agree is asked only when each is sound by
    itself.
    """
    found = [*(samples.problems if samples else ()), *(users.problems if users else ())]
    if not found and samples:
        found += pair_problems(samples, users)
    return found


def _move(files: Iterable[LedgerFile], ledger: Path) -> Iterator[Path]:
    for file in files:
        target = home(ledger, file.name.day, file.path.name)
        if target.exists():
            # The very same bytes, as was seen before.
            file.path.unlink()
            continue
        publish(file.path, target)
        yield target
