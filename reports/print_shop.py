"""Many papers at a time: compositors in processes of their own, one for each processor.

Processes, because Typst keeps what it remembers under one lock for all threads of a process; and because what it
remembers goes with the process. They end with the run, whatever ends it: their input is then closed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
from ctypes.util import find_library
from functools import cache
from types import TracebackType
from typing import Final

from provision.errors import ChillError
from reports.compositor import TypesettingError, receive, send

WORKERS: Final = min(os.cpu_count() or 1, 8)


class PrintShop:
    """Prints on compositors, as many as there are processors; for several threads. `with` starts and stops them."""

    def __init__(self, year: int, sender: str, workers: int = WORKERS) -> None:
        self._year, self._sender, self._workers = year, sender, workers
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PrintShop:
        for _ in range(self._workers):
            self._started.append(self._start())
            self._free.put(self._started[-1])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._started:
            if kind is not None:
                process.kill()
            with contextlib.suppress(OSError):
                process.communicate()

    def print(self, template: str, content: str) -> bytes:
        """The PDF of a template and its content, by the next compositor that is free.

        TypesettingError when Typst finds a fault, ChillError when a compositor died.
        """
        process = self._free.get()
        try:
            return _ask(process, f"{template}\n{content}".encode())
        finally:
            self._free.put(process)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "reports.compositor", str(self._year)]
        # A session of their own: Ctrl-C is for the run itself to handle.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own_environment(), start_new_session=True
        )
        if process.stdin:
            send(process.stdin, self._sender.encode())
        return process


def own_environment() -> dict[str, str]:
    """The environment of a process that is to find the package where this one did."""
    preloaded = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), _allocator()]))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **({"LD_PRELOAD": preloaded} if preloaded else {}),
    }


@cache
def _allocator() -> str:
    """jemalloc where it is installed (Debian: libjemalloc2): Typst allocates so much that it saves a seventh."""
    return find_library("jemalloc") or ""


def _ask(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Send a request and wait for its answer."""
    answer = None
    if process.stdin and process.stdout:
        try:
            send(process.stdin, request)
            answer = receive(process.stdout)
        except OSError:
            answer = None
    if answer is None:
        hint = "it may have lacked memory; run the command again: it goes on where it stopped"
        raise ChillError("a process that prints papers has ended", hint)
    if answer[:1] == b"-":
        raise TypesettingError(answer[1:].decode())
    return answer[1:]
