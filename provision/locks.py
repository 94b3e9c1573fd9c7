"""Locks on servers: two people, or two machines, never change the same environments at once.

A lock is a file on the server, `/run/lock/chill/<name>`, of one line of JSON: who holds it, since when, what for.
There are two kinds: one per instance (`acme`), on each server that the instance lives on, and one for the server as a
whole (`server:`), which excludes the others. They live in memory: a server that restarts has none.

A lock is stale when the process that took it is gone: seen at once on the machine of that process, which takes it
over; from any other machine a person decides, with `lock release`.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from provision.errors import ChillError, Interrupted
from provision.fleet import Fleet, Instance, Server
from provision.journal import toolkit_version, who
from provision.remote import ask

DIRECTORY = "/run/lock/chill"
WHOLE_SERVER = "server:"
TAG = "chill-provision"


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock as its server keeps it. `name`: an instance's slug, or `server:`; `since`: UTC, ISO 8601.

    `machine` and `process` tell the process that holds it.
    """

    server: str
    name: str
    who: str
    since: str
    purpose: str
    machine: str
    process: str

    @property
    def stale(self) -> bool:
        """Whether its process is known to be gone. Of other machines nothing is known."""
        return self.machine == this_machine() and self.process != process_mark(int(self.process.partition("@")[0]))

    @property
    def subject(self) -> str:
        """What it locks, in words."""
        return f"server {self.server}" if self.name == WHOLE_SERVER else f"instance {self.name} on {self.server}"

    @property
    def argument(self) -> str:
        """What `lock release` is given to take it away."""
        return self.server if self.name == WHOLE_SERVER else self.name

    @property
    def line(self) -> str:
        """The content of its file, without the line's end."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def __str__(self) -> str:
        age = "; stale: its process is gone" if self.stale else ""
        return f"{self.subject}: {self.who} since {self.since}, for {self.purpose}{age}"


@dataclass(frozen=True, slots=True)
class Place:
    """Locks that are wanted on one server, by name."""

    server: Server
    names: Sequence[str]


def instance_places(fleet: Fleet, instances: Sequence[Instance]) -> Sequence[Place]:
    """Where these instances are locked, always in the same order, so that two commands cannot wait for each other."""
    names: dict[str, set[str]] = {}
    for instance in instances:
        for server in instance.servers.values():
            names.setdefault(server, set()).add(instance.slug)
    return [Place(fleet.server(server), sorted(slugs)) for server, slugs in sorted(names.items())]


def server_places(servers: Sequence[Server]) -> Sequence[Place]:
    """Where servers as a whole are locked."""
    return [Place(server, [WHOLE_SERVER]) for server in sorted(servers, key=lambda server: server.name)]


@contextmanager
def held(fleet: Fleet, places: Sequence[Place], purpose: str) -> Iterator[Sequence[Lock]]:
    """Hold these locks for as long as the block lasts. Yields the stale ones that were taken over.

    LockedError, with none held, when another holds one of them.
    """
    with ExitStack() as stack:
        broken: list[Lock] = []
        for place in places:
            wanted = _new(place, purpose)
            broken += _take(fleet, place.server, wanted)
            stack.enter_context(_until_the_end(fleet, place.server, wanted))
        yield broken


class LockedError(ChillError):
    """Somebody else is at work on the same instance or server."""


def _take(fleet: Fleet, server: Server, wanted: Sequence[Lock]) -> Sequence[Lock]:
    """Take all these locks of a server, and the place of stale ones, which are returned."""
    broken: list[Lock] = []
    while others := _parse(server.name, ask(fleet, server, take_script(wanted))):
        if alive := [other for other in others if not other.stale]:
            raise LockedError(
                "somebody is at work there, and nothing was changed:\n" + "\n".join(str(other) for other in alive),
                f"wait for its end; if it was given up: chill-provision lock release {alive[0].argument}",
            )
        release(fleet, server, others)
        broken += others
    return broken


def take_script(wanted: Sequence[Lock]) -> str:
    """Takes all the locks, or prints those of others that stand in the way and takes none."""
    names = [lock.name for lock in wanted]
    rivals = "*" if WHOLE_SERVER in names else " ".join([*map(shlex.quote, names), WHOLE_SERVER])
    writes = "\n".join(
        f"    printf '%s\\n' {shlex.quote(lock.line)} > .new && mv .new {shlex.quote(lock.name)}" for lock in wanted
    )
    return f"""set -eu
