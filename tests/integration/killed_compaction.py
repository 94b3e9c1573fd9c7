"""Compacts copies of a ledger, each time killed one step later: python killed_compaction.py LEDGER COPIES KEEP

A step is whatever changes the disk or brings it there: a file opened for writing, a rename, a removal, a new directory,
an fsync. Copy N lies in COPIES/N; its process is killed (SIGKILL) just before step N. The last copy is that of the
first process that came to its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from metering.ledger.compact import compact

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "open")


class Countdown:
    """Kills its process at a step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES and (event != "open" or writes):
            self.step()


def run(ledger: Path, kill_at: int, keep_csv: bool) -> bool:
    """Compact in a process of its own; whether it came to its end."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0):
            sys.exit(f"the compaction failed at step {kill_at}")
        return not os.WIFSIGNALED(status)
    countdown = Countdown(kill_at)
    sync = os.fsync

    def counted_sync(descriptor: int) -> None:
        countdown.step()
        sync(descriptor)

    os.fsync = counted_sync
    sys.addaudithook(countdown.audit)
    compact(ledger, "2026-02", keep_csv, lambda line: None)
    os._exit(0)


def main(ledger: Path, copies: Path, keep_csv: bool) -> None:
    """Until one is not killed."""
    step, ended = 0, False
    while not ended:
        step += 1
        copy = copies / f"{step}" / "ledger"
        shutil.copytree(ledger, copy)
        ended = run(copy, step, keep_csv)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "keep")
