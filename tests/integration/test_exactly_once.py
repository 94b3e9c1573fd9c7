"""Whatever happens to logs, and whenever the collection is killed by SIGKILL: what was counted is what one clean pass
over the same logs counts.

Each case of rotations.py happens to a log of SMS and to a mail log at once, while collection after collection is
killed: most at a random call or return of a function, some at a random moment, so inside SQLite and the kernel too. The
random numbers are seeded; what must come out does not depend on where the kills fall.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.metering.rotations import CASES, DAY, GONE_BEFORE_THE_END
from tests.unit.metering.server_side import Server

ROOT = Path(__file__).parents[2]
CONFIG = '[postfix]\nlogs = ["mail.log*"]\n[instances.acme]\nlogs = ["app/metering.log*"]\nmail = {uids = [998]}\n'
# In each case so many collections die.
KILLS = 14


class Killer:
    """Collections of which most do not come to their end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.killed_collection"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def collect(self, server: Server, events: int = 0, seconds: float = 0) -> str:
        """`killed`, or `done` and how many events the whole run had."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{server.config} {events} {seconds:.6f}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    one = Killer()
    yield one
    one.close()


def kill_collections(killer: Killer, server: Server, chance: random.Random, kills: int) -> None:
    """Start collections until so many were killed. One that comes to its end says how late the next may die."""
    events, killed = 6000, 0
    while killed < kills:
        by_time = chance.random() < 0.25
        seconds = chance.uniform(0.0005, 0.03) if by_time else 0
        answer = killer.collect(server, 0 if by_time else int(events ** chance.uniform(0.3, 1)) + 1, seconds)
        assert answer == "killed" or answer.startswith("done ")
        killed += answer == "killed"
        if answer != "killed":
            events = max(int(answer.removeprefix("done ")), 2)


def test_there_are_enough_kills() -> None:
    assert len(CASES) * KILLS >= 500


@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_instant_every_line_counts_once(name: str, killer: Killer, tmp_path: Path) -> None:
    steps, total = CASES[name]
    server = Server(tmp_path, CONFIG)
    chance = random.Random(f"{name} 20261122")
    places = sorted(chance.choice(range(len(steps))) for _ in range(KILLS - len(steps))) + list(range(len(steps)))
    for number, step in enumerate(steps):
        for log in (server.log, tmp_path / "mail.log"):
            step(log)
        kill_collections(killer, server, chance, places.count(number))
        if name in GONE_BEFORE_THE_END:
            assert killer.collect(server).startswith("done ")
    assert killer.collect(server).startswith("done ")

    assert server.values("sms_sent") == {DAY: total}
    assert server.values("emails_sent") == {DAY: total}
    assert not server.failed("sms_sent")
    assert not [path for path in server.spool.iterdir() if path.name.startswith(".")]
