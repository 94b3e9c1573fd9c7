"""For which process a machine, or a file half made, lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.lab.errors import LabError


@dataclass(frozen=True)
class Owner:
    """A process. Start time and boot tell it from a later one of the same id."""

    pid: int
    started: int  # clock ticks since boot
    boot: str

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        started = _start_time(os.getpid())
        if started is None:
            raise LabError("/proc does not show this process", "mount /proc and try again")
        return cls(os.getpid(), started, _boot())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """What `str()` of an owner said at the start of a file's name, or None if it said nothing."""
        parts = text.split("_")
        if len(parts) < 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.pid}_{self.started}_{self.boot}"

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot == _boot() and self.started == _start_time(self.pid)


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, second field, may hold blanks and parentheses: count from behind it.
    # proc(5): starttime is field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
