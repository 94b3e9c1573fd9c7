"""The lines that stay on a terminal after a run tell how far each environment came."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from provision.progress import LiveProgress, PlainProgress

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


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_skipped_task_is_not_told_as_if_it_were_done() -> None:
    lines: list[str] = []
    progress = PlainProgress(HOSTS, 3, lines.append)
    for task, outcome in (
        ("Make the user", "ok"),
        ("Take the web site out of service", "skipped"),
        ("Reload", "changed"),
    ):
        for host in HOSTS:
            progress.task_started(host, task)
        for host in HOSTS:
            progress.task_ended(host, outcome)

    site = "[2/3] Take the web site out of service: nothing to do"
    assert lines == ["[1/3] Make the user", site, "[3/3] Reload"]


def test_a_task_that_one_host_skips_is_told_as_what_the_other_does() -> None:
    lines: list[str] = []
    with PlainProgress(HOSTS, 2, lines.append) as progress:
        for task, outcomes in (("Copy the release", ("skipped", "ok")), ("Reload", ("skipped", "skipped"))):
            for host in HOSTS:
                progress.task_started(host, task)
            for host, outcome in zip(HOSTS, outcomes, strict=True):
                progress.task_ended(host, outcome)

    assert lines == ["[1/2] Copy the release", "[2/2] Reload: nothing to do"]


def test_a_task_that_lasts_is_told_before_it_ends_and_once() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = PlainProgress(HOSTS, 1, lines.append, clock)
    progress.task_started(HOSTS[0], "Install the packages")
    progress.tick()
    assert lines == []

    clock.now = 2.0
    progress.tick()
    progress.tick()
    progress.task_ended(HOSTS[0], "failed")

    assert lines == ["[1/1] Install the packages", "acme.chill.pro: failed"]


def test_a_terminal_shows_a_task_once_it_lasts_and_never_a_skipped_one() -> None:
    console, clock = Console(file=io.StringIO(), width=100, force_terminal=True), Clock()
    progress = LiveProgress(HOSTS[:1], 3, console, clock)

    def shown() -> str:
        with console.capture() as text:
            console.print(progress.render())
        return text.get()

    progress.task_started(HOSTS[0], "Make the user")
    progress.task_ended(HOSTS[0], "ok")
    progress.task_started(HOSTS[0], "Take the web site out of service")
    assert "Make the user" in shown()
    progress.task_ended(HOSTS[0], "skipped")
    progress.task_started(HOSTS[0], "Unpack the release")
    clock.now = 61.0

    assert "Unpack the release" in shown()
    assert "2/3" in shown()
    assert "1:01" in shown()
