"""`--server auto`: the server with the most room for another instance."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from provision.errors import ChillError, RequestError
from provision.fleet import Fleet, Server
from provision.preflight import PREPARED
from provision.remote import ask

AUTO = "auto"
# What an environment takes when it is busy: its worker, a few PHP processes and their share of PostgreSQL and Redis;
# its release, database and the documents of its first years.
MEMORY_OF_ONE = 512 * 2**20
DISK_OF_ONE = 10 * 10**9
ENVIRONMENTS = 2
_QUESTION = f"""
[ -e {PREPARED} ] || {{ echo unprepared; exit 0; }}
awk '/^MemAvailable:/ {{ printf "%.0f\\n", $2 * 1024 }}' /proc/meminfo
df --block-size=1 --output=avail /srv | tail -n 1
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a server has left: bytes of memory (MemAvailable, proc(5)) and of disk under /srv."""

    server: str
    memory: int
    disk: int

    @property
    def room(self) -> int:
        """How many more environments fit."""
        return min(self.memory // MEMORY_OF_ONE, self.disk // DISK_OF_ONE)

    def __str__(self) -> str:
        return (
            f"{self.server}: room for {self.room} environments "
            f"({self.memory / 1e9:.1f} GB of memory, {self.disk / 1e9:.0f} GB of disk)"
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """The server that was chosen, and what was seen of every prepared one, most room first."""

    server: str
    seen: Sequence[Capacity]

    def __str__(self) -> str:
        return "; ".join(str(capacity) for capacity in self.seen)


def place(fleet: Fleet) -> Placement:
    """Choose the prepared server with the most room; of equal ones that with fewer instances, then the first by name.

    Servers that do not answer are left out. RequestError when none has room for both environments.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(lambda server: capacity(fleet, server), fleet.servers.values())
    hosted = [server for instance in fleet.instances.values() for server in instance.servers.values()]
    seen = sorted(
        (answer for answer in answers if answer), key=lambda one: (-one.room, hosted.count(one.server), one.server)
    )
    if not seen or seen[0].room < ENVIRONMENTS:
        told = "; ".join(map(str, seen)) or "no server is prepared and answers"
        raise RequestError(
            f"--server auto: no server has room for two environments: {told}", "name one with --server NAME"
        )
    return Placement(seen[0].server, seen)


def capacity(fleet: Fleet, server: Server) -> Capacity | None:
    """What a server has left; None when it is not prepared or does not answer."""
    try:
        words = ask(fleet, server, _QUESTION).split()
    except ChillError:
        return None
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return Capacity(server.name, int(words[0]), int(words[1]))
