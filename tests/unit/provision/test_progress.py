"""The lines that stay on a terminal after a run tell how far each environment came."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from provision.progress import LiveProgress

HOSTS = ("acme.chill.pro", "acme-test.chill.pro")


@pytest.mark.parametrize("ended, told", [(2, "done"), (1, "ended at: Unpack the release")])
def test_the_last_line_of_an_environment(ended: int, told: str) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    progress = LiveProgress(HOSTS, 2, console)
    with progress:
        for host in HOSTS:
            progress.task_started(host, "Unpack the release")
            for _ in range(ended):
                progress.task_ended(host, "ok")
    with console.capture() as shown:
        console.print(progress.render())
    lines = shown.get().splitlines()
    assert len(lines) == 2
    assert all(told in line for line in lines)
