"""The verb `graph set`: credentials of Microsoft Graph for the production environment of an instance.

`prepare` asks and changes nothing, the token endpoint included; `carry_out` does the work. The test environment gets
none: what is tried there must not reach people's calendars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from provision import locks
from provision.ansible import Run, playbooks_directory, run_playbook
from provision.apply import refuse_unfinished
from provision.certificates import tls_problems
from provision.create import ENVIRONMENT_PLAYBOOK, failure_text
from provision.errors import ChillError, Interrupted, InvalidFiles, Problem, RequestError
from provision.events import HostResult
from provision.fleet import Fleet, Instance
from provision.graph import EVENT, GraphCredentials, graph_variables
from provision.journal import Journal, states
from provision.preflight import check_servers, release_problems, writable_problems
from provision.progress import progress_for, say
from provision.token_endpoint import check_credentials

COMMAND = "graph set"
# States of a production environment that can be given credentials.
MADE = frozenset({"ready", "degraded", "failed"})


@dataclass(frozen=True, slots=True)
class GraphChange:
    """Credentials that passed every check. `missing` are permissions that the application was not granted yet."""

    instance: Instance
    credentials: GraphCredentials
    missing: Sequence[str]
    log: Path

    @property
    def domain(self) -> str:
        return self.instance.names.environments[0].domain

    def __str__(self) -> str:
        """What will be done, for the person who confirms it."""
        return (
            f"{self.domain} will synchronise calendars with the directory {self.credentials.tenant}, as the\n"
            f"application {self.credentials.client_id}. Its secret works, and expires on {self.credentials.expires}."
        )


def prepare(slug: str, credentials: GraphCredentials, place: str, fleet: Fleet) -> GraphChange:
    """Check a request in full: instance, files, credentials, server. Changes nothing; raises what is wrong."""
    instance = fleet.instance(slug)
    if instance.lifecycle != "running":
        raise RequestError(f"SLUG: {slug} is {instance.lifecycle}", f"first: chill-provision resume {slug}")
    refuse_unfinished(fleet, instance, "set")
    journal, domain = Journal(fleet.journal), instance.names.environments[0].domain
    state = states(journal.read(slug), [domain])[domain]
    if state not in MADE:
        raise RequestError(f"SLUG: {domain} is {state}", f"first: chill-provision create {slug}")
    log = journal.log("graph-set")
    problems: list[Problem] = [
        *release_problems(fleet),
        *tls_problems(fleet),
        *writable_problems(log.parent, fleet.directory),
    ]
    if problems:
        raise InvalidFiles(problems, "nothing was changed")
    missing = check_credentials(credentials, fleet.settings.graph, place)
    check_servers(fleet, [fleet.server(instance.servers["production"])], prepared=True)
    return GraphChange(instance, credentials, missing, log)


def carry_out(change: GraphChange, fleet: Fleet, console: Console) -> Mapping[str, HostResult]:
    """Write the credentials into the environment. ChillError when a step failed, Interrupted on Ctrl-C."""
    instance, journal = change.instance, Journal(fleet.journal)
    with locks.held(fleet, locks.instance_places(fleet, [instance]), COMMAND) as broken:
        for lock in broken:
            say(console, f"took over a stale lock: {lock}")
        journal.add(instance.slug, COMMAND, "started")
        result = run_playbook(_run(change, fleet), progress_for(console))
        retry = f"chill-provision graph set {instance.slug} FILE"
        if result.interrupted:
            journal.add(instance.slug, COMMAND, "ended", result="interrupted", seconds=result.seconds)
            raise Interrupted(f"stopped in the midst of: {COMMAND} {instance.slug}", f"go on with: {retry}")
        if not result.succeeded:
            reason = failure_text(result.failures)
            journal.add(
                instance.slug,
                COMMAND,
                "ended",
                result="failed",
                environments={change.domain: "failed"},
                seconds=result.seconds,
                detail=reason,
            )
            raise ChillError(reason, f"log: {result.log}\n  when it is mended, go on with: {retry}")
        journal.add(instance.slug, COMMAND, "ended", result="ok", seconds=result.seconds)
        journal.add(instance.slug, COMMAND, EVENT, result="ok", expires=change.credentials.expires.isoformat())
    return result.hosts


def _run(change: GraphChange, fleet: Fleet) -> Run:
    return Run(
        playbook=playbooks_directory() / ENVIRONMENT_PLAYBOOK,
        inventory=fleet.inventory,
        limit=[change.domain],
        hosts=[change.domain],
        log=change.log,
        variables=graph_variables(change.domain, change.credentials),
        ssh_config=fleet.ssh_config,
    )
