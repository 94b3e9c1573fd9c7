"""The verb `apply --check`: what differs from what the fleet says, told without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from provision.ansible import run_playbook
from provision.apply import UNSEEN, chosen, environments_run
from provision.create import failure_text
from provision.errors import ChillError, Interrupted
from provision.events import Difference
from provision.fleet import Fleet
from provision.progress import ProgressFactory


@dataclass(frozen=True, slots=True)
class Drift:
    """What `apply` would change, by host in the order of its tasks; `hosts` are all that were looked at."""

    hosts: Sequence[str]
    differences: Sequence[Difference]

    def of(self, host: str) -> Sequence[Difference]:
        return [difference for difference in self.differences if difference.host == host]

    @property
    def drifted(self) -> Sequence[str]:
        """The hosts on which something differs."""
        return [host for host in self.hosts if self.of(host)]

    def values(self) -> dict[str, Any]:
        """As JSON values: by host, each task that would change something, with its diff."""
        return {
            host: [{"task": difference.task, "diff": difference.text} for difference in self.of(host)]
            for host in self.hosts
        }

    def __str__(self) -> str:
        blocks = []
        for host in self.drifted:
            blocks.append(f"{host}:")
            for difference in self.of(host):
                blocks.append(f"  {difference.task}")
                blocks += [f"    {line}" for line in difference.text.splitlines()]
        return "\n".join(blocks) or "nothing differs"


def drift(fleet: Fleet, slugs: Sequence[str], progress: ProgressFactory) -> Drift:
    """Look for what differs on the environments of these instances (all when none is named).

    Secrets are in no diff: the tasks that handle them tell that something differs, not what. ChillError when a
    host could not be looked at.
    """
    run = environments_run(fleet, chosen(fleet, slugs), "apply-check", check=True)
    result = run_playbook(run, progress)
    if result.interrupted:
        raise Interrupted("stopped; nothing was changed", "the same command looks again")
    missing = [host for host in run.hosts if not result.hosts.get(host, UNSEEN).fine]
    if missing:
        raise ChillError(
            f"not looked at to the end: {', '.join(missing)}\n{failure_text(result.failures)}", f"log: {result.log}"
        )
    return Drift(run.hosts, result.differences)
