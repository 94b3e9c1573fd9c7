"""Closes copies of a fleet's year, each killed at another step: python killed_closing.py FLEET COPIES YEAR

A step is whatever changes a file below the fleet or brings it to the disk: a file opened for writing, a rename, a
removal, a new directory, an fsync. Copy N lies in COPIES/N; its process was killed (SIGKILL) just before step N: each
of the last steps, in which the year comes to its place, and every fourth of those before, which are all alike. One more
copy, with the greatest number, is that of a process that was left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Loaded once, before the processes part.
import ibis.backends.duckdb  # noqa: F401

from provision.fleet_reader import load_fleet
from reports.closing import close

# A step that is not reached.
NEVER = 1_000_000
# How many steps before the end are each tried.
LAST = 14
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "open")


class Countdown:
    """Kills its process at a step."""

    def __init__(self, below: Path, steps: int) -> None:
        self.below, self.left = str(below), steps

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(self.below):
            return
        if event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self.step()


def run(fleet: Path, year: int, kill_at: int) -> int:
    """Close in a process of its own. 0 when it was killed, else how many steps it took."""
    counted, count = os.pipe()
    if child := os.fork():
        os.close(count)
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0):
            sys.exit(f"closing failed at step {kill_at}")
        with os.fdopen(counted) as stream:
            return int(stream.read() or 0)
    countdown = Countdown(fleet, kill_at)
    sync = os.fsync

    def counted_sync(descriptor: int) -> None:
        countdown.step()
        sync(descriptor)

    loaded = load_fleet(fleet)
    reasons = dict.fromkeys(loaded.instances, "only some days are written for this test")
    os.fsync = counted_sync
    sys.addaudithook(countdown.audit)
    close(loaded, year, reasons, "fr", datetime(2026, 1, 15, 9, 0, tzinfo=UTC), lambda done, total: None)
    os.write(count, str(kill_at - countdown.left).encode())
    os._exit(0)


def copied(fleet: Path, copies: Path, name: int) -> Path:
    return Path(shutil.copytree(fleet, copies / str(name) / "fleet"))


def main(fleet: Path, copies: Path, year: int) -> None:
    """First without a kill, to know how many steps there are."""
    steps = run(copied(fleet, copies, NEVER), year, NEVER)
    last = range(max(1, steps - LAST), steps + 1)
    for step in (*range(1, last[0], 4), *last):
        if run(copied(fleet, copies, step), year, step):
            sys.exit(f"closing was not killed at step {step} of {steps}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
