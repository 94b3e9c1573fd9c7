"""Processes that print papers: their faults are told, and none of them outlives the run that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provision.errors import ChillError
from reports.compositor import TypesettingError
from reports.print_shop import WORKERS, PrintShop

COLOURS = '{"accent": "#111", "bar": "#222", "pale": "#333", "tint": "#444"}'
SENDER = f'{{"name": "", "lines": [], "logo": "", "colours": {COLOURS}}}'
# Starts compositors, says that they run, and waits to be killed.
RUN = """\
import sys, time
from reports.print_shop import PrintShop
with PrintShop(2026, "{}") as shop:
    print(*(process.pid for process in shop._started), flush=True)
    time.sleep(600)
"""


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    """Whether all have ended; asked again and again, for as long as a busy machine may need."""
    until = time.monotonic() + 60
    while any(map(running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(running, pids))


def test_what_typst_finds_wrong_is_told_and_the_compositor_goes_on() -> None:
    with PrintShop(2026, SENDER) as shop:
        for _ in range(2 * WORKERS):
            with pytest.raises(TypesettingError, match="dictionary does not contain key"):
                shop.print("annex.typ", "{}")


def test_a_compositor_that_was_killed_is_told() -> None:
    with PrintShop(2026, SENDER) as shop:
        for process in shop._started:
            process.kill()
            process.wait()
        with pytest.raises(ChillError, match="a process that prints papers has ended") as caught:
            shop.print("annex.typ", "{}")
    assert "goes on where it stopped" in caught.value.hint


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_none_outlives_its_run(deadly: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == WORKERS
        assert all(map(running, pids))
        os.kill(process.pid, deadly)
        process.wait()
    assert gone(pids)