mkdir -p {DIRECTORY}
cd {DIRECTORY}
exec 9> .guard
flock 9
found=
for rival in {rivals}; do
    if [ -e "$rival" ]; then cat "$rival"; found=1; fi
done
if [ -z "$found" ]; then
{writes}
    {_tell(wanted, "begins")}
fi
"""


def locks(fleet: Fleet, server: Server) -> Sequence[Lock]:
    """Every lock that a server keeps now."""
    script = f'cd {DIRECTORY} 2>/dev/null || exit 0; for lock in *; do [ ! -e "$lock" ] || cat "$lock"; done'
    return _parse(server.name, ask(fleet, server, script))


def release(fleet: Fleet, server: Server, gone: Sequence[Lock], why: str = "") -> None:
    """Take locks away, each if it is still this very one; `why` (else, by whom) goes into the server's journal."""
    why = why or f"its lock is taken away by {who()}"
    removals = "\n".join(
        f'[ "$(cat {name} 2>/dev/null)" != {shlex.quote(lock.line)} ] || rm {name}'
        for lock in gone
        for name in [shlex.quote(lock.name)]
    )
    ask(
        fleet,
        server,
        f"cd {DIRECTORY} 2>/dev/null || exit 0\nexec 9> .guard\nflock 9\n{removals}\n{_tell(gone, why)}\n",
    )


@contextmanager
def _until_the_end(fleet: Fleet, server: Server, held_locks: Sequence[Lock]) -> Iterator[None]:
    """At the end of the work, release its locks on one server, and tell the server's journal how it went.

    A server that no longer answers keeps stale locks, which the next command takes over.
    """
    began, result = time.monotonic(), "failed"
    try:
        yield
        result = "ended well"
    except (KeyboardInterrupt, Interrupted):
        result = "was interrupted"
        raise
    finally:
        with suppress(ChillError):
            release(fleet, server, held_locks, f"{result} after {time.monotonic() - began:.0f} s")


def _tell(locks: Sequence[Lock], what: str) -> str:
    """The line of a script that writes into the server's journal, under the tag chill-provision (logger(1))."""
    first = locks[0]
    names = " ".join(first.server if lock.name == WHOLE_SERVER else lock.name for lock in locks)
    text = f"{first.purpose} {names}: {what}; {first.who}, petits-chills {toolkit_version()}"
    # A server without syslog is no reason not to work on it.
    return f"logger -t {TAG} -- {shlex.quote(text)} 2>/dev/null || :"


def _new(place: Place, purpose: str) -> Sequence[Lock]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mark = process_mark(os.getpid())
    return [Lock(place.server.name, name, who(), now, purpose, this_machine(), mark) for name in place.names]


def this_machine() -> str:
    """A digest that tells this machine from others (machine-id(5) asks not to show the id itself)."""
    identity = Path("/etc/machine-id")
    known = identity.read_text(encoding="ascii").strip() if identity.exists() else ""
    return sha256(f"petits-chills\n{socket.gethostname()}\n{known}".encode()).hexdigest()[:16]


def process_mark(pid: int) -> str:
    """`pid@boot:start`, which no other process of this machine ever has; empty when there is no such process.

    The start is field 22 of /proc/PID/stat (proc(5)), counted behind the name, which may hold anything; the boot is
    told by /proc/sys/kernel/random/boot_id (random(4)).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return ""
    return f"{pid}@{boot[:8]}:{stat.rpartition(')')[2].split()[19]}"


def _parse(server: str, text: str) -> Sequence[Lock]:
    found = []
    for line in text.splitlines():
        try:
            found.append(Lock(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            raise ChillError(
                f"{server}: a file in {DIRECTORY} is not a lock of this toolkit", "look at it there, and remove it"
            ) from None
    return found
