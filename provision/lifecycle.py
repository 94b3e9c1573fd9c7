"""The verbs that take an instance out of service and bring it back: `suspend`, `archive`, `resume`.

Nothing is deleted: databases, documents and accounts stay on the server. What the environments are to be is written
into the instance's file first, so that plain Ansible and a later `apply` agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from provision import locks, verify
from provision.ansible import run_playbook
from provision.apply import environments_run, refuse_unfinished
from provision.create import failure_text, lacking_text
from provision.errors import ChillError, Interrupted, PartlyDone, RequestError
from provision.events import HostResult
from provision.fleet import Fleet, Instance, Lifecycle
from provision.fleet_reader import load_fleet
from provision.inventory import set_lifecycle
from provision.journal import Journal, State, states
from provision.preflight import check_servers
from provision.progress import checking, progress_for

Verb = Literal["suspend", "archive", "resume"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a verb makes of an instance: its `lifecycle`, the state of each environment then, and from which states."""

    lifecycle: Lifecycle
    ends: State
    possible: Sequence[State]
    told: str


CHANGES: Mapping[Verb, Change] = {
    "suspend": Change(
        "suspended",
        "suspended",
        ("ready", "degraded", "failed", "suspended"),
        "a page will say that the service is suspended; nobody can log in, no job runs, nothing is deleted",
    ),
    "archive": Change(
        "archived",
        "archived",
        ("creating", "ready", "degraded", "failed", "suspended", "archived"),
        "the sites will be gone, usage will no longer be counted; databases and documents stay on the server",
    ),
    "resume": Change(
        "running", "ready", ("suspended", "archived", "failed"), "both environments will be in service again"
    ),
}


def prepare(verb: Verb, slug: str, fleet: Fleet) -> Instance:
    """Check a request in full. Changes nothing; raises what is wrong."""
    instance = fleet.instance(slug)
    if verb != "archive":
        refuse_unfinished(fleet, instance, verb)
    found = set(states(Journal(fleet.journal).read(slug), instance.names.domains).values())
    unfit = found - set(CHANGES[verb].possible)
    if verb == "resume" and instance.lifecycle == "running":
        raise RequestError(f"SLUG: {slug} is in service", f"chill-provision show {slug} tells its state")
    if unfit:
        raise RequestError(
            f"SLUG: {slug} is {', '.join(sorted(unfit))}, from which there is no way to {verb} it",
            f"chill-provision create {slug}",
        )
    check_servers(fleet, [fleet.server(name) for name in instance.servers.values()], prepared=True)
    return instance


def carry_out(verb: Verb, instance: Instance, why: str, fleet: Fleet, console: Console) -> Mapping[str, HostResult]:
    """Do it, and verify that it is so. ChillError when a step failed, Interrupted on Ctrl-C; the journal knows."""
    change, slug = CHANGES[verb], instance.slug
    journal, retry = Journal(fleet.journal), f"chill-provision {verb} {slug}"
    with locks.held(fleet, locks.instance_places(fleet, [instance]), verb):
        run = environments_run(fleet, [instance], verb)
        set_lifecycle(instance, change.lifecycle)
        journal.add(slug, verb, "started", detail=why)
        result = run_playbook(run, progress_for(console))
        if result.interrupted:
            journal.add(slug, verb, "ended", result="interrupted", seconds=result.seconds)
            raise Interrupted(f"stopped in the midst of: {verb} {slug}", f"go on with: {retry}")
        broken = [failure.host for failure in result.failures]
        reason, hint = failure_text(result.failures), f"log: {result.log}\n  when it is mended, go on with: {retry}"
        if not broken:
            # As it is now, because the checks depend on it.
            changed = load_fleet(fleet.directory)
            with checking(console, f"verifying {slug}") as report:
                checks = verify.run(changed, changed.instance(slug), report)
            failed = [check for check in checks if not check.passed and not check.degrades]
            broken = [check.environment for check in failed]
            reason = "\n".join(f"{check.environment}: {check.name}: {check.message}" for check in failed)
        if broken:
            after: dict[str, State] = dict.fromkeys(broken, "failed")
            journal.add(slug, verb, "ended", result="failed", environments=after, seconds=result.seconds, detail=reason)
            raise ChillError(reason, hint)
        lacking = {check.environment: check.message for check in checks if not check.passed} | dict(result.degraded)
        ends: dict[str, State] = dict.fromkeys(instance.names.domains, change.ends)
        if verb == "resume":
            ends.update(dict.fromkeys(lacking, "degraded"))
        detail = lacking_text(lacking)
        journal.add(slug, verb, "ended", result="ok", environments=ends, seconds=result.seconds, detail=detail)
    if lacking:
        raise PartlyDone(f"{slug} is {change.lifecycle}, but not whole:\n{detail}", f"chill-provision apply {slug}")
    return result.hosts
