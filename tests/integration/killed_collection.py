"""Runs collections that are killed: started once with everything imported, it forks a child for each, which is cheap.

    python -m tests.integration.killed_collection

Reads lines `CONFIG EVENTS SECONDS` from standard input. The child collects, and is killed by SIGKILL at its
EVENTS-th call or return of any function, or after SECONDS, whichever comes first (0: never). Answers `killed`, or
`done N` with the number of calls and returns of a run that came to its end.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from metering.server import loglines, logs
from metering.server.collect import collect
from metering.server.config import load_config
from tests.unit.metering.server_side import NOON

# Small ones, so that a log of some kilobytes is read in many blocks and committed many times.
loglines.BLOCK = 4096  # type: ignore[misc]
logs.COMMIT_EVERY = 12_000  # type: ignore[misc]


class Countdown:
    """Counts the calls and returns of this process, and ends it at one of them as a power cut would."""

    def __init__(self, last: int) -> None:
        self.seen = 0
        self._last = last

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.seen += 1
        if self.seen == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def run(config: Path, events: int) -> int:
    """Collect in this process; the number of events."""
    countdown = Countdown(events)
    sys.setprofile(countdown)
    collect(load_config(config), None, None, NOON, lambda text: None)
    sys.setprofile(None)
    return countdown.seen


def serve(config: Path, events: int, seconds: float) -> str:
    """Fork, and tell what became of the child."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(readable)
            os.write(writable, b"%d" % run(config, events))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writable)
    if seconds and not select.select([readable], [], [], seconds)[0]:
        os.kill(child, signal.SIGKILL)
    answer = os.read(readable, 100).decode()
    os.close(readable)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return f"done {answer}" if status == 0 else "failed"


def main() -> None:
    for line in sys.stdin:
        config, events, seconds = line.rsplit(" ", 2)
        print(serve(Path(config), int(events), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
