"""From the events of ansible-runner to counts per host, reasons of failure, and lines of a log.

The shapes are those that ansible-runner 2.4 documents under "Runner Artifact Job Events": `event`, `stdout`,
`event_data` with `host`, `task`, `res`, and in `playbook_on_stats` one count per host and outcome.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from provision.progress import PlainProgress, Progress
from provision.secrets import HIDDEN

OUTCOMES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}
REASON_LENGTH = 1200
# Ansible lists what it has to say before a play as events without a host.
SPOKEN = ("verbose", "warning", "error", "deprecated", "system_warning")


@dataclass(frozen=True, slots=True)
class HostResult:
    """How many tasks ended how on one host, as Ansible counts them.

    `changed` ones are among the `ok` ones.
    """

    ok: int
    changed: int
    failed: int
    unreachable: bool

    @property
    def fine(self) -> bool:
        return self.failed == 0 and not self.unreachable

    def __str__(self) -> str:
        end = " unreachable" if self.unreachable else ""
        return f"ok={self.ok} changed={self.changed} failed={self.failed}{end}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host failed: the task's name and the reason as one paragraph."""

    host: str
    task: str
    reason: str
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """What a task changed on a host, or would change. `text`: a unified diff, empty where the task tells none."""

    host: str
    task: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a host has to tell although nothing failed (a module's `notice`)."""

    host: str
    text: str

    def __str__(self) -> str:
        return f"{self.host}: {self.text}"


class Events:
    """Takes the events of one run as they come. `hidden` are texts that must not appear anywhere.

    `degraded` says by host what is missing although the run went well (the value `degraded` of a task's result).
    """

    def __init__(self, log: TextIO, hidden: Iterable[str] = ()) -> None:
        self.progress: Progress = PlainProgress((), 0, lambda _: None)
        self.hosts: dict[str, HostResult] = {}
        self.differences: list[Difference] = []
        self.degraded: dict[str, str] = {}
        self.notices: list[Notice] = []
        self._failures: dict[str, Failure] = {}
        self._spoken: list[str] = []
        self._log = log
        self._hidden = tuple(hidden)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """One failure for each host that ended failed or unreachable.

        Those that a rescue mended are not among them.
        """
        broken = [host for host, result in self.hosts.items() if not result.fine]
        unknown = "the task is not known; see the log"
        return tuple(
            self._failures.get(host, Failure(host, "", unknown, self.hosts[host].unreachable)) for host in broken
        )

    def last_words(self) -> str:
        """What ansible-playbook said outside of any task, for when it did nothing at all."""
        return one_paragraph("\n".join(self._spoken[-8:]))

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Take one event. False tells ansible-runner not to keep it on disk."""
        kind = str(event.get("event", ""))
        data = event.get("event_data") or {}
        if kind in OUTCOMES:
            self._task_ended(kind, data, str(event.get("stdout", "")))
        elif kind == "runner_on_start":
            self.progress.task_started(str(data.get("host")), self.blot(task_name(data)))
        elif kind == "playbook_on_stats":
            self.hosts = host_results(data)
            self._write("end of the run", *(f"{host}: {result}" for host, result in self.hosts.items()))
        elif kind in SPOKEN and str(event.get("stdout", "")).strip():
            words = self.blot(str(event["stdout"]).strip())
            self._spoken.append(words)
            self._write(words)
        return False

    def _task_ended(self, kind: str, data: Mapping[str, Any], shown: str) -> None:
        host, task = str(data.get("host")), self.blot(task_name(data))
        result = data.get("res") or {}
        outcome = OUTCOMES[kind]
        if outcome == "failed" and data.get("ignore_errors"):
            outcome = "ok"
        elif outcome == "ok" and changed(result, shown):
            outcome = "changed"
            self.differences.append(Difference(host, task, self.blot(diff_text(result))))
        if result.get("degraded"):
            self.degraded[host] = self.blot(one_paragraph(str(result["degraded"])))
        if result.get("notice"):
            self.notices.append(Notice(host, self.blot(str(result["notice"]))))
        self.progress.task_ended(host, outcome)
        self._write(f"{host}: {outcome}: {task}")
        if result.get("degraded"):
            self._write(f"    {self.degraded[host]}")
        if outcome in ("failed", "unreachable"):
            reason = self.blot(failure_reason(result))
            self._failures[host] = Failure(host, task, reason, outcome == "unreachable")
            self._write(f"    {reason}")

    def blot(self, text: str) -> str:
        for hidden in self._hidden:
            text = text.replace(hidden, HIDDEN)
        return text

    def _write(self, *lines: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._log.writelines(f"{now} {line}\n" for line in lines)
        self._log.flush()


def host_results(stats: Mapping[str, Any]) -> dict[str, HostResult]:
    """The counts of a `playbook_on_stats` event, per host."""

    def count(outcome: str, host: str) -> int:
        return int((stats.get(outcome) or {}).get(host, 0))

    hosts = sorted({host for counts in stats.values() if isinstance(counts, dict) for host in counts})
    return {
        host: HostResult(
            ok=count("ok", host),
            changed=count("changed", host),
            failed=count("failures", host),
            unreachable=count("dark", host) > 0,
        )
        for host in hosts
    }


def changed(result: Mapping[str, Any], shown: str) -> bool:
    """Whether a task changed something.

    Of a task with `no_log`, ansible-runner 2.4.3 hides that as well; the line that Ansible would have printed tells it.
    """
    return bool(result.get("changed")) or ("censored" in result and shown.lstrip().startswith("changed:"))


def task_name(data: Mapping[str, Any]) -> str:
    """The task's name. Ansible's own, for the check of a role's arguments, says less than it could."""
    name = str(data.get("task"))
    generated = name.startswith("Validating arguments against arg spec")
    return f"Check the settings of the role {data.get('role')}" if generated else name


def diff_text(result: Mapping[str, Any]) -> str:
    """The differences that a module returned (`diff`: one or several of before, after, prepared), as a unified diff."""
    if "censored" in result:
        return ""
    parts = result.get("diff") or ()
    items = [item for item in result.get("results") or () if isinstance(item, dict) and item.get("changed")]
    nested = "".join(diff_text(item) for item in items)
    return nested + "".join(_unified(part) for part in ([parts] if isinstance(parts, dict) else parts))


def _unified(part: Mapping[str, Any]) -> str:
    if "prepared" in part:
        return str(part["prepared"])
    before, after = (_diff_lines(part.get(side)) for side in ("before", "after"))
    old, new = (str(part.get(f"{side}_header") or side) for side in ("before", "after"))
    return "".join(difflib.unified_diff(before, after, old, new))


def _diff_lines(text: Any) -> list[str]:
    """Lines that end, each; values that are no text as JSON."""
    said = "" if text is None else text if isinstance(text, str) else json.dumps(text, indent=2, sort_keys=True)
    return [f"{line}\n" for line in said.splitlines()]


def failure_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed, as one paragraph, from the result that its module returned."""
    if "censored" in result:
        return "what it said is hidden, because it handles secrets"
    text = one_paragraph("\n".join(_said(result))) or "it said nothing"
    # ansible-core 2.19 puts these before every reason.
    return text.removeprefix("Task failed: ").removeprefix("Module failed: ")


def _said(result: Mapping[str, Any]) -> Iterator[str]:
    items = [item for item in result.get("results") or () if isinstance(item, dict) and item.get("failed")]
    if items:
        for item in items:
            label = item.get("_ansible_item_label", item.get("item"))
            yield f"{label}: {failure_reason(item)}" if isinstance(label, str) else failure_reason(item)
        return
    seen = set()
    for key in ("msg", "stderr", "module_stderr", "stdout", "module_stdout"):
        text = str(result.get(key) or "").strip()
        if text and text not in seen:
            seen.add(text)
            yield text


def one_paragraph(text: str) -> str:
    """A text without its line breaks; of a long one, the beginning and the end."""
    flat = " ".join(text.split())
    half = REASON_LENGTH // 2
    return flat if len(flat) <= REASON_LENGTH else f"{flat[:half]} […] {flat[-half:]}"
