"""Progress of a playbook run at the terminal.

One line per environment while it lasts, or plain lines in a log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Progress(Protocol):
    """What a run tells while it goes on. `total` is the number of tasks foreseen: some may be skipped.

    A task that is skipped begins, too, and ends at once: its name alone would say that something was done.
    """

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def task_started(self, host: str, task: str) -> None: ...

    def task_ended(self, host: str, outcome: str) -> None:
        """`outcome` is ok, changed, skipped, failed or unreachable."""

    def tick(self) -> None:
        """Called about once a second, whatever happens."""


ProgressFactory = Callable[[Sequence[str], int], Progress]
Clock = Callable[[], float]


class PlainProgress:
    """One line per task: for pipes, logs and dumb terminals.

    It comes when the task has ended on its first host, or earlier, once it has lasted a while there; for a task that
    was skipped on every host, when the next one begins.
    """

    LASTING_SECONDS = 1.0

    def __init__(
        self, hosts: Sequence[str], total: int, report: Callable[[str], None], clock: Clock = time.monotonic
    ) -> None:
        self._begun = dict.fromkeys(hosts, 0)
        self._under_way: dict[str, tuple[str, float]] = {}
        self._total = total
        self._report = report
        self._clock = clock
        self._shown = 0
        self._skipped: dict[int, str] = {}

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._show_skipped(max(self._begun.values(), default=0) + 1)

    def task_started(self, host: str, task: str) -> None:
        self._begun[host] = self._begun.get(host, 0) + 1
        self._show_skipped(self._begun[host])
        self._under_way[host] = task, self._clock()

    def task_ended(self, host: str, outcome: str) -> None:
        if outcome != "skipped":
            self._show(host)
        elif host in self._under_way:
            self._skipped[self._begun[host]] = self._under_way[host][0]
        self._under_way.pop(host, None)
        if outcome in ("failed", "unreachable"):
            self._report(f"{host}: {outcome}")

    def tick(self) -> None:
        for host, (_, began) in list(self._under_way.items()):
            if self._clock() - began >= self.LASTING_SECONDS:
                self._show(host)

    def _show(self, host: str) -> None:
        if host in self._under_way:
            self._tell(self._begun.get(host, 0), self._under_way[host][0])

    def _show_skipped(self, until: int) -> None:
        """Tell the tasks before step `until` that did nothing on any host."""
        for step in sorted(step for step in self._skipped if step < until):
            self._tell(step, f"{self._skipped.pop(step)}: nothing to do")

    def _tell(self, step: int, text: str) -> None:
        if step > self._shown:
            self._shown = step
            self._report(f"[{step}/{max(self._total, step)}] {text}")


class LiveProgress:
    """One line per host, redrawn in place: steps done of all, time elapsed, the task under way."""

    MARKS: ClassVar = {"failed": "red", "unreachable": "red"}
    # Skipping takes less.
    LASTING_SECONDS = 0.4

    def __init__(self, hosts: Sequence[str], total: int, console: Console, clock: Clock = time.monotonic) -> None:
        self._hosts = list(hosts)
        self._total = total
        self._clock = clock
        self._done = dict.fromkeys(hosts, 0)
        self._task = dict.fromkeys(hosts, "waiting")
        self._under_way: dict[str, tuple[str, float]] = {}
        self._style = dict.fromkeys(hosts, "")
        self._began = clock()
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self._hosts:
            if not self._style.get(host) and kind is None:
                whole = self._done[host] >= self._total
                self._task[host] = "done" if whole else f"ended at: {self._task.get(host, '')}"
        self._under_way.clear()
        self._live.__exit__(kind, error, trace)

    def task_started(self, host: str, task: str) -> None:
        if host not in self._done:
            self._hosts.append(host)
            self._done[host] = 0
        self._under_way[host] = task, self._clock()
        if self._style.get(host):
            # A task after a failed one means that a rescue took over.
            self._task[host], self._style[host] = task, ""

    def task_ended(self, host: str, outcome: str) -> None:
        self._done[host] = self._done.get(host, 0) + 1
        task, _ = self._under_way.pop(host, ("", 0.0))
        if outcome in self.MARKS:
            self._style[host] = self.MARKS[outcome]
            self._task[host] = f"{outcome}: {task}"
        elif outcome != "skipped":
            self._task[host] = task

    def tick(self) -> None:
        """Nothing: it is redrawn by itself."""

    def render(self) -> RenderableType:
        now = self._clock()
        for host, (task, began) in list(self._under_way.items()):
            if now - began >= self.LASTING_SECONDS:
                self._task[host] = task
        elapsed = int(now - self._began)
        table = Table.grid(padding=(0, 2))
        for host in self._hosts:
            done = self._done[host]
            table.add_row(
                Text(host, style="bold"),
                Text(f"{done}/{max(self._total, done)}"),
                Text(f"{elapsed // 60}:{elapsed % 60:02d}"),
                Text(self._task.get(host, ""), style=self._style.get(host, ""), overflow="ellipsis", no_wrap=True),
            )
        return table


def progress_for(console: Console) -> ProgressFactory:
    """The progress that suits a console: redrawn in place on a terminal, plain lines otherwise."""

    def factory(hosts: Sequence[str], total: int) -> Progress:
        if console.is_terminal and not console.is_dumb_terminal:
            return LiveProgress(hosts, total, console)
        return PlainProgress(hosts, total, lambda line: say(console, line))

    return factory


def say(console: Console, line: str) -> None:
    """Print a line as it is: not folded, and nothing in it read as markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def checking(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """Yield what to call with each result of a check: a terminal shows the last one, and wipes it away."""
    if not console.is_terminal:
        say(console, title)
        yield lambda _: None
        return
    with console.status(Text(title)) as status:
        yield lambda line: status.update(Text(f"{title}: {line}"))
